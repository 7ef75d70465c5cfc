"""Writes the node's configuration to its directory: containerd, CNI, kubelet, kube-proxy, keys, the holder's spec.

A file is written only if its content changes, so that preparing a running cloud changes nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from wecityctl.errors import DeploymentError
from wecityctl.local import netpol
from wecityctl.local.driver import Context
from wecityctl.local.node import containerd, kubelet, machine
from wecityctl.local.node.layout import INSIDE_RUN, NODE_NAME, NODE_RESOLV_CONF, HoldSpec, Layout
from wecityctl.local.node.network import Block, Link
from wecityctl.local.spec import ImageRef
from wecityctl.model.images import BUILT_HOST, repository
from wecityctl.paths import private_dir, write_private
from wecityctl.toolchain import locate

PAUSE_IMAGE = "docker.io/wecity/pause:1"
STOP_GRACE = 10.0
METRICS_PORT = 4443
# The directory, inside the node, in which the CNI plug-in of the policy agent writes its records.
RECORDS = "/run/cni/wecity-netpol"

_CNI_BIN = "cni-bin"


@dataclass(frozen=True, slots=True)
class Node:
    """A cloud's node: its directories and names."""

    layout: Layout
    block: Block
    link: Link
    cgroup: str
    api_port: int

    @classmethod
    def of(cls, ctx: Context) -> Node:
        """The node of the cloud of `ctx`."""
        return cls(
            layout=Layout(ctx.directory / "node", ctx.run),
            block=Block.parse(ctx.network.saved),
            link=Link.of(ctx.cloud_id),
            cgroup=f"wecity-{ctx.cloud_id}",
            api_port=int(ctx.server.rpartition(":")[2]),
        )


def write(ctx: Context, node: Node) -> None:
    """Write all files that the node's processes read."""
    layout = node.layout
    for directory in (layout.data, layout.etc, layout.etc / "cni", layout.etc / _CNI_BIN):
        private_dir(directory)
    # Pods of any user access their volumes through this directory; its parent directory keeps other users out.
    layout.volumes.mkdir(mode=0o755, exist_ok=True)
    for name in ("kubelet", "containerd", "logs", "plugins"):
        (layout.data / name).mkdir(mode=0o755, exist_ok=True)
    for name, text in _files(ctx, node).items():
        _write(layout.etc / name, text.encode())
    for name, source in _keys(ctx, node).items():
        _write(layout.etc / name, source.read_bytes())
    plugin = layout.etc / _CNI_BIN / netpol.PLUGIN
    _write(plugin, netpol.cni_executable().encode())
    plugin.chmod(0o700)
    _write(layout.hold_spec, _hold_spec(node).dump())


def _files(ctx: Context, node: Node) -> dict[str, str]:
    layout, etc = node.layout, node.layout.inside("etc")
    full_oom_range = machine.has_capability(machine.CAP_SYS_RESOURCE)
    return {
        "containerd.toml": containerd.render(
            containerd.ContainerdSettings(
                root=layout.inside("containerd"),
                cni_conf=f"{etc}/cni",
                cni_bin=(str(locate("ptp").parent), f"{etc}/{_CNI_BIN}"),
                runc=str(locate("runc")),
                pause_image=PAUSE_IMAGE,
                snapshotter=_snapshotter(layout),
                restrict_oom_score=not full_oom_range,
                registries=layout.inside(*layout.registries.relative_to(layout.data).parts),
            )
        ),
        "cni/10-wecity.conflist": containerd.cni_conflist(node.block.pod_cidr, _chained_plugins()),
        "kubelet.json": kubelet.kubelet_config(
            kubelet.KubeletSettings(
                etc=etc,
                logs=layout.inside("logs"),
                plugins=layout.inside("plugins"),
                dns_ip=node.block.dns_ip,
                cgroup=node.cgroup,
                lowest_oom_score=full_oom_range,
                imported=imported(ctx.spec.images),
            )
        ),
        "kube-proxy.json": kubelet.kube_proxy_config(etc, NODE_NAME, node.block),
        # The cluster's DNS has no upstream server, because pods cannot reach anything outside the node.
        "resolv.conf": "",
        # The node's own programs find the city's registries by their names in the cluster.
        NODE_RESOLV_CONF: f"nameserver {node.block.dns_ip}\nsearch cluster.local\n",
    }


def imported(images: Collection[ImageRef]) -> tuple[str, ...]:
    """The names of images that are imported into a node: those that wecityctl builds, which no registry can serve."""
    everything = f"{BUILT_HOST}/*"
    names = {repository(image.reference) for image in images}
    return everything, *sorted(name for name in names if not name.startswith(f"{BUILT_HOST}/"))


def _keys(ctx: Context, node: Node) -> dict[str, Path]:
    serving = ctx.pki.server("kubelet-server", f"system:node:{NODE_NAME}", (node.block.node_ip, NODE_NAME))
    metrics = ctx.pki.server(
        "metrics-server", "metrics-server", ("metrics-server.kube-system.svc", node.block.node_ip, NODE_NAME)
    )
    return {
        "ca.crt": ctx.pki.authority().certificate,
        "kubelet-server.crt": serving.certificate,
        "kubelet-server.key": serving.key,
        "metrics-server.crt": metrics.certificate,
        "metrics-server.key": metrics.key,
        "kubelet.kubeconfig": ctx.kubeconfig_for(f"system:node:{NODE_NAME}", ("system:nodes",)),
        "kube-proxy.kubeconfig": ctx.kubeconfig_for("system:kube-proxy"),
        "metrics-server.kubeconfig": ctx.kubeconfig_for("system:metrics-server"),
        "netpol.kubeconfig": ctx.kubeconfig_for("system:wecity-netpol"),
    }


def _snapshotter(layout: Layout) -> str:
    """The snapshotter, which is recorded, because images unpacked by one are not available to another."""
    record = layout.data / "snapshotter"
    if not record.exists():
        name = "overlayfs" if machine.overlay_works(layout.data / "containerd") else "native"
        write_private(record, name.encode())
    return record.read_text()


def _chained_plugins() -> tuple[Mapping[str, object], ...]:
    """The chained CNI plug-ins: host ports if possible, and last the policy agent's, which waits for the pod's
    rules.
    """
    policy = netpol.cni_plugin(RECORDS, str(INSIDE_RUN / Layout.POLICY_SOCKET))
    return (*((containerd.PORT_MAP,) if machine.host_ports_work() else ()), policy)


def _hold_spec(node: Node) -> HoldSpec:
    for path in (node.layout.data, Path(sys.executable)):
        if not path.exists():
            raise DeploymentError(f"{path} is not there")
    return HoldSpec(
        data=str(node.layout.data),
        run=str(node.layout.run),
        cgroup=node.cgroup,
        bridge=node.link.bridge,
        veth=node.link.veth,
        block=str(node.block),
        api_port=node.api_port,
        rules=netpol.base_ruleset(node.block.pod_cidr),
        grace=STOP_GRACE,
    )


def _write(path: Path, data: bytes) -> None:
    if not (path.exists() and path.read_bytes() == data):
        write_private(path, data)
