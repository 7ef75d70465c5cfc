"""Capacity, allocation and free resources of a city's clouds, as values that can be summed.

Reading them from clusters is the responsibility of the package `capacity`; display is that of `report`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial, reduce
from typing import Literal

from wecityctl.model.city import Prices

Source = Literal["live", "declared"]
Health = Literal["ok", "degraded", "unreachable", "not running", "not made"]

GIB = 1024**3
# Converts monthly prices: 365 days of 24 hours, divided by 12.
HOURS_PER_MONTH = Decimal(730)


@dataclass(frozen=True, slots=True)
class Amounts:
    """Amounts of resources: CPU in millicores, memory and storage in bytes, accelerators as counts by resource name."""

    cpu: int = 0
    memory: int = 0
    storage: int = 0
    accelerators: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(
            self.cpu + other.cpu,
            self.memory + other.memory,
            self.storage + other.storage,
            _merged(self.accelerators, other.accelerators, 1),
        )

    def left_after(self, used: Amounts) -> Amounts:
        """These amounts less `used`, never below zero."""
        left = _merged(self.accelerators, used.accelerators, -1)
        return Amounts(
            max(0, self.cpu - used.cpu),
            max(0, self.memory - used.memory),
            max(0, self.storage - used.storage),
            {name: max(0, left[name]) for name in self.accelerators},
        )


def total(amounts: Iterable[Amounts]) -> Amounts:
    """The sum of `amounts`."""
    return reduce(Amounts.__add__, amounts, Amounts())


def _merged(one: Mapping[str, int], other: Mapping[str, int], sign: int) -> Mapping[str, int]:
    if not other:
        return one
    return {name: one.get(name, 0) + sign * other.get(name, 0) for name in {**one, **other}}


def cost_per_hour(amounts: Amounts, prices: Prices) -> Decimal:
    """The hourly cost of `amounts` with `prices`, in their currency. Accelerators have no price."""
    storage = Decimal(prices.storage_gib_month) / HOURS_PER_MONTH
    return (
        Decimal(amounts.cpu) / 1000 * Decimal(prices.cpu_hour)
        + Decimal(amounts.memory) / GIB * Decimal(prices.memory_gib_hour)
        + Decimal(amounts.storage) / GIB * storage
    )


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """One node. `open`: ready, not cordoned, and without a taint that keeps the city's pods away."""

    name: str
    zones: tuple[str, ...]
    pool: str
    architecture: str
    ready: bool
    open: bool
    simulated: bool
    capacity: Amounts
    allocated: Amounts
    pods: int
    troubles: tuple[str, ...] = ()

    @property
    def free(self) -> Amounts:
        """What new pods may still request; nothing if the node is not open."""
        return self.capacity.left_after(self.allocated) if self.open else Amounts()


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """The nodes of one pool, zone and architecture of a cloud. `pool` is empty for nodes that match no pool.

    `None` means unknown: no cluster was read, or listing its pods is forbidden. `zones` has several names if one node
    serves all of them.
    """

    zones: tuple[str, ...]
    pool: str
    architecture: str
    domestic: bool
    simulated: bool
    source: Source
    nodes: int
    ready: int | None
    capacity: Amounts
    allocated: Amounts | None
    free: Amounts | None
    pods: int | None
    capacity_cost: Decimal | None = None
    allocated_cost: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Unschedulable pods: their number, their requests, and the scheduler's reasons with the number of pods for
    each.
    """

    pods: int = 0
    requests: Amounts = Amounts()
    reasons: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CloudFigures:
    """The figures of one cloud. `conditions` are the problems of a cloud that answers.

    If the figures come from the files and not from the cluster, `reason` says why and `remedy` what to do about it.
    `age` is the time in seconds since they were true: read from the cluster, or last written in the files. `latency` is
    the duration of one small API request in seconds. `expected` lists what the files allow the cloud's owner to put
    into namespaces.
    """

    name: str
    provider: str
    region: str
    source: Source
    health: Health
    pools: tuple[PoolFigures, ...]
    currency: str = ""
    reason: str = ""
    remedy: str = ""
    conditions: tuple[str, ...] = ()
    waiting: Waiting = Waiting()
    unattached_storage: int = 0
    kubernetes_version: str = ""
    latency: float | None = None
    read_at: str = ""
    age: float = 0.0
    expected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sum:
    """A sum over pools. `known` is the capacity of those pools whose pods could be listed.

    `allocated`, `free` and `pods` cover these pools only and are `None` without any. `ready` is `None` if no cluster
    was read.
    """

    nodes: int
    ready: int | None
    capacity: Amounts
    known: Amounts
    allocated: Amounts | None
    free: Amounts | None
    pods: int | None
    capacity_cost: Mapping[str, Decimal]
    allocated_cost: Mapping[str, Decimal]


_Wanted = Callable[[PoolFigures], bool]


@dataclass(frozen=True, slots=True)
class CityFigures:
    """The figures of all clouds of a city."""

    city: str
    clouds: tuple[CloudFigures, ...]

    @property
    def total(self) -> Sum:
        return self._sum(lambda pool: True)

    @property
    def domestic(self) -> Sum:
        """The sum over pools that the files declare as domestic (信创)."""
        return self._sum(lambda pool: pool.domestic)

    @property
    def by_architecture(self) -> Mapping[str, Sum]:
        names = sorted({pool.architecture for cloud in self.clouds for pool in cloud.pools})
        return {name: self._sum(partial(_is_of, name)) for name in names}

    def _sum(self, wanted: _Wanted) -> Sum:
        pairs = [(cloud, pool) for cloud in self.clouds for pool in cloud.pools if wanted(pool)]
        pools = [pool for _, pool in pairs]
        read = [pool.ready for pool in pools if pool.ready is not None]
        known = [pool for pool in pools if pool.allocated is not None]
        return Sum(
            nodes=sum(pool.nodes for pool in pools),
            ready=sum(read) if read else None,
            capacity=total(pool.capacity for pool in pools),
            known=total(pool.capacity for pool in known),
            allocated=total(pool.allocated or Amounts() for pool in known) if known else None,
            free=total(pool.free or Amounts() for pool in known) if known else None,
            pods=sum(pool.pods or 0 for pool in known) if known else None,
            capacity_cost=_by_currency((cloud.currency, pool.capacity_cost) for cloud, pool in pairs),
            allocated_cost=_by_currency((cloud.currency, pool.allocated_cost) for cloud, pool in pairs),
        )


def _is_of(architecture: str, pool: PoolFigures) -> bool:
    return pool.architecture == architecture


def _by_currency(costs: Iterable[tuple[str, Decimal | None]]) -> Mapping[str, Decimal]:
    found: dict[str, Decimal] = {}
    for currency, cost in costs:
        if cost is not None:
            found[currency] = found.get(currency, Decimal(0)) + cost
    return found
