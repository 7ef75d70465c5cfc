"""What a city's clouds have, what is asked of them and what is left: values and their sums.

Reading clusters is `capacity`'s, showing is `report`'s; placement may count with the same values.
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
# A month of a rate card: 365 days of 24 hours over 12.
HOURS_PER_MONTH = Decimal(730)


@dataclass(frozen=True, slots=True)
class Amounts:
    """Millicores of CPU, bytes of memory and storage, pieces of each accelerator."""

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
        """What is left of this when `used` is taken from it, nothing below zero."""
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
    """What `amounts` cost an hour on that rate card, in its currency; accelerators have no price of their own."""
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
        """What a new pod may still take."""
        return self.capacity.left_after(self.allocated) if self.open else Amounts()


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """The nodes of one pool, zone and architecture of a cloud. `pool` is empty for nodes that match none.

    What is `None` is not known: no cluster was read, or it does not let its pods be listed. `zones` has several names
    where one node serves them all.
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
    """Pods that no node has taken, what they ask for, and the scheduler's reasons with how many pods have each."""

    pods: int = 0
    requests: Amounts = Amounts()
    reasons: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CloudFigures:
    """One cloud. `reason` says why its figures are declared and `remedy` what to do about it; `conditions` are what is
    wrong with a cloud that answers.

    `age` is the seconds since the figures were true: read from the cluster, or last written in the files.
    `latency` is one small request to the API server in seconds. `expected` is what the files say that the cloud's owner
    puts into namespaces.
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
    """A sum over pools. `known` is the capacity of those whose pods were read: `allocated`, `free` and `pods` speak of
    them alone and are `None` where there are none, as `ready` is where no cluster was read."""

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
    """The one logical platform: every cloud of the city."""

    city: str
    clouds: tuple[CloudFigures, ...]

    @property
    def total(self) -> Sum:
        return self._sum(lambda pool: True)

    @property
    def domestic(self) -> Sum:
        """信创: the pools that the files mark as domestic."""
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
