"""What clouds offer: pools that a workload may land on, the room in them, and prices.

A cloud without pools says nothing of itself: its room counts as unlimited, any architecture as possible (the pods'
node affinity holds that line), domestic hardware and accelerators as absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations

from wecityctl.model.city import Cloud, Pool
from wecityctl.placement.demand import CPU, MEMORY, STORAGE, Amounts, Item, Reader, Workload
from wecityctl.placement.model import ConstraintKind

HOURS_PER_MONTH = 730
# Prices are compared in millionths of the currency's unit per hour.
MICRO = 1_000_000
# Pods do not fit side by side without gaps: of several nodes, this part of CPU and memory is left free, in percent.
HEADROOM = 10
_KIB_PER_GIB = 1024 * 1024
# Sets of pools whose room is watched; beyond it only the plain ones are, and the scheduler has the last word.
_MOST_GROUPS = 512
Test = ConstraintKind


@dataclass(frozen=True, slots=True)
class PoolSupply:
    """A pool: what one node has, what all have."""

    pool: Pool
    node: Amounts
    total: Amounts

    def has(self, workload: Workload, resources: Iterable[str]) -> bool:
        """Whether one of its nodes has as much of the resources as a replica asks for."""
        return self.pool.nodes > 0 and all(self.node.get(name, 0) >= workload.replica[name] for name in resources)


@dataclass(frozen=True, slots=True)
class CloudSupply:
    """A cloud, its pools, and its prices in micro-units per hour by resource unit (`None`: it has none)."""

    cloud: Cloud
    pools: tuple[PoolSupply, ...]
    prices: Mapping[str, Decimal] | None

    @property
    def name(self) -> str:
        return self.cloud.name

    def room(self, pools: frozenset[int], resource: str) -> int:
        """What can be filled of the pools together: all that they have, but for the headroom of several nodes."""
        total = self.size(pools, resource)
        nodes = sum(self.pools[index].pool.nodes for index in pools)
        return total - total * HEADROOM // 100 if nodes > 1 and resource in (CPU, MEMORY) else total

    def size(self, pools: Iterable[int], resource: str) -> int:
        """What the pools have together."""
        return sum(self.pools[index].total.get(resource, 0) for index in pools)

    def price(self, amounts: Amounts) -> int | None:
        """What the amounts cost per hour, in micro-units."""
        if self.prices is None:
            return None
        cost = sum((self.prices.get(name, Decimal(0)) * amount for name, amount in amounts.items()), Decimal(0))
        return int(cost.to_integral_value())


def supply_of(cloud: Cloud, read: Reader) -> CloudSupply:
    """The cloud's pools and prices as numbers."""
    return CloudSupply(cloud, tuple(_pool(pool, read) for pool in cloud.pools), _prices(cloud))


def _pool(pool: Pool, read: Reader) -> PoolSupply:
    node = {
        CPU: read.floor(CPU, pool.cpu),
        MEMORY: read.floor(MEMORY, pool.memory),
        STORAGE: read.floor(STORAGE, pool.storage),
        **pool.accelerators,
    }
    return PoolSupply(pool, node, {name: amount * pool.nodes for name, amount in node.items()})


def _prices(cloud: Cloud) -> Mapping[str, Decimal] | None:
    card = cloud.prices
    if card is None:
        return None
    return {
        CPU: Decimal(card.cpu_hour) * MICRO / 1000,
        MEMORY: Decimal(card.memory_gib_hour) * MICRO / _KIB_PER_GIB,
        STORAGE: Decimal(card.storage_gib_month) * MICRO / HOURS_PER_MONTH / _KIB_PER_GIB,
    }


def passing(supply: CloudSupply, item: Item, workload: Workload) -> dict[Test, frozenset[int]]:
    """For each thing that the workload asks of a pool, the pools that have it. Only what is asked for is listed."""
    pools = range(len(supply.pools))
    tests: dict[Test, frozenset[int]] = {}
    if item.zone:
        tests["zone"] = frozenset(i for i in pools if _serves(supply.pools[i].pool, item.zone))
    tests["architecture"] = frozenset(i for i in pools if supply.pools[i].pool.architecture in workload.architectures)
    if item.rules.domestic:
        tests["domestic"] = frozenset(i for i in pools if supply.pools[i].pool.domestic)
    if workload.accelerators:
        tests["accelerators"] = frozenset(i for i in pools if supply.pools[i].has(workload, workload.accelerators))
    # A volume is not cut to the disk of a node: storage is looked at as a whole.
    plain = frozenset({CPU, MEMORY})
    tests["node-size"] = frozenset(i for i in pools if supply.pools[i].has(workload, plain))
    return tests


def landing(supply: CloudSupply, item: Item, workload: Workload) -> frozenset[int]:
    """The pools that the workload may land on."""
    found = frozenset(range(len(supply.pools)))
    for pools in passing(supply, item, workload).values():
        found &= pools
    return found


def emptying(tests: Mapping[Test, frozenset[int]], pools: int) -> tuple[tuple[Test, ...], ...]:
    """The smallest sets of demands that leave none of `pools` pools."""
    everything = frozenset(range(pools))
    found: list[tuple[Test, ...]] = []
    for size in range(1, len(tests) + 1):
        for chosen in combinations(tests, size):
            if any(set(smaller) <= set(chosen) for smaller in found):
                continue
            left = everything
            for name in chosen:
                left &= tests[name]
            if not left:
                found.append(chosen)
    return tuple(found)


def watched_groups(eligible_pools: set[frozenset[int]]) -> tuple[frozenset[int], ...]:
    """The sets of pools whose room has to be watched, so that what may land only within a set fits into it.

    By Hall's theorem that is enough for each resource: all unions of overlapping sets that workloads may land on.
    """
    groups = {pools for pools in eligible_pools if pools}
    frontier = sorted(groups, key=sorted)
    while frontier and len(groups) < _MOST_GROUPS:
        grown: set[frozenset[int]] = set()
        for left in frontier:
            grown |= {left | right for right in groups if left & right} - groups
        groups |= grown
        frontier = sorted(grown, key=sorted)
    return tuple(sorted(groups, key=lambda pools: (len(pools), sorted(pools))))


def _serves(pool: Pool, zone: str) -> bool:
    return not pool.zones or zone in pool.zones
