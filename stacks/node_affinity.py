"""Computes node affinities: on which node pools of their cloud the pods of apps and capabilities may run.

It expresses what placement assumed to the scheduler. Choosing the cloud is up to placement.
"""

from __future__ import annotations

from collections.abc import Sequence

from stacks.objects import Manifest
from wecityctl.model.city import App, Capability, Cloud, Component, PlacementRules, Pool
from wecityctl.model.naming import POOL_LABEL

_ARCHITECTURE = "kubernetes.io/arch"


def affinity(cloud: Cloud, app: App, component: Component) -> Manifest | None:
    """The node affinity of a component of `app` on `cloud`; `None` if all nodes are suitable."""
    suitable = [pool for pool in cloud.pools if _suits(pool, app.zone, app.placement)]
    found = _required(cloud, component.architectures, suitable)
    spared = [pool.name for pool in suitable if _is_wasted(pool, app, component)]
    if _are_labelled(cloud) and spared and len(spared) < len(suitable):
        # Prefer other nodes over those with scarce hardware that the component does not need.
        preference = {"matchExpressions": [_expression(POOL_LABEL, "NotIn", spared)]}
        found["preferredDuringSchedulingIgnoredDuringExecution"] = [{"weight": 100, "preference": preference}]
    return {"nodeAffinity": found} if found else None


def capability_affinity(cloud: Cloud, capability: Capability, architectures: Sequence[str]) -> Manifest | None:
    """The node affinity of a capability on `cloud`; with a zone, it excludes nodes that do not serve the zone.

    `architectures` are those of its image. `None` if all nodes are suitable.
    """
    suitable = [pool for pool in cloud.pools if _suits(pool, capability.zone, capability.placement)]
    found = _required(cloud, architectures, suitable)
    return {"nodeAffinity": found} if found else None


def _required(cloud: Cloud, architectures: Sequence[str], suitable: Sequence[Pool]) -> Manifest:
    terms = _terms(cloud, architectures, suitable)
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}} if terms else {}


def _suits(pool: Pool, zone: str, rules: PlacementRules) -> bool:
    """Whether the pool meets the placement rules and serves the zone. An empty `zone` is served by all pools."""
    return (pool.domestic or not rules.domestic) and (not zone or not pool.zones or zone in pool.zones)


def _is_wasted(pool: Pool, app: App, component: Component) -> bool:
    needed = component.resources.accelerators
    return (pool.domestic and not app.placement.domestic) or bool(pool.accelerators.keys() - needed.keys())


def _terms(cloud: Cloud, architectures: Sequence[str], suitable: Sequence[Pool]) -> list[Manifest]:
    """Node selector terms, of which one must match: the architectures and, unless all pools are suitable, the pools."""
    base = [_expression(_ARCHITECTURE, "In", sorted(architectures))] if architectures else []
    if not suitable or len(suitable) == len(cloud.pools):
        chosen: list[list[Manifest]] = [[]]
    elif _are_labelled(cloud):
        chosen = [[_expression(POOL_LABEL, "In", [pool.name for pool in suitable])]]
    elif all(pool.labels for pool in suitable):
        chosen = [[_expression(key, "In", [value]) for key, value in sorted(pool.labels.items())] for pool in suitable]
    else:
        # The nodes of an existing cluster have no labels that distinguish the pools.
        chosen = [[]]
    return [{"matchExpressions": [*base, *more]} for more in chosen if base or more]


def _are_labelled(cloud: Cloud) -> bool:
    """Whether every node has the label with its pool's name.

    Nodes that wecityctl creates have it. An embedded cloud's single real node does not, because it represents all
    pools.
    """
    if cloud.has_landing_zone:
        return not cloud.existing.cluster
    return cloud.provider == "local" and cloud.local.nodes == "simulated"


def _expression(key: str, operator: str, values: Sequence[str]) -> Manifest:
    return {"key": key, "operator": operator, "values": list(values)}
