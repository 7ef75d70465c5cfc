"""Computes capacity figures from nodes, pods and volume claims: capacity, requests and free amounts. Pure.

Pods and claims are added up page by page (`Tally`), so that at most one page of them is in memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from wecityctl.capacity.attribution import architecture_of, labels_of, pool_of, zones_of
from wecityctl.kube.pod_requests import Requests, amount, amounts, has_ended, pod_requests
from wecityctl.kube.readiness.pods import explain
from wecityctl.kube.resource import Object, meta
from wecityctl.model.capacity import Amounts, NodeFigures, PoolFigures, Source, Waiting, cost_per_hour, total
from wecityctl.model.city import Cloud, Pool
from wecityctl.model.naming import SIMULATED_LABEL
from wecityctl.model.quantity import parse_quantity

# Resources that every node has. Any other resource with a vendor's name is an accelerator, counted in pieces.
_PLAIN = ("cpu", "memory", "ephemeral-storage", "pods", "storage")
_CLOSING = ("NoSchedule", "NoExecute")
_Claim = tuple[str, str]


@dataclass(slots=True)
class Tally:
    """The sums over pods and claims by node; filled page by page."""

    requests: dict[str, Requests] = field(default_factory=dict)
    pods: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    waiting_requests: Requests = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    claims: dict[_Claim, int] = field(default_factory=dict)
    mounted_on: dict[_Claim, str] = field(default_factory=dict)

    def add_pods(self, pods: Iterable[Object]) -> None:
        """Add pods that have not ended, to their node or to the pending ones."""
        for pod in pods:
            if has_ended(pod):
                continue
            asked, spec = pod_requests(pod), pod.get("spec") or {}
            node = spec.get("nodeName")
            if not node:
                self._add_waiting(pod, asked)
                continue
            self.pods[node] = self.pods.get(node, 0) + 1
            _add(self.requests.setdefault(node, {}), asked)
            for volume in spec.get("volumes") or ():
                claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
                if claim:
                    # A volume that several pods share counts once, on the node of the first of them.
                    self.mounted_on.setdefault((str(meta(pod).get("namespace")), str(claim)), node)

    def add_claims(self, claims: Iterable[Object]) -> None:
        """Add volume claims: their capacity, or their request while they are not bound."""
        for claim in claims:
            spec, status = claim.get("spec") or {}, claim.get("status") or {}
            asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
            size = (status.get("capacity") or {}).get("storage") or asked or "0"
            key = (str(meta(claim).get("namespace")), str(meta(claim).get("name")))
            self.claims[key] = amount("storage", size)

    def storage_by_node(self) -> dict[str, int]:
        """Bytes of volumes by the node whose pods use them; under the empty name, those that no pod uses."""
        found: dict[str, int] = {}
        for key, size in self.claims.items():
            node = self.mounted_on.get(key, "")
            found[node] = found.get(node, 0) + size
        return found

    @property
    def waiting_pods(self) -> Waiting:
        return Waiting(self.waiting, amounts_of(self.waiting_requests), dict(self.reasons))

    def _add_waiting(self, pod: Object, asked: Requests) -> None:
        if meta(pod).get("deletionTimestamp"):
            return
        self.waiting += 1
        _add(self.waiting_requests, asked)
        reason = explain(pod) or "not looked at by the scheduler yet"
        self.reasons[reason] = self.reasons.get(reason, 0) + 1


def amounts_of(resources: Requests) -> Amounts:
    """A resource list as `Amounts`."""
    accelerators = {
        name: count for name, count in resources.items() if name not in _PLAIN and "/" in name and count > 0
    }
    return Amounts(
        resources.get("cpu", 0), resources.get("memory", 0), resources.get("ephemeral-storage", 0), accelerators
    )


def node_figures(nodes: Iterable[Object], tally: Tally, cloud: Cloud) -> tuple[NodeFigures, ...]:
    """Each node with its capacity and the requests of the pods on it."""
    volumes = tally.storage_by_node()
    return tuple(_node(node, tally, volumes, cloud) for node in nodes)


def pool_figures(nodes: Iterable[NodeFigures], cloud: Cloud, *, pods_known: bool = True) -> tuple[PoolFigures, ...]:
    """The nodes by zone, pool and architecture, in file order; nodes without a pool come last."""
    groups: dict[tuple[tuple[str, ...], str, str, bool], list[NodeFigures]] = {}
    for node in nodes:
        groups.setdefault((node.zones, node.pool, node.architecture, node.simulated), []).append(node)
    pools = {pool.name: index for index, pool in enumerate(cloud.pools)}
    order = sorted(groups, key=lambda key: (pools.get(key[1], len(pools)), _zone_order(key[0], cloud), key[2]))
    return tuple(_pool(groups[key], cloud, pods_known) for key in order)


def declared_pools(cloud: Cloud) -> tuple[PoolFigures, ...]:
    """The capacity that the files declare for a cloud; requests are unknown."""
    return tuple(_declared(pool, cloud) for pool in cloud.pools)


def troubles(nodes: Iterable[NodeFigures]) -> tuple[str, ...]:
    """The problems of nodes, each kind once with the number of affected nodes."""
    counted: dict[str, list[str]] = {}
    count = 0
    for node in nodes:
        count += 1
        for trouble in node.troubles:
            counted.setdefault(trouble, []).append(node.name)
    return tuple(f"{len(names)} of {count} nodes: {what} ({_few(names)})" for what, names in counted.items())


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")


def _node(node: Object, tally: Tally, volumes: dict[str, int], cloud: Cloud) -> NodeFigures:
    name, spec, status = str(meta(node).get("name")), node.get("spec") or {}, node.get("status") or {}
    pool = pool_of(node, cloud)
    simulated = labels_of(node).get(SIMULATED_LABEL) == "true"
    allocated = amounts_of(tally.requests.get(name, {})) + Amounts(storage=volumes.get(name, 0))
    found = _conditions(status.get("conditions") or (), bool(spec.get("unschedulable")))
    ready = not any(each.startswith("not ready") for each in found)
    closed = any(
        taint.get("effect") in _CLOSING and not (simulated and taint.get("key") == SIMULATED_LABEL)
        for taint in spec.get("taints") or ()
    )
    return NodeFigures(
        name=name,
        zones=zones_of(node, cloud, pool),
        pool=pool.name if pool is not None else "",
        architecture=architecture_of(node),
        ready=ready,
        open=ready and not spec.get("unschedulable") and not closed,
        simulated=simulated,
        capacity=amounts_of(amounts(status.get("allocatable") or {})),
        allocated=allocated,
        pods=tally.pods.get(name, 0),
        troubles=found,
    )


def _conditions(conditions: Iterable[dict[str, Any]], cordoned: bool) -> tuple[str, ...]:
    found = []
    by_type = {each.get("type"): each for each in conditions}
    ready = by_type.pop("Ready", {})
    if ready.get("status") != "True":
        found.append(": ".join(filter(None, ("not ready", str(ready.get("reason") or "")))))
    found += [str(kind) for kind, each in by_type.items() if each.get("status") == "True"]
    return (*found, "cordoned") if cordoned else tuple(found)


def _pool(nodes: list[NodeFigures], cloud: Cloud, pods_known: bool) -> PoolFigures:
    first = nodes[0]
    capacity = total(node.capacity for node in nodes)
    allocated = total(node.allocated for node in nodes) if pods_known else None
    return PoolFigures(
        zones=first.zones,
        pool=first.pool,
        architecture=first.architecture,
        domestic=any(pool.domestic for pool in cloud.pools if pool.name == first.pool),
        simulated=first.simulated,
        source="live",
        nodes=len(nodes),
        ready=sum(node.ready for node in nodes),
        capacity=capacity,
        allocated=allocated,
        free=total(node.free for node in nodes) if pods_known else None,
        pods=sum(node.pods for node in nodes) if pods_known else None,
        capacity_cost=_cost(capacity, cloud),
        allocated_cost=_cost(allocated, cloud) if allocated is not None else None,
    )


def _declared(pool: Pool, cloud: Cloud) -> PoolFigures:
    capacity = Amounts(
        int(parse_quantity(pool.cpu) * 1000) * pool.nodes,
        int(parse_quantity(pool.memory)) * pool.nodes,
        int(parse_quantity(pool.storage)) * pool.nodes,
        {name: count * pool.nodes for name, count in pool.accelerators.items()},
    )
    source: Source = "declared"
    return PoolFigures(
        zones=pool.zones or cloud.zones,
        pool=pool.name,
        architecture=pool.architecture,
        domestic=pool.domestic,
        simulated=cloud.provider == "local" and cloud.local.nodes == "simulated",
        source=source,
        nodes=pool.nodes,
        ready=None,
        capacity=capacity,
        allocated=None,
        free=None,
        pods=None,
        capacity_cost=_cost(capacity, cloud),
    )


def _cost(what: Amounts, cloud: Cloud) -> Decimal | None:
    return cost_per_hour(what, cloud.prices) if cloud.prices is not None else None


def _zone_order(zones: tuple[str, ...], cloud: Cloud) -> tuple[int, ...]:
    return tuple(cloud.zones.index(zone) for zone in zones if zone in cloud.zones)


def _add(target: Requests, more: Requests) -> None:
    for name, value in more.items():
        target[name] = target.get(name, 0) + value
