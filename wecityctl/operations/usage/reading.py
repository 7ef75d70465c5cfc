"""Asks a metrics store what was used on its cloud: some days at a time, so that no answer is large.

The samples are added up by the hour in the store, and hours here. Of what a query has told, only sums are kept.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wecityctl.errors import DeploymentError
from wecityctl.model.metering import (
    HOUR,
    OBSERVED,
    USAGE,
    CloudUsage,
    Counted,
    Kind,
    Observed,
    Owner,
    Period,
    Used,
    Window,
    batches,
    coverage,
    integrate,
)

if TYPE_CHECKING:
    from wecityctl.model.catalogue import UsageCounter
    from wecityctl.operations.capability_servers import Conversation

_PATH = "/api/v1/query_range"
_KINDS: Mapping[str, Kind] = {"requests": "requests", "limits": "limits", "volumes": "volumes", "pods": "pods"}
# Hours that one query asks for. In a city of 300 apps a day of usage is about 3000 series, so an answer of 2 MB, for
# which the store reads 4 million samples; a week of a gateway's counters, which are taken four times a minute, is some
# 100 million of the 1000 million that a query may read.
_DAY, _WEEK = 24, 168
# Hours before those that are asked for, so that a counter is known that has no sample around their begin: it would
# count from 0 again. Where nothing was observed in them, those back to what was observed last, for two weeks at the
# most: a store that took nothing for a weekend has counters that began long before.
_BEFORE, _LONGEST = 24, 14 * 24
# What sums of usage are told apart by: a component has no price of its own.
_APART = "of, resource, namespace, tenant, app, platform, capability"
_Series = frozenset[tuple[str, str]]
# By series, the value for each end of a window.
_Values = dict[_Series, dict[int, float]]
# Takes how many of the queries are answered, and how many there are.
Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Counter:
    """What an instance of a capability counts."""

    by: Owner
    counter: UsageCounter


async def read_usage(
    server: Conversation,
    cloud: str,
    counters: Sequence[Counter],
    period: Period,
    tenant: str,
    tell: Tell = lambda done, of: None,
) -> CloudUsage:
    """The usage of `cloud` in `period`, as its store tells; of one tenant alone unless `tenant` is empty.

    Raises `DeploymentError` for an answer that is none, and for no answer.
    """
    windows = period.windows()
    days, weeks = tuple(batches(windows, _DAY)), tuple(batches(windows, _WEEK))
    asked = _Asked(server, len(days) + len(weeks) * (1 + len(counters)), tell)
    observed: _Values = {}
    async for _, values in asked.each(weeks, f"count_over_time({OBSERVED}[$window])"):
        for series, told in values.items():
            observed.setdefault(series, {}).update(told)
    by_namespace = _by_namespace(observed)
    amounts: dict[_Series, float] = {}
    chosen = f'{{tenant="{tenant}"}}' if tenant else ""
    query = f"sum by ({_APART}) (sum_over_time({USAGE}{chosen}[$window]))"
    async for batch, values in asked.each(days, query):
        for series, totals in values.items():
            counts = by_namespace.get(dict(series).get("namespace", ""), {})
            amounts[series] = amounts.get(series, 0.0) + integrate(totals, counts, batch)
    counted: list[Counted] = []
    known = _most(observed.values())
    before = {batch[0]: await _before(server, batch[0], known) for batch in weeks} if counters else {}
    for counter in counters:
        sums: dict[Owner, float] = {}
        async for _, values in asked.each(weeks, _increase(counter), before):
            for series, increases in values.items():
                owner = _owner(dict(series))
                sums[owner] = sums.get(owner, 0.0) + sum(increases.values())
        counted += (
            Counted(cloud, counter.by, counter.counter.name, owner, value)
            for owner, value in sums.items()
            if value and tenant in ("", owner.tenant)
        )
    return CloudUsage(
        cloud,
        coverage(known, windows),
        tuple(sorted(_observed(cloud, observed, windows, tenant), key=lambda item: item.namespace)),
        tuple(_used(cloud, amounts)),
        tuple(counted),
    )


class _Asked:
    """Asks one query after the other, and tells how many of all are answered."""

    def __init__(self, server: Conversation, queries: int, tell: Tell) -> None:
        self._server, self._of, self._tell, self._done = server, queries, tell, 0

    async def each(
        self, found: Sequence[tuple[Window, ...]], query: str, before: Mapping[Window, int] = {}
    ) -> AsyncIterator[tuple[tuple[Window, ...], _Values]]:
        """Yield each batch of windows, and the values of `query` at their ends.

        The store also looks at the time of so many windows in front of them as `before` has for the first.
        """
        for batch in found:
            length = batch[0].seconds
            parameters = {
                "query": query.replace("$window", f"{length}s"),
                "start": str(batch[0].end - before.get(batch[0], 0) * length),
                "end": str(batch[-1].end),
                "step": f"{length}s",
                # Otherwise the server moves start and end to where its cache has answers.
                "nocache": "1",
            }
            told = await self._server.status(_PATH, parameters)
            self._done += 1
            self._tell(self._done, self._of)
            yield (
                batch,
                {
                    series: {time: value for time, value in values.items() if time > batch[0].begin}
                    for series, values in parsed(told)
                },
            )


async def _before(server: Conversation, first: Window, known: Mapping[int, int]) -> int:
    """How many windows of its length the store has to look at in front of `first`, so that counters are known.

    `known` are the numbers of samples of the observer, by the end of the window.
    """
    if any(count and first.begin - _BEFORE * HOUR < end <= first.begin for end, count in known.items()):
        return _BEFORE
    at = str(first.begin)
    for hours in (_BEFORE, _LONGEST):
        query = f"max(tlast_over_time({OBSERVED}[{hours}h]))"
        told = await server.status(_PATH, {"query": query, "start": at, "end": at, "step": f"{HOUR}s", "nocache": "1"})
        last = max((value for _, values in parsed(told) for value in values.values()), default=0.0)
        if last and hours > _BEFORE:
            return min(max(_BEFORE, math.ceil((first.begin - last) / first.seconds) + 1), 2 * _LONGEST)
        if last:
            break
    return _BEFORE


def parsed(told: Mapping[str, Any]) -> Iterator[tuple[_Series, dict[int, float]]]:
    """Yield labels and values of each series of an answer. Raises `DeploymentError` for something else."""
    try:
        for item in told["data"]["result"]:
            values = {int(time): float(text) for time, text in item["values"]}
            yield (
                frozenset((str(key), str(value)) for key, value in item["metric"].items()),
                {time: value for time, value in values.items() if math.isfinite(value)},
            )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DeploymentError(
            "the metrics store answers with something else than series", details=str(error)
        ) from error


def _increase(counter: Counter) -> str:
    # A counter began at 0 when it is seen for the first time, and when it falls, because its server restarted.
    chosen = counter.counter.counter.replace("$capability", counter.by.capability)
    return f"sum by (tenant, app) (increase_pure({chosen}[$window]))"


def _most(observed: Iterable[Mapping[int, float]]) -> dict[int, int]:
    """The samples of the series with the most of them, in each window: whether anything at all was observed."""
    found: dict[int, int] = {}
    for values in observed:
        for end, count in values.items():
            found[end] = max(found.get(end, 0), round(count))
    return found


def _by_namespace(observed: _Values) -> dict[str, dict[int, int]]:
    """The samples of each namespace, which has two series where its owner or its observer has changed."""
    found: dict[str, list[dict[int, float]]] = {}
    for series, values in observed.items():
        found.setdefault(dict(series).get("namespace", ""), []).append(values)
    return {namespace: _most(each) for namespace, each in found.items()}


def _observed(cloud: str, observed: _Values, windows: Sequence[Window], tenant: str) -> Iterator[Observed]:
    for series, values in observed.items():
        labels = dict(series)
        if not tenant or labels.get("tenant") == tenant:
            counts = {end: round(count) for end, count in values.items()}
            yield Observed(cloud, labels.get("namespace", ""), _owner(labels), coverage(counts, windows))


def _used(cloud: str, amounts: Mapping[_Series, float]) -> Iterator[Used]:
    for series, amount in amounts.items():
        labels = dict(series)
        kind = _KINDS.get(labels.get("of", ""))
        if kind is not None:
            yield Used(cloud, _owner(labels), kind, labels.get("resource", ""), amount)


def _owner(labels: Mapping[str, str]) -> Owner:
    names = ("tenant", "app", "platform", "capability")
    return Owner(*(labels.get(name, "") for name in names))
