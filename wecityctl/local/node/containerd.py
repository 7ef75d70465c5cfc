"""Renders the configuration of containerd and CNI for the node. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from wecityctl.local.node.layout import INSIDE_RUN

SOCKET = str(INSIDE_RUN / "containerd.sock")
# Snapshotters and services that need devices, file systems or directories of the host and that the node does not use.
_DISABLED = (
    "io.containerd.internal.v1.opt",
    "io.containerd.nri.v1.nri",
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.erofs",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.differ.v1.erofs",
    "io.containerd.mount-handler.v1.erofs",
    "io.containerd.tracing.processor.v1.otlp",
)


@dataclass(frozen=True, slots=True)
class ContainerdSettings:
    """Settings that depend on the machine. Paths are those inside the node."""

    root: str
    cni_conf: str
    cni_bin: tuple[str, ...]
    runc: str
    pause_image: str
    snapshotter: str
    restrict_oom_score: bool
    registries: str


def render(settings: ContainerdSettings) -> str:
    """containerd's config.toml, version 3."""
    runtime = "plugins.'io.containerd.cri.v1.runtime'"
    disabled = ",\n  ".join(_quote(name) for name in _DISABLED)
    return f"""version = 3
root = {_quote(settings.root)}
state = "/run/containerd"
imports = []
disabled_plugins = [
  {disabled},
]

[grpc]
address = {_quote(SOCKET)}

[plugins.'io.containerd.cri.v1.images']
snapshotter = {_quote(settings.snapshotter)}

[plugins.'io.containerd.cri.v1.images'.registry]
config_path = {_quote(settings.registries)}

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = {_quote(settings.pause_image)}

[plugins.'io.containerd.image-verifier.v1.bindir']
bin_dir = {_quote(settings.cni_conf + "/none")}

[{runtime}]
restrict_oom_score_adj = {json.dumps(settings.restrict_oom_score)}
enable_cdi = false

[{runtime}.containerd]
default_runtime_name = "runc"

[{runtime}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[{runtime}.containerd.runtimes.runc.options]
BinaryName = {_quote(settings.runc)}
SystemdCgroup = false

[{runtime}.cni]
bin_dirs = [{", ".join(_quote(each) for each in settings.cni_bin)}]
conf_dir = {_quote(settings.cni_conf)}
"""


def _quote(text: str) -> str:
    return json.dumps(text)  # a TOML basic string has JSON's escapes


PORT_MAP: Mapping[str, object] = MappingProxyType(
    {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
)


def cni_conflist(pod_cidr: str, chained: Sequence[Mapping[str, object]]) -> str:
    """The CNI configuration: one routed veth per pod, so that packets between pods pass the node's forward hook.

    Packets are not masqueraded. Address leases are in the node's /run and disappear with its pods. `chained` plug-ins
    are appended in order.
    """
    chain: list[Mapping[str, object]] = [
        {
            "type": "ptp",
            "ipMasq": False,
            "ipam": {
                "type": "host-local",
                "dataDir": "/run/cni/networks",
                "ranges": [[{"subnet": pod_cidr}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        *chained,
    ]
    return json.dumps({"cniVersion": "1.0.0", "name": "wecity", "plugins": [dict(each) for each in chain]}, indent=1)
