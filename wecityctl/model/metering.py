"""What is used of a city over time, worked out from samples. Pure: `operations.usage` reads them, `report` shows them.

A sample of usage stands for the interval at which it is taken, and for no more: where samples are missing, nothing is
counted, and the gap is told. What was there all the time is counted for exactly the time that is told as counted.
Times are whole seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import reduce
from itertools import pairwise
from typing import Literal

from wecityctl.model.capacity import GIB, HOURS_PER_MONTH
from wecityctl.model.city import Prices

# Seconds from one sample of usage to the next. Stored samples stand for it: a change would misjudge them.
USAGE_SECONDS = 60
# The series of the metrics platform: a namespace whose objects are known, and what its pods and volumes amount to.
OBSERVED, USAGE = "wecity_observed", "wecity_usage"
HOUR = 3600

Group = Literal["tenant", "app", "capability"]
# Kinds of usage: the label `of`.
Kind = Literal["requests", "limits", "volumes", "pods"]


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a period, of about an hour. Samples belong to it that are later than `begin`, up to `end`."""

    begin: int
    end: int

    @property
    def seconds(self) -> int:
        return self.end - self.begin

    @property
    def due(self) -> int:
        """The samples that it has when none is missing. One more may fall into a part of a minute."""
        return max(1, self.seconds // USAGE_SECONDS)


@dataclass(frozen=True, slots=True)
class Period:
    """The time from `begin` to `end`."""

    begin: int
    end: int

    @property
    def hours(self) -> float:
        return (self.end - self.begin) / HOUR

    def windows(self) -> tuple[Window, ...]:
        """The hours of the clock in it. The first and the last may be parts of one, or have a part of a minute more.

        A window of its own in which no sample is due would be a gap that is none.
        """
        hours = range(self.begin - self.begin % HOUR + HOUR, self.end, HOUR)
        inner = [at for at in hours if at - self.begin >= USAGE_SECONDS and self.end - at >= USAGE_SECONDS]
        cuts = [self.begin, *inner, self.end]
        return tuple(Window(*pair) for pair in pairwise(cuts) if pair[0] < pair[1])


def batches(windows: Sequence[Window], most: int) -> Iterator[tuple[Window, ...]]:
    """Yield windows of one length that follow each other, `most` at the most, so that one query asks for them."""
    batch: list[Window] = []
    for window in windows:
        if batch and (window.seconds != batch[0].seconds or len(batch) == most):
            yield tuple(batch)
            batch = []
        batch.append(window)
    if batch:
        yield tuple(batch)


def counted_seconds(count: int, window: Window) -> int:
    """The time for which `count` samples stand. There are more than are due after a clock was set back."""
    return window.seconds * min(count, window.due) // window.due


def integrate(totals: Mapping[int, float], counts: Mapping[int, int], windows: Iterable[Window]) -> float:
    """The amount of a series times hours.

    `totals` are the sums of its samples, and `counts` the numbers of those of the observer that took them, both by the
    end of the window. A series that was not there in one of the observer's samples was 0 then.
    """
    found = 0.0
    for window in windows:
        count = counts.get(window.end, 0)
        if count > 0:
            # Of samples that are there twice, each stands for half of its time.
            found += totals.get(window.end, 0.0) / max(count, window.due) * window.seconds / HOUR
    return found


@dataclass(frozen=True, slots=True)
class Gap:
    """A time from `begin` to `end` of which `missing` seconds are not counted."""

    begin: int
    end: int
    missing: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many seconds are counted, and where some are missing."""

    counted: int
    gaps: tuple[Gap, ...]


def coverage(counts: Mapping[int, int], windows: Iterable[Window]) -> Coverage:
    """What samples of an observer stand for; `counts` are their numbers by the end of the window."""
    counted = 0
    gaps: list[Gap] = []
    for window in windows:
        seconds = counted_seconds(counts.get(window.end, 0), window)
        missing = window.seconds - seconds
        counted += seconds
        if not missing:
            continue
        if gaps and gaps[-1].end == window.begin:
            last = gaps.pop()
            gaps.append(Gap(last.begin, window.end, last.missing + missing))
        else:
            gaps.append(Gap(window.begin, window.end, missing))
    return Coverage(counted, tuple(gaps))


@dataclass(frozen=True, slots=True, order=True)
class Owner:
    """Whose something is: an app of a tenant, or a capability of a platform. Empty where it is not known or none."""

    tenant: str = ""
    app: str = ""
    platform: str = ""
    capability: str = ""

    def within(self, group: Group) -> Owner | None:
        """The owner in a sum by `group`; `None` for what such a sum leaves out."""
        match group:
            case "tenant":
                return Owner(tenant=self.tenant)
            case "app":
                return Owner(tenant=self.tenant, app=self.app) if self.tenant else None
            case "capability":
                return Owner(platform=self.platform, capability=self.capability) if self.platform else None


@dataclass(frozen=True, slots=True)
class Used:
    """What one owner has used on one cloud of one resource: an amount in its base unit, times hours."""

    cloud: str
    owner: Owner
    kind: Kind
    resource: str
    amount: float


@dataclass(frozen=True, slots=True)
class Counted:
    """What an instance of a capability, `by`, has counted under a name for `owner`, which used it."""

    cloud: str
    by: Owner
    name: str
    owner: Owner
    value: float


@dataclass(frozen=True, slots=True)
class Row:
    """The usage of one owner: hours of CPU cores, of GiB and of pods, and of other requests in their base unit.

    `counts` are by the name of the capability and of what it counts. `cost` is by currency. It is for what is requested
    on clouds that have prices, and for volumes there.
    """

    owner: Owner
    cpu: float = 0.0
    cpu_limit: float = 0.0
    memory: float = 0.0
    memory_limit: float = 0.0
    storage: float = 0.0
    pods: float = 0.0
    others: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, float] = field(default_factory=dict)
    cost: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observed:
    """For how long a namespace, of a tenant or of a platform, was observed on a cloud."""

    cloud: str
    namespace: str
    owner: Owner
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class CloudUsage:
    """What was used on one cloud, and for how long that is known: of the cloud, and of each of its namespaces."""

    cloud: str
    coverage: Coverage
    namespaces: tuple[Observed, ...]
    used: tuple[Used, ...]
    counted: tuple[Counted, ...]


@dataclass(frozen=True, slots=True)
class CityUsage:
    """The usage of a city in a period.

    `unknown` has the clouds of which nothing is known, and why; `failed` are those of them whose store could not be
    read. `unpriced` are the clouds without prices in the files. `counters` are what capabilities count.
    """

    city: str
    period: Period
    by: Group
    rows: tuple[Row, ...]
    clouds: tuple[CloudUsage, ...]
    unknown: Mapping[str, str]
    failed: frozenset[str]
    unpriced: tuple[str, ...]
    counters: tuple[str, ...]


def rows(
    used: Iterable[Used], counted: Iterable[Counted], prices: Mapping[str, Prices], group: Group
) -> tuple[Row, ...]:
    """The sums by owner, sorted. `prices` are by cloud, for those that have some."""
    amounts: dict[Owner, dict[tuple[Kind, str], float]] = {}
    counts: dict[Owner, dict[str, float]] = {}
    costs: dict[Owner, dict[str, Decimal]] = {}
    for item in used:
        owner = item.owner.within(group)
        if owner is None:
            continue
        sums, key = amounts.setdefault(owner, {}), (item.kind, item.resource)
        sums[key] = sums.get(key, 0.0) + item.amount
        price = prices.get(item.cloud)
        if price is not None and (cost := cost_of(item, price)) is not None:
            by_currency = costs.setdefault(owner, {})
            by_currency[price.currency] = by_currency.get(price.currency, Decimal(0)) + cost
    for count in counted:
        owner = (count.by if group == "capability" else count.owner).within(group)
        if owner is not None:
            by_name, name = counts.setdefault(owner, {}), f"{count.by.capability} {count.name}"
            by_name[name] = by_name.get(name, 0.0) + count.value
    return tuple(
        _row(owner, amounts.get(owner, {}), counts.get(owner, {}), costs.get(owner, {}))
        for owner in sorted({*amounts, *counts})
    )


def total_of(found: Sequence[Row]) -> Row:
    """The sum of rows, of no owner."""
    return Row(
        Owner(),
        cpu=sum(row.cpu for row in found),
        cpu_limit=sum(row.cpu_limit for row in found),
        memory=sum(row.memory for row in found),
        memory_limit=sum(row.memory_limit for row in found),
        storage=sum(row.storage for row in found),
        pods=sum(row.pods for row in found),
        others=reduce(_added, (row.others for row in found), {}),
        counts=reduce(_added, (row.counts for row in found), {}),
        cost={
            key: sum((row.cost.get(key, Decimal(0)) for row in found), Decimal(0))
            for key in sorted({name for row in found for name in row.cost})
        },
    )


def _added(one: Mapping[str, float], other: Mapping[str, float]) -> Mapping[str, float]:
    return {key: one.get(key, 0.0) + other.get(key, 0.0) for key in (*one, *other)}


def cost_of(used: Used, prices: Prices) -> Decimal | None:
    """What it costs, unrounded; `None` for what has no price: limits, numbers of pods, and accelerators."""
    amount = Decimal(used.amount)
    match used.kind, used.resource:
        case "requests", "cpu":
            return amount * Decimal(prices.cpu_hour)
        case "requests", "memory":
            return amount / GIB * Decimal(prices.memory_gib_hour)
        case "volumes", "storage":
            return amount / GIB * Decimal(prices.storage_gib_month) / HOURS_PER_MONTH
        case _:
            return None


def _row(
    owner: Owner,
    amounts: Mapping[tuple[Kind, str], float],
    counts: Mapping[str, float],
    cost: Mapping[str, Decimal],
) -> Row:
    return Row(
        owner,
        cpu=amounts.get(("requests", "cpu"), 0.0),
        cpu_limit=amounts.get(("limits", "cpu"), 0.0),
        memory=amounts.get(("requests", "memory"), 0.0) / GIB,
        memory_limit=amounts.get(("limits", "memory"), 0.0) / GIB,
        storage=amounts.get(("volumes", "storage"), 0.0) / GIB,
        pods=amounts.get(("pods", "pods"), 0.0),
        others={
            resource: amount
            for (kind, resource), amount in sorted(amounts.items())
            if kind == "requests" and resource not in ("cpu", "memory")
        },
        counts=dict(sorted(counts.items())),
        cost=dict(sorted(cost.items())),
    )
