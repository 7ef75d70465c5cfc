"""Builds the capacity constraints: by cloud, set of pools and resource, the limit for items confined to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR

from wecityctl.model.words import noun_for
from wecityctl.placement.demand import CPU, MEMORY, STORAGE, Item
from wecityctl.placement.filters import REPLICAS, EligiblePools, amount_text, bare_amount, listed
from wecityctl.placement.model import Constraint, Source
from wecityctl.placement.supply import CloudSupply, landing, watched_groups

# Replicas are also counted, independently of their requests, if at most this many fit on the largest node.
_FEW_A_NODE = 3


@dataclass(frozen=True, slots=True)
class CapacityConstraint:
    """The limit of one resource in a set of a cloud's pools. `loads` is the amount that each item takes of it."""

    cloud: int
    pools: frozenset[int]
    resource: str
    limit: int
    loads: tuple[tuple[int, int], ...]
    offer: str
    constraint: Constraint


def eligible_pools_of(items: Sequence[Item], clouds: Sequence[CloudSupply]) -> EligiblePools:
    """The eligible pools of each item, cloud and workload. Equal workloads are evaluated once."""
    known: dict[object, frozenset[int]] = {}

    def look(item: Item, cloud: CloudSupply, index: int) -> frozenset[int]:
        workload = item.workloads[index]
        replica = tuple(sorted(workload.replica.items()))
        key = (cloud.name, item.zone, item.rules.domestic, workload.architectures, workload.accelerators, replica)
        if key not in known:
            known[key] = landing(cloud, item, workload)
        return known[key]

    return tuple(
        tuple(tuple(look(item, cloud, index) for index in range(len(item.workloads))) for cloud in clouds)
        for item in items
    )


def capacities_of(
    items: Sequence[Item], clouds: Sequence[CloudSupply], eligible_pools: EligiblePools
) -> tuple[CapacityConstraint, ...]:
    """Every capacity constraint that could be violated."""
    found: list[CapacityConstraint] = []
    for number, cloud in enumerate(clouds):
        if not cloud.pools:
            continue
        loads = _loads(items, number, eligible_pools)
        groups = watched_groups({pools for _, pools, _, _ in loads})
        for pools in groups:
            sums: dict[str, dict[int, int]] = {}
            for item, landing_on, resource, amount in loads:
                if landing_on <= pools:
                    of_item = sums.setdefault(resource, {})
                    of_item[item] = of_item.get(item, 0) + amount
            for resource, of_item in sorted(sums.items()):
                limit, asked = cloud.room(pools, resource), sum(of_item.values())
                if asked > limit:
                    offer = _offer(cloud, pools, resource, limit)
                    found.append(_room(number, cloud, pools, resource, limit, of_item, offer))
            found += _room_for_large(items, number, cloud, pools, eligible_pools)
    return tuple(found)


def _room_for_large(
    items: Sequence[Item], number: int, cloud: CloudSupply, pools: frozenset[int], eligible_pools: EligiblePools
) -> Iterator[CapacityConstraint]:
    """Constraints that count large replicas, of which only a few fit on one node.

    Summed capacities do not tell whether what is left over on each node is enough for one of these.
    """
    large = [
        (item, workload)
        for item, each in enumerate(items)
        for workload, landing_on in zip(each.workloads, eligible_pools[item][number], strict=True)
        if landing_on and landing_on <= pools
    ]
    for resource in sorted({name for _, workload in large for name in workload.replica} - {STORAGE}):
        most = max(cloud.pools[index].node.get(resource, 0) for index in pools)
        sizes = {workload.replica.get(resource, 0) for _, workload in large}
        # A node has so few devices that every number of replicas per node matters.
        parts = range(2, (_FEW_A_NODE if resource in (CPU, MEMORY) else most) + 2)
        least = {min((size for size in sizes if size * part > most), default=0) for part in parts} - {0}
        for size in sorted(least):
            nodes = ((cloud.pools[index].pool.nodes, cloud.pools[index].node.get(resource, 0)) for index in pools)
            limit = sum(many * (each // size) for many, each in nodes)
            of_item: dict[int, int] = {}
            for item, workload in large:
                if workload.replica.get(resource, 0) >= size:
                    many = workload.room[resource] // workload.replica[resource]
                    of_item[item] = of_item.get(item, 0) + many
            asked = sum(of_item.values())
            if asked > limit:
                what = f"{amount_text(REPLICAS, limit)} of {amount_text(resource, size)} or more"
                offer = f"{_where(cloud, pools)}: its nodes hold {what}"
                yield _room(number, cloud, pools, REPLICAS, limit, of_item, offer)


def _room(
    number: int,
    cloud: CloudSupply,
    pools: frozenset[int],
    resource: str,
    limit: int,
    of_item: Mapping[int, int],
    offer: str,
) -> CapacityConstraint:
    # The items that need this capacity are added later, once a conflict tells which of them are confined to it.
    source = Source("Cloud", cloud.name, ("spec", "pools"))
    constraint = Constraint("capacity", (f"cloud {cloud.name}",), offer, source)
    return CapacityConstraint(number, pools, resource, limit, tuple(of_item.items()), offer, constraint)


def _loads(
    items: Sequence[Item], cloud: int, eligible_pools: EligiblePools
) -> list[tuple[int, frozenset[int], str, int]]:
    return [
        (number, eligible_pools[number][cloud][index], resource, amount)
        for number, item in enumerate(items)
        for index, workload in enumerate(item.workloads)
        if eligible_pools[number][cloud][index]
        for resource, amount in workload.room.items()
        if amount
    ]


def _offer(cloud: CloudSupply, pools: frozenset[int], resource: str, limit: int) -> str:
    where = _where(cloud, pools)
    if not limit:
        return f"{where}: there is no {'CPU' if resource == CPU else resource}"
    size = cloud.size(pools, resource)
    whole = amount_text(resource, size, ROUND_FLOOR)
    if limit < size:
        part = bare_amount(resource, limit, ROUND_FLOOR)
        return f"{where}: {part} of {whole} can be filled (a tenth is left free where there are several nodes)"
    are = "is" if resource in (CPU, MEMORY, STORAGE) or limit == 1 else "are"
    return f"{where}: there {are} {whole}"


def _where(cloud: CloudSupply, pools: frozenset[int]) -> str:
    names = [cloud.pools[index].pool.name for index in sorted(pools)]
    return f"{noun_for(len(names), 'pool')} {listed(names)} of cloud {cloud.name}{cloud.less}"
