"""How a tenant's quota is shared among its namespaces, on all clouds: the shares add up to the whole, exactly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from wecityctl.model.city import App, Quota
from wecityctl.model.quantity import format_bytes, format_cpu, parse_quantity


@dataclass(frozen=True, slots=True)
class Demand:
    """What apps ask for at most: CPUs, bytes of memory, bytes of storage."""

    cpu: Decimal = Decimal(0)
    memory: Decimal = Decimal(0)
    storage: Decimal = Decimal(0)

    def __add__(self, other: Demand) -> Demand:
        return Demand(self.cpu + other.cpu, self.memory + other.memory, self.storage + other.storage)


def demand_of(app: App) -> Demand:
    """The most an app asks for: every component at its largest replica count; nothing while it does not run."""
    if not app.runs:
        return Demand()
    total = Demand(storage=sum((parse_quantity(use.storage) for use in app.uses if use.storage), Decimal(0)))
    for part in app.components:
        count = part.autoscale.max if part.autoscale else part.replicas
        total += Demand(parse_quantity(part.resources.cpu) * count, parse_quantity(part.resources.memory) * count)
    return total


def surge_of(app: App) -> Demand:
    """What the largest pod asks for that is replaced by starting a second one first: a component's only replica.

    Of several replicas one may be away meanwhile, so that an update needs no room beside them.
    """
    parts = [part for part in app.components if part.replicas == 1 and app.runs and app.stage != "suspended"]
    return Demand(
        max((parse_quantity(part.resources.cpu) for part in parts), default=Decimal(0)),
        max((parse_quantity(part.resources.memory) for part in parts), default=Decimal(0)),
    )


def need_of(apps: Iterable[App]) -> Demand:
    """What apps in one namespace ask for at most, with room to update one of their pods at a time."""
    found = list(apps)
    surges = [surge_of(app) for app in found]
    room = Demand(
        max((surge.cpu for surge in surges), default=Decimal(0)),
        max((surge.memory for surge in surges), default=Decimal(0)),
    )
    return sum(map(demand_of, found), room)


def share_quota(quota: Quota, demands: Mapping[str, Iterable[App]]) -> dict[str, Quota]:
    """Share `quota` among the named places in proportion to what their apps need.

    A place whose apps ask for nothing gets an equal part of what the others leave; rounding is to millicores and
    bytes, and the last place takes the rest, so that nothing is lost.
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
    """Whole parts of `total`: each place its demand's proportion, an average weight where nothing is asked for."""
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
