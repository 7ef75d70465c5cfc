"""The real node as the cloud's control plane sees it: `driver()` implements `wecityctl.local.driver.NodeDriver`.

Only the order of things is decided here; the things themselves are the package's other modules'.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping

from wecityctl.errors import DeploymentError, TimedOutError
from wecityctl.local.api import ApiError
from wecityctl.local.driver import Context, Network, NodeDriver
from wecityctl.local.node import capabilities, cleanup, configure, images, network, objects, services
from wecityctl.local.node.configure import Node
from wecityctl.local.node.layout import NODE_NAME
from wecityctl.local.node.standard_images import standard_images
from wecityctl.local.service import Service
from wecityctl.local.spec import LocalEvent
from wecityctl.paths import write_private

_NODE_PATH = f"/api/v1/nodes/{NODE_NAME}"
_DNS_PATH = "/apis/apps/v1/namespaces/kube-system/deployments/coredns"


def driver() -> NodeDriver:
    """The maker of real nodes."""
    return RealNode()


class RealNode:
    """Stateless: everything it knows is in the context and on disk."""

    def check(self) -> None:
        """Refuse before anything is made; `wecityctl doctor` shows the same findings."""
        lacking = [finding for finding in capabilities.probe() if finding.required and not finding.ok]
        if lacking:
            raise DeploymentError(
                "this machine cannot carry a real node: " + ", ".join(finding.name for finding in lacking),
                details="\n".join(f"{finding.name}: {finding.detail}" for finding in lacking),
                resolution="; ".join(dict.fromkeys(finding.remedy for finding in lacking))
                + "; or use simulated nodes (spec.local.nodes: simulated)",
            )

    def network(self, cloud_id: str, saved: str, taken: Collection[str]) -> Network:
        """One block of addresses per cloud, kept for its life."""
        block = network.Block.parse(saved) if saved else network.allocate([network.Block.parse(text) for text in taken])
        return Network(
            api_address=block.bridge_ip,
            service_cidr=block.service_cidr,
            pod_cidr=block.pod_cidr,
            node_ip=block.node_ip,
            dns_ip=block.dns_ip,
            gateway_address=block.node_ip,
            saved=str(block),
        )

    def prepare(self, ctx: Context) -> tuple[Service, ...]:
        """Configuration and the host's end of the link."""
        node = Node.of(ctx)
        configure.write(ctx, node)
        network.ensure_bridge(node.link, node.block)
        return services.build(ctx, node)

    def after_ready(self, ctx: Context) -> None:
        """Images, API objects, labels; returns when the node is ready and its DNS answers."""
        node = Node.of(ctx)
        started = _started(node)
        self._apply(
            ctx, (*objects.metrics(node.block.node_ip, configure.METRICS_PORT, _ca(ctx)), *objects.policy_agent())
        )
        write_private(node.layout.roles_made, b"")
        standard = standard_images(ctx.spec.images, images.present(node.layout.containerd_socket))
        imported = images.load(node.layout.containerd_socket, standard.archives)
        if imported:
            ctx.report(LocalEvent("step", f"images loaded: {', '.join(imported)}"))
        _wait("the node to be ready", lambda: self._label_when_ready(ctx, started), 60)
        self._apply(ctx, objects.dns(standard.dns, node.block.dns_ip))
        _wait("the cluster's DNS", lambda: _available(ctx), 60)

    def teardown(self, ctx: Context) -> None:
        """After the services: whatever of the node is still there."""
        cleanup.run(Node.of(ctx))

    def reset(self, ctx: Context) -> None:
        """Nothing of the node's data is beyond plain deletion once it is down."""
        self.teardown(ctx)

    def versions(self, ctx: Context) -> Mapping[str, str]:
        """As pinned; the kubelet's own report is on its Node object."""
        from wecityctl.parts import catalogue

        return {
            "containerd": catalogue.CONTAINERD_VERSION,
            "kubelet": catalogue.KUBERNETES_VERSION,
            "coredns": catalogue.COREDNS_VERSION,
            "metrics-server": catalogue.METRICS_SERVER_VERSION,
        }

    def _apply(self, ctx: Context, declared: Iterable[objects.Object]) -> None:
        ctx.api.apply_all((objects.path(each), each) for each in declared)

    def _label_when_ready(self, ctx: Context, started: float) -> bool:
        found = ctx.api.find(_NODE_PATH)
        if found is None:
            return False
        conditions = {each["type"]: each for each in found.get("status", {}).get("conditions", ())}
        ready = conditions.get("Ready", {})
        # The object outlives the node: what a former run reported does not count.
        if ready.get("status") != "True" or _seconds(ready.get("lastHeartbeatTime", "")) < int(started):
            return False
        existing = found["metadata"].get("labels", {})
        wanted = objects.node_labels(ctx.spec.zones, existing)
        if any(existing.get(key) != value for key, value in wanted.items()):
            ctx.api.patch(_NODE_PATH, {"metadata": {"labels": wanted}})
        return True


def _ca(ctx: Context) -> bytes:
    return ctx.pki.authority().certificate_pem()


def _started(node: Node) -> float:
    """When the node's namespaces were made, in seconds since the epoch."""
    try:
        return node.layout.hold_state.stat().st_mtime
    except FileNotFoundError as error:
        raise DeploymentError("the node is not running", details=str(node.layout.hold_state)) from error


def _available(ctx: Context) -> bool:
    found = ctx.api.find(_DNS_PATH) or {}
    status = found.get("status", {})
    current = status.get("observedGeneration", 0) >= found.get("metadata", {}).get("generation", 1)
    return bool(current and status.get("availableReplicas", 0) > 0)


def _seconds(timestamp: str) -> float:
    """RFC 3339 in UTC, as the API writes it; 0 for none."""
    import calendar

    return calendar.timegm(time.strptime(timestamp, "%Y-%m-%dT%H:%M:%SZ")) if timestamp else 0.0


def _wait(what: str, done: Callable[[], bool], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    problem = ""
    while time.monotonic() < deadline:
        try:
            if done():
                return
        except ApiError as error:
            problem = error.message
        time.sleep(0.1)
    raise TimedOutError(f"waited {timeout:.0f} s for {what}", details=problem, resolution="wecityctl local status")
