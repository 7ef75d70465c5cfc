"""Determines which clouds an item may use by its own constraints: zone, pin, region, and suitable pools."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from wecityctl.model.city import City, Cloud
from wecityctl.model.entries import gateway_of
from wecityctl.model.words import counted, noun_for
from wecityctl.placement.demand import CPU, MEMORY, STORAGE, Item, Workload
from wecityctl.placement.interconnect import ingress_cloud
from wecityctl.placement.model import Constraint
from wecityctl.placement.supply import CloudSupply, Test, emptying, passing

EligiblePools = tuple[tuple[tuple[frozenset[int], ...], ...], ...]
_IN_REGION = ("L3", "L4")
# A capacity that is counted in replicas instead of their requests.
REPLICAS = "replicas"
# Units for amounts of bytes; the numbers are in the first one.
_BYTES = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


@dataclass(frozen=True, slots=True)
class Clause:
    """Constraints that together exclude a cloud for an item; without any one of them it would not be excluded."""

    constraints: tuple[Constraint, ...]


def filters_of(
    city: City, items: Sequence[Item], clouds: Sequence[CloudSupply], eligible_pools: EligiblePools
) -> tuple[tuple[tuple[Clause, ...], ...], ...]:
    """For each item and cloud, the clauses that exclude it."""
    entry = ingress_cloud(city) if gateway_of(city) is None else ""
    return tuple(
        tuple(
            (*_clauses(city, item, cloud, clouds, eligible_pools[number][index]), *_ingress(item, cloud, entry))
            for index, cloud in enumerate(clouds)
        )
        for number, item in enumerate(items)
    )


def _ingress(item: Item, cloud: CloudSupply, entry: str) -> Iterator[Clause]:
    """Without a gateway, the ingress class is the entry point, which serves its own cluster only."""
    if entry and cloud.name != entry and item.app is not None and item.app.is_routed:
        text = f"{item.subject} has a route, and the entry point, cloud {entry}'s ingress class, leads nowhere else"
        yield Clause((Constraint("route", (item.subject,), text, item.at("route")),))


def _clauses(
    city: City, item: Item, cloud: CloudSupply, clouds: Sequence[CloudSupply], landing: Sequence[frozenset[int]]
) -> Iterator[Clause]:
    own = cloud.cloud
    zone_served = not item.zone or item.zone in own.zones
    if not zone_served:
        yield Clause((zone_constraint(item, clouds),))
    if item.pin and item.pin != own.name:
        yield Clause(
            (Constraint("pin", (item.subject,), f"{item.subject} is pinned to cloud {item.pin}", item.at("cloud")),)
        )
    regions = regions_for(city, item.data_class)
    if regions is not None and not _lies_in(own, regions):
        yield Clause((_region(city, item, regions),))
    for workload, pools in zip(item.workloads, landing, strict=True):
        if not pools:
            yield from _of_pools(item, workload, cloud, clouds, zone_served=zone_served)


def _of_pools(
    item: Item, workload: Workload, cloud: CloudSupply, clouds: Sequence[CloudSupply], *, zone_served: bool
) -> Iterator[Clause]:
    texts = _texts(item, workload, clouds)
    if not workload.architectures:
        yield Clause((texts["architecture"](),))
    if not cloud.pools:
        if item.rules.domestic:
            yield Clause((texts["domestic"](),))
        if workload.accelerators:
            yield Clause((texts["accelerators"](),))
        return
    tests = passing(cloud, item, workload)
    if not workload.architectures:
        del tests["architecture"]
    if not zone_served:
        # The zone is reported already. What else the pools lack is reported separately.
        tests.pop("zone", None)
    left = frozenset(range(len(cloud.pools)))
    for pools in tests.values():
        left &= pools
    if not left:
        for names in emptying(tests, len(cloud.pools)):
            yield Clause(tuple(texts[name]() for name in names))


def _texts(item: Item, workload: Workload, clouds: Sequence[CloudSupply]) -> dict[Test, Callable[[], Constraint]]:
    def make(kind: Test, text: str, *path: str | int) -> Constraint:
        source = workload.source
        where = type(source)(source.kind, source.name, (*source.path, *path)) if item.app is not None else source
        return Constraint(kind, (item.subject,), text, where)

    who = f"{item.subject}, component {workload.name}" if item.app is not None else item.subject

    def architecture() -> Constraint:
        names = " and ".join(sorted(workload.architectures))
        text = (
            f"the image exists for {names} alone" if names else "it is not known for which architectures the image is"
        )
        return make("architecture", f"{who}: {text}", "architectures")

    def domestic() -> Constraint:
        pools = [f"{cloud.name}/{each.pool.name}" for cloud in clouds for each in cloud.pools if each.pool.domestic]
        offered = f"which {listed(pools)} {'has' if len(pools) == 1 else 'have'}" if pools else "which no pool declares"
        return Constraint(
            "domestic",
            (item.subject,),
            f"{item.subject} asks for domestic hardware 信创, {offered}",
            item.at("placement", "domestic"),
        )

    def accelerators() -> Constraint:
        wanted = listed([f"{workload.replica[name]} {name}" for name in sorted(workload.accelerators)])
        text = f"{who}: a replica asks for {wanted}, {_offered(workload, clouds, sorted(workload.accelerators))}"
        return make("accelerators", text, "resources", "accelerators")

    def node_size() -> Constraint:
        text = f"{who}: one replica asks for {amounts_text(workload)}, {_offered(workload, clouds, (CPU, MEMORY))}"
        return make("node-size", text, "resources")

    return {
        "zone": lambda: zone_constraint(item, clouds),
        "architecture": architecture,
        "domestic": domestic,
        "accelerators": accelerators,
        "node-size": node_size,
    }


def _offered(workload: Workload, clouds: Sequence[CloudSupply], resources: Sequence[str]) -> str:
    """The pools whose nodes are large enough for a replica; if there are none, the largest amounts of a node."""
    pools = [(cloud, each) for cloud in clouds for each in cloud.pools]
    fitting = [f"{cloud.name}/{each.pool.name}" for cloud, each in pools if each.has(workload, resources)]
    if fitting:
        return f"which {f'a node of {fitting[0]} has' if len(fitting) == 1 else f'nodes of {listed(fitting)} have'}"
    nodes = [each.node for _, each in pools if each.pool.nodes > 0]
    most = {name: max((node.get(name, 0) for node in nodes), default=0) for name in resources}
    short = [amount_text(name, most[name], ROUND_FLOOR) for name in resources if most[name] < workload.replica[name]]
    less = next((cloud.less for cloud in clouds if cloud.less), "")
    return f"and no node has more than {listed(short)}{less}" if short else "and no node has all of it"


def zone_constraint(item: Item, clouds: Sequence[CloudSupply]) -> Constraint:
    """The constraint of the item's zone, with the clouds that serve it."""
    serving = [cloud.name for cloud in clouds if serves(cloud, item.zone)]
    offered = f"which {listed_clouds(serving)} alone {'serves' if len(serving) == 1 else 'serve'}"
    text = f"{item.subject} lies in zone {item.zone}, {offered if serving else 'which no cloud serves'}"
    return Constraint("zone", (item.subject,), text, item.at("zone"))


