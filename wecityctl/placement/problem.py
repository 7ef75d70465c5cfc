"""The placement of a city as a numeric problem: items, clouds, eligibility, relations and capacities.

Built once from the city. The direct solution, the solver, the explanation and the search for a conflict use it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import City
from wecityctl.placement.capacities import CapacityConstraint, capacities_of, eligible_pools_of
from wecityctl.placement.demand import Item, Reader, items_of
from wecityctl.placement.filters import Clause, filters_of
from wecityctl.placement.model import Placement
from wecityctl.placement.packing import Nodes, PackingConflict, nodes_of
from wecityctl.placement.relations import AntiAffinity, Colocation, anti_affinities_of, colocations_of
from wecityctl.placement.supply import CloudSupply, supply_of

Assignment = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """Items and clouds by number.

    `refusals[i][c]` are the clauses that exclude cloud c for item i (none: it is allowed). `eligible_pools[i][c]` are
    the pools for each of the item's workloads. `cost[i][c]` is in micro-units per hour. `standing[i]` is the current
    cloud, or -1. `conflicts` are the known packing conflicts; the search finds more.
    """

    city: City
    items: tuple[Item, ...]
    clouds: tuple[CloudSupply, ...]
    refusals: tuple[tuple[tuple[Clause, ...], ...], ...]
    eligible_pools: tuple[tuple[tuple[frozenset[int], ...], ...], ...]
    colocations: tuple[Colocation, ...]
    anti_affinities: tuple[AntiAffinity, ...]
    capacities: tuple[CapacityConstraint, ...]
    spread: Mapping[str, tuple[int, ...]]
    cost: tuple[tuple[int, ...], ...]
    current: tuple[int, ...]
    nodes: tuple[Nodes | None, ...]
    conflicts: tuple[PackingConflict, ...] = ()

    def allowed(self, item: int) -> tuple[int, ...]:
        """The clouds that the item's own constraints allow."""
        return tuple(cloud for cloud in range(len(self.clouds)) if not self.refusals[item][cloud])

    @property
    def move_weights(self) -> tuple[int, ...]:
        """The weight of a move: that of an item with data exceeds the sum of all moves without."""
        return tuple(len(self.items) + 1 if item.has_data else 1 for item in self.items)


def build_problem(city: City, catalogue: Catalogue, previous: Placement | None = None) -> Problem:
    """The problem of placing what runs in `city`."""
    read = Reader()
    items = items_of(city, catalogue, read)
    clouds = tuple(supply_of(cloud, read, items) for cloud in city.clouds)
    eligible_pools = eligible_pools_of(items, clouds)
    refusals = filters_of(city, items, clouds, eligible_pools)
    numbers = {item.key: number for number, item in enumerate(items)}
    names = {cloud.name: number for number, cloud in enumerate(clouds)}
    spread: dict[str, list[int]] = {}
    for number, item in enumerate(items):
        if item.rules.spread:
            spread.setdefault(item.rules.spread, []).append(number)
    return Problem(
        city,
        items,
        clouds,
        refusals,
        eligible_pools,
        colocations_of(city, catalogue, items, numbers),
        anti_affinities_of(items, numbers),
        capacities_of(items, clouds, eligible_pools),
        {name: tuple(members) for name, members in spread.items() if len(members) > 1},
        tuple(_costs(item, clouds) for item in items),
        tuple(names.get(previous.cloud_of(item.key), -1) if previous else -1 for item in items),
        nodes_of(items, clouds, eligible_pools),
    )


def _costs(item: Item, clouds: tuple[CloudSupply, ...]) -> tuple[int, ...]:
    """The item's cost on each cloud.

    A cloud without prices costs as much as the dearest, so that it is not preferred.
    """
    known = [own_cost(item, cloud) for cloud in clouds]
    dearest = max((cost for cost in known if cost is not None), default=0)
    return tuple(dearest if cost is None else cost for cost in known)


def own_cost(item: Item, cloud: CloudSupply) -> int | None:
    """The item's cost by the cloud's own prices, in micro-units per hour; `None` if it has none."""
    parts = [cloud.cost(workload) for workload in item.workloads]
    return None if cloud.prices is None else sum(part for part in parts if part is not None)


def restricted(problem: Problem, items: Iterable[int]) -> Problem:
    """The problem for some of the items only."""
    kept = sorted(set(items))
    number = {item: index for index, item in enumerate(kept)}
    capacities = []
    for room in problem.capacities:
        loads = tuple((number[item], amount) for item, amount in room.loads if item in number)
        if sum(amount for _, amount in loads) > room.limit:
            capacities.append(replace(room, loads=loads))
    return Problem(
        problem.city,
        tuple(problem.items[item] for item in kept),
        problem.clouds,
        tuple(problem.refusals[item] for item in kept),
        tuple(problem.eligible_pools[item] for item in kept),
        tuple(
            replace(
                colocations, item=number[colocations.item], others=tuple(number[other] for other in colocations.others)
            )
            for colocations in problem.colocations
            if colocations.item in number and all(other in number for other in colocations.others)
        ),
        tuple(
            replace(pair, left=number[pair.left], right=number[pair.right])
            for pair in problem.anti_affinities
            if pair.left in number and pair.right in number
        ),
        tuple(capacities),
        {name: tuple(number[item] for item in members if item in number) for name, members in problem.spread.items()},
        tuple(problem.cost[item] for item in kept),
        tuple(problem.current[item] for item in kept),
        tuple(
            None if each is None else replace(each, pods=tuple(each.pods[item] for item in kept))
            for each in problem.nodes
        ),
        tuple(_conflicts(problem, number)),
    )


def _conflicts(problem: Problem, number: Mapping[int, int]) -> Iterator[PackingConflict]:
    """The packing conflicts that are still possible among the numbered items."""
    for conflict in problem.conflicts:
        groups = tuple(
            (frozenset(number[item] for item in items if item in number), many) for items, many in conflict.groups
        )
        if all(len(items) >= many for items, many in groups):
            yield replace(conflict, groups=groups)
