"""The driver of real nodes: `driver()` returns an implementation of `wecityctl.local.driver.NodeDriver`.

It defines only the order of the steps; the other modules of the package implement them.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping

from wecityctl.errors import DeploymentError
from wecityctl.local.driver import Context, Network, NodeDriver
from wecityctl.local.node import capabilities, cleanup, configure, images, network, objects, ready, services
from wecityctl.local.node.configure import Node
from wecityctl.local.node.layout import Held
from wecityctl.local.node.standard_images import standard_images
from wecityctl.local.service import Service
from wecityctl.local.spec import LocalEvent
from wecityctl.paths import write_private

_SETTLE_SECONDS = 30.0


def driver() -> NodeDriver:
    """The driver of real nodes."""
    return RealNode()


class RealNode:
    """Implements `NodeDriver`. Stateless: its state is in the context and on disk."""

    def check(self) -> None:
        """Raise `DeploymentError` if a required capability is missing; `wecityctl doctor` shows the same findings."""
        lacking = [finding for finding in capabilities.probe() if finding.required and not finding.ok]
        if lacking:
            raise DeploymentError(
                "this machine cannot run a real node",
                details="\n".join(f"{finding.name}: {finding.detail}" for finding in lacking),
                resolution="; ".join(dict.fromkeys(finding.remedy for finding in lacking))
                + "; or use simulated nodes (spec.local.nodes: simulated)",
            )

    def network(self, cloud_id: str, saved: str, taken: Collection[str]) -> Network:
        """Allocate one block of addresses per cloud and keep it."""
        block = (
            network.Block.parse(saved)
            if saved
            else network.allocate(cloud_id, [network.Block.parse(text) for text in taken])
        )
        return Network(
            api_address=block.bridge_ip,
            service_cidr=block.service_cidr,
            pod_cidr=block.pod_cidr,
            node_ip=block.node_ip,
            dns_ip=block.dns_ip,
            gateway_address=block.node_ip,
            saved=str(block),
            networks=(str(block),),
        )

    def prepare(self, ctx: Context) -> tuple[Service, ...]:
        """Write the configuration and create the host's end of the link."""
        node = Node.of(ctx)
        network.check_free(node.link, node.block)
        if Held.load(node.layout.hold_state) is None:
            _check_watches()
        configure.write(ctx, node)
        network.ensure_bridge(node.link, node.block)
        return services.build(ctx, node)

    def after_ready(self, ctx: Context) -> None:
        """Import images, create API objects and labels; returns when the node is ready and its DNS answers."""
        node = Node.of(ctx)
        since = ready.started(node)
        self._apply(
            ctx, (*objects.metrics(node.block.node_ip, configure.METRICS_PORT, _ca(ctx)), *objects.policy_agent())
        )
        write_private(node.layout.roles_made, b"")
        standard = standard_images(ctx.spec.images, images.present(node.layout.containerd_socket))
        imported = images.load(node.layout.containerd_socket, standard.archives)
        if imported:
            ctx.report(LocalEvent("step", f"images loaded: {', '.join(imported)}"))
        ready.wait("a ready node", lambda: self._label_when_ready(ctx, since), 60)
        # Its socket accepts when the rules are loaded. A pod that starts earlier would have to wait for them.
        ready.wait("the first rules of the policy agent", lambda: ready.answers(node.layout.policy_socket, "state"), 30)
        self._apply(ctx, objects.dns(standard.dns, node.block.dns_ip))
        ready.wait("an answer of the cluster's DNS", lambda: ready.dns_answers(node.block.dns_ip), 60)
        self._settle(ctx, since)

    def teardown(self, ctx: Context) -> None:
        """Remove what is left of the node after its services ended."""
        cleanup.run(Node.of(ctx))

    def reset(self, ctx: Context) -> None:
        """Tear down. After that, all data of the node can just be deleted."""
        self.teardown(ctx)

    def versions(self, ctx: Context) -> Mapping[str, str]:
        """The pinned versions. The kubelet reports its own version on the Node object."""
        from wecityctl.toolchain import catalogue

        return {
            "containerd": catalogue.CONTAINERD_VERSION,
            "runc": catalogue.RUNC_VERSION,
            "kubelet": catalogue.KUBERNETES_VERSION,
            "coredns": catalogue.COREDNS_VERSION,
            "metrics-server": catalogue.METRICS_SERVER_VERSION,
        }

    def _apply(self, ctx: Context, declared: Iterable[objects.Object]) -> None:
        ctx.api.apply_all((objects.path(each), each) for each in declared)

    def _label_when_ready(self, ctx: Context, since: float) -> bool:
        found = ctx.api.find(ready.NODE_PATH)
        if found is None or not ready.node_is_ready(found, since):
            return False
        existing = found["metadata"].get("labels", {})
        wanted = objects.node_labels(ctx.spec.zones, existing)
        if any(existing.get(key) != value for key, value in wanted.items()):
            ctx.api.patch(ready.NODE_PATH, {"metadata": {"labels": wanted}})
        return True

    def _settle(self, ctx: Context, since: float) -> None:
        """Wait until the kubelet has updated the pods of a previous run, so that their old status is not taken as
        current.
        """
        deadline = time.monotonic() + _SETTLE_SECONDS
        while stale := ready.stale_pods(ready.pods_on_node(ctx.api), since):
            if time.monotonic() > deadline:
                ctx.report(LocalEvent("warning", f"pods not looked at yet: {', '.join(stale)}"))
                return
            time.sleep(0.1)


def _check_watches() -> None:
    """Raise `DeploymentError` if inotify instances are missing; otherwise the kubelet fails with a misleading error."""
    finding = capabilities.watches()
    if not finding.ok:
        raise DeploymentError(
            "this machine has too few inotify instances left for a real node",
            details=finding.detail,
            resolution=finding.remedy,
        )


def _ca(ctx: Context) -> bytes:
    return ctx.pki.authority().certificate_pem()