def serves(cloud: CloudSupply, zone: str) -> bool:
    """Whether the cloud serves the zone, and if it has pools, one of them does."""
    pools = [each.pool for each in cloud.pools]
    return zone in cloud.cloud.zones and (not pools or any(not pool.zones or zone in pool.zones for pool in pools))


def regions_for(city: City, data_class: str) -> frozenset[str] | None:
    """The regions where data of the class must be stored; `None` for any."""
    rules = city.compliance.data_classes
    limits = [frozenset(rule.regions) for name, rule in rules.items() if name == data_class and rule.regions]
    if data_class in _IN_REGION and city.compliance.regions:
        limits.append(frozenset(city.compliance.regions))
    return frozenset.intersection(*limits) if limits else None


def _lies_in(cloud: Cloud, regions: frozenset[str]) -> bool:
    """Whether a cloud is in one of the regions.

    An unknown region of a vendor's cloud counts as wrong. For embedded and adopted clouds, the policy rules report it.
    """
    return cloud.region in regions or (not cloud.region and not cloud.has_landing_zone)


def _region(city: City, item: Item, regions: frozenset[str]) -> Constraint:
    names = listed(sorted(regions)) if regions else "no region at all"
    where = item.at("dataClass") if item.app is not None else item.at("name")
    text = f"{item.subject} holds {item.data_class} data, which stays in {names}"
    return Constraint("region", (item.subject,), text, where)


def amounts_text(workload: Workload) -> str:
    """The requests of one replica, in words."""
    return listed(
        [amount_text(name, workload.replica[name]) for name in (CPU, MEMORY, STORAGE) if name in workload.replica]
    )


def amount_text(resource: str, amount: int, rounding: str = ROUND_CEILING) -> str:
    """`4 CPU`, `1.5Gi of memory`, `2 nvidia.com/gpu`. Capacities are rounded down, requests up."""
    if resource in (CPU, MEMORY, STORAGE):
        return f"{bare_amount(resource, amount, rounding)} {'CPU' if resource == CPU else f'of {resource}'}"
    if resource == REPLICAS:
        return counted(amount, "replica")
    return f"{amount} {resource}"


def bare_amount(resource: str, amount: int, rounding: str = ROUND_CEILING) -> str:
    """The amount in the largest unit that keeps it at least one, without the resource's name."""
    if resource == CPU:
        return f"{Decimal(amount) / 1000:f}"
    if resource not in (MEMORY, STORAGE):
        return str(amount)
    power = max((power for power in range(len(_BYTES)) if amount >= 1024**power), default=0)
    value = (Decimal(amount) / 1024**power).quantize(Decimal("0.01"), rounding)
    return f"{value:f}".rstrip("0").rstrip(".") + _BYTES[power]


def listed(names: Sequence[str], most: int = 6) -> str:
    """`a, b and c`; long lists are truncated."""
    shown = list(names) if len(names) <= most else [*names[: most - 1], f"{len(names) - most + 1} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def listed_clouds(names: Sequence[str]) -> str:
    return f"{noun_for(len(names), 'cloud')} {listed(names)}"
