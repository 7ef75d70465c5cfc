"""What clouds offer: their pools with the eligible workloads, capacities, and prices.

Nothing is known of a cloud without pools: its capacity counts as unlimited and every architecture as available (the
pods' node affinity restricts that). Domestic hardware and accelerators count as absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations

from wecityctl.model.city import Cloud, Pool
from wecityctl.placement.demand import CPU, MEMORY, STORAGE, Amounts, Item, Reader, Workload
from wecityctl.placement.model import ConstraintKind

HOURS_PER_MONTH = 730
# Prices are compared in millionths of the currency's unit per hour.
MICRO = 1_000_000
# Pods cannot fill several nodes completely: this share of their CPU and memory, in percent, is left free.
HEADROOM = 10
_KIB_PER_GIB = 1024 * 1024
# Limit of pool sets with a capacity constraint. Beyond it, larger unions of sets have none, and the scheduler decides
# the rest.
_MOST_GROUPS = 512
Test = ConstraintKind


@dataclass(frozen=True, slots=True)
class PoolSupply:
    """A pool: the capacity of one node, and of all, without what runs on each node."""

    pool: Pool
    node: Amounts
    total: Amounts

    def has(self, workload: Workload, resources: Iterable[str]) -> bool:
        """Whether one of its nodes has enough of the resources for a replica."""
        return self.pool.nodes > 0 and all(self.node.get(name, 0) >= workload.replica[name] for name in resources)


@dataclass(frozen=True, slots=True)
class CloudSupply:
    """A cloud, its pools, and its prices in micro-units per hour by resource unit (`None`: it has none).

    `on_each_node` is what has a pod on each node of it, for which capacities have that much less.
    """

    cloud: Cloud
    pools: tuple[PoolSupply, ...]
    prices: Mapping[str, Decimal] | None
    on_each_node: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.cloud.name

    def room(self, pools: frozenset[int], resource: str) -> int:
        """The usable capacity of the pools together: the sum, without the headroom if there are several nodes."""
        total = self.size(pools, resource)
        nodes = sum(self.pools[index].pool.nodes for index in pools)
        return total - total * HEADROOM // 100 if nodes > 1 and resource in (CPU, MEMORY) else total

    def size(self, pools: Iterable[int], resource: str) -> int:
        """The capacity of the pools together."""
        return sum(self.pools[index].total.get(resource, 0) for index in pools)

    @property
    def less(self) -> str:
        """What is not in the capacities, as the end of a text about them."""
        return f" (less what {' and '.join(self.on_each_node)} runs on each node)" if self.on_each_node else ""

    def cost(self, workload: Workload) -> int | None:
        """The cost of a workload in micro-units per hour; of one on each node, on all that can run it.

        Where nodes are not known, it is that of one.
        """
        nodes = sum(each.pool.nodes for each in self.pools if each.pool.architecture in workload.architectures)
        many = nodes if workload.each_node and self.pools else 1
        return self.price({name: amount * many for name, amount in workload.paid.items()})

    def price(self, amounts: Amounts) -> int | None:
        """The cost of the amounts in micro-units per hour."""
        if self.prices is None:
            return None
        cost = sum((self.prices.get(name, Decimal(0)) * amount for name, amount in amounts.items()), Decimal(0))
        return int(cost.to_integral_value())


def supply_of(cloud: Cloud, read: Reader, items: Sequence[Item] = ()) -> CloudSupply:
    """The cloud's pools and prices as numbers.

    Each node has less by the pods that those of the items which may be on this cloud have on each node. Where an item
    has several clouds to choose from, that is so on each of them.
    """
    here = [
        (item.subject, workload)
        for item in items
        if item.pin in ("", cloud.name)
        for workload in item.workloads
        if workload.each_node
    ]
    less = [workload for _, workload in here]
    names = tuple(dict.fromkeys(subject for subject, _ in here)) if cloud.pools else ()
    return CloudSupply(cloud, tuple(_pool(pool, read, less) for pool in cloud.pools), _prices(cloud), names)


def _pool(pool: Pool, read: Reader, less: Sequence[Workload]) -> PoolSupply:
    node = {
        CPU: read.floor(CPU, pool.cpu),
        MEMORY: read.floor(MEMORY, pool.memory),
        STORAGE: read.floor(STORAGE, pool.storage),
        **pool.accelerators,
    }
    for workload in less:
        if pool.architecture in workload.architectures:
            node |= {name: max(node[name] - amount, 0) for name, amount in workload.replica.items()}
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
    """For each requirement of the workload on a pool, the pools that meet it. Only actual requirements are included."""
    pools = range(len(supply.pools))
    tests: dict[Test, frozenset[int]] = {}
    if item.zone:
        tests["zone"] = frozenset(i for i in pools if _serves(supply.pools[i].pool, item.zone))
    tests["architecture"] = frozenset(i for i in pools if supply.pools[i].pool.architecture in workload.architectures)
    if item.rules.domestic:
        tests["domestic"] = frozenset(i for i in pools if supply.pools[i].pool.domestic)
    if workload.accelerators:
        tests["accelerators"] = frozenset(i for i in pools if supply.pools[i].has(workload, workload.accelerators))
    # A volume is not limited by a node's disk: storage is compared as a whole.
    plain = frozenset({CPU, MEMORY})
    # What runs on each node is not in the capacity of one.
    if not workload.each_node:
        tests["node-size"] = frozenset(i for i in pools if supply.pools[i].has(workload, plain))
    return tests


def landing(supply: CloudSupply, item: Item, workload: Workload) -> frozenset[int]:
    """The eligible pools of the workload."""
    found = frozenset(range(len(supply.pools)))
    for pools in passing(supply, item, workload).values():
        found &= pools
    return found


def emptying(tests: Mapping[Test, frozenset[int]], pools: int) -> tuple[tuple[Test, ...], ...]:
    """The smallest sets of requirements that leave none of `pools` pools."""
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
    """The sets of pools that need a capacity constraint, so that what is confined to a set fits into it.

    By Hall's theorem, all unions of overlapping sets of eligible pools are enough for each resource.
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
