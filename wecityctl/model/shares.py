"""Divides a tenant's quota among its namespaces on all clouds. The shares add up exactly to the quota."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from wecityctl.model.city import App, Component, Quota, Strategy
from wecityctl.model.manifests import workloads
from wecityctl.model.quantity import format_bytes, format_cpu, parse_quantity


@dataclass(frozen=True, slots=True)
class Demand:
    """The most that apps request: CPUs, bytes of memory, bytes of storage."""

    cpu: Decimal = Decimal(0)
    memory: Decimal = Decimal(0)
    storage: Decimal = Decimal(0)

    def __add__(self, other: Demand) -> Demand:
        return Demand(self.cpu + other.cpu, self.memory + other.memory, self.storage + other.storage)


def demand_of(app: App) -> Demand:
    """The most that an app requests: all components at their largest replica count; nothing if it does not run."""
    if not app.runs:
        return Demand()
    total = Demand(storage=sum((parse_quantity(use.storage) for use in app.uses if use.storage), Decimal(0)))
    for part in workloads(app):
        count = part.autoscale.max if part.autoscale else part.replicas
        stored = sum((parse_quantity(volume.size) for volume in part.volumes), Decimal(0))
        cpu, memory = parse_quantity(part.resources.cpu), parse_quantity(part.resources.memory)
        total += Demand(cpu * count, memory * count, stored)
    return total


def surge_of(app: App) -> Demand:
    """The requests of the surge pods of an update, and of a canary's pods: the most that one component has."""
    if not app.runs or app.stage == "suspended":
        return Demand()
    parts = [(part, _surge_pods(part)) for part in workloads(app) if not part.is_job]
    return Demand(
        max((parse_quantity(part.resources.cpu) * count for part, count in parts), default=Decimal(0)),
        max((parse_quantity(part.resources.memory) * count for part, count in parts), default=Decimal(0)),
    )


def _surge_pods(part: Component) -> int:
    """How many pods an update adds: as many as are stated, or one where none may be missing meanwhile.

    With several replicas one may be missing unless it is stated otherwise, so no surge pod is needed.
    """
    stated = part.strategy or Strategy()
    if stated.type == "recreate":
        return 0
    # The canary goes only when the others have its version.
    canary = canary_replicas(part, stated.steps[-1]) if stated.type == "canary" and stated.steps else 0
    if stated.surge is not None:
        return canary + stated.surge
    is_whole = stated.unavailable == 0 or (stated.unavailable is None and part.replicas == 1)
    return canary + (1 if is_whole else 0)


def canary_replicas(part: Component, weight: int) -> int:
    """How many pods a component's canary has for `weight` percent of the requests: the same share, and at least one."""
    count = part.autoscale.max if part.autoscale else part.replicas
    return max(1, -(-count * weight // 100))


def need_of(apps: Iterable[App]) -> Demand:
    """The most that the apps in one namespace request, including a surge pod to update one pod at a time."""
    found = list(apps)
    surges = [surge_of(app) for app in found]
    room = Demand(
        max((surge.cpu for surge in surges), default=Decimal(0)),
        max((surge.memory for surge in surges), default=Decimal(0)),
    )
    return sum(map(demand_of, found), room)


def share_quota(quota: Quota, demands: Mapping[str, Iterable[App]]) -> dict[str, Quota]:
    """Divide `quota` among places (keys of `demands`) in proportion to what their apps need.

    A place whose apps request nothing gets an average share. Shares are rounded to millicores and bytes, and the last
    place gets the remainder.
    """
    asked = {place: need_of(apps) for place, apps in demands.items()}
    cpu = _split(parse_quantity(quota.cpu) * 1000, {place: item.cpu for place, item in asked.items()})
    memory = _split(parse_quantity(quota.memory), {place: item.memory for place, item in asked.items()})
    storage = _split(parse_quantity(quota.storage), {place: item.storage for place, item in asked.items()})
    return {
        place: Quota(format_cpu(cpu[place] / 1000), format_bytes(memory[place]), format_bytes(storage[place]))
        for place in asked
    }


def _split(total: Decimal, weights: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Integer parts of `total` in proportion to `weights`; a weight of zero counts as the average weight."""
    positive = [weight for weight in weights.values() if weight > 0]
    average = sum(positive, Decimal(0)) / len(positive) if positive else Decimal(1)
    effective = {place: weight if weight > 0 else average for place, weight in weights.items()}
    whole = sum(effective.values(), Decimal(0))
    parts: dict[str, Decimal] = {}
    rest = total
    for place in list(effective)[:-1]:
        parts[place] = (total * effective[place] / whole).to_integral_value(rounding="ROUND_FLOOR")
        rest -= parts[place]
    for place in list(effective)[-1:]:
        parts[place] = rest
    return parts
