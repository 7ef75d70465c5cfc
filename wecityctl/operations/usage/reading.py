"""Asks a metrics store what was used on its cloud: hour by hour, so that no answer is large."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from wecityctl.errors import DeploymentError
from wecityctl.model.metering import (
    OBSERVED,
    USAGE,
    CloudUsage,
    Counted,
    Kind,
    Observed,
    Owner,
    Period,
    Sampled,
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
_Series = frozenset[tuple[str, str]]
# By series, the value for each end of a window.
_Values = dict[_Series, dict[int, float]]


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
    apps: Mapping[str, Mapping[str, str]],
) -> CloudUsage:
    """The usage of `cloud` in `period`, as its store tells; of one tenant alone unless `tenant` is empty.

    `apps` are those of the files by tenant and Service, for counters that know an app by its Service.

    Raises `DeploymentError` for an answer that is none, and for no answer.
    """
    windows = period.windows()
    chosen = f'{{tenant="{tenant}"}}' if tenant else ""
    observed = await _ask(server, windows, f"count_over_time({OBSERVED}[$window])")
    counts = await _ask(server, windows, f"count_over_time({USAGE}{chosen}[$window])")
    totals = await _ask(server, windows, f"sum_over_time({USAGE}{chosen}[$window])")
    namespaces = {labels.get("namespace", ""): _owner(labels) for labels in map(dict, observed)}
    counted: list[Counted] = []
    for counter in counters:
        values = await _ask(server, windows, _increase(counter))
        counted += _counted(cloud, counter, values, tenant, lambda labels: _user(labels, namespaces, apps))
    return CloudUsage(
        cloud,
        coverage(_most(observed), windows),
        tuple(sorted(_observed(cloud, observed, windows, tenant), key=lambda item: item.namespace)),
        tuple(_used(cloud, counts, totals, windows)),
        tuple(counted),
    )


async def _ask(server: Conversation, windows: Sequence[Window], query: str) -> _Values:
    found: _Values = {}
    for batch in batches(windows):
        length = batch[0].seconds
        parameters = {
            "query": query.replace("$window", f"{length}s"),
            "start": str(batch[0].end),
            "end": str(batch[-1].end),
            "step": f"{length}s",
            # Otherwise the server moves start and end to where its cache has answers.
            "nocache": "1",
        }
        told = await server.status(_PATH, parameters)
        for series, values in parsed(told):
            found.setdefault(series, {}).update(values)
    return found


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
    return f"sum by (tenant, app, service_namespace, service) (increase_pure({chosen}[$window]))"


def _most(observed: _Values) -> dict[int, int]:
    """The samples of the namespace with the most of them, in each window: whether anything at all was observed."""
    found: dict[int, int] = {}
    for values in observed.values():
        for end, count in values.items():
            found[end] = max(found.get(end, 0), round(count))
    return found


def _observed(cloud: str, observed: _Values, windows: Sequence[Window], tenant: str) -> Iterator[Observed]:
    for series, values in observed.items():
        labels = dict(series)
        if not tenant or labels.get("tenant") == tenant:
            counts = {end: round(count) for end, count in values.items()}
            yield Observed(cloud, labels.get("namespace", ""), _owner(labels), coverage(counts, windows))


def _used(cloud: str, counts: _Values, totals: _Values, windows: Sequence[Window]) -> Iterator[Used]:
    for series, of_windows in counts.items():
        labels = dict(series)
        kind = _KINDS.get(labels.get("of", ""))
        if kind is None:
            continue
        sums = totals.get(series, {})
        samples = {end: Sampled(round(count), sums[end]) for end, count in of_windows.items() if end in sums}
        yield Used(cloud, _owner(labels), kind, labels.get("resource", ""), integrate(samples, windows))


def _counted(
    cloud: str, counter: Counter, values: _Values, tenant: str, owner_of: Callable[[Mapping[str, str]], Owner]
) -> Iterator[Counted]:
    for series, of_windows in values.items():
        owner, value = owner_of(dict(series)), sum(of_windows.values())
        if value and tenant in ("", owner.tenant):
            yield Counted(cloud, counter.by, counter.counter.name, owner, value)


def _user(labels: Mapping[str, str], namespaces: Mapping[str, Owner], apps: Mapping[str, Mapping[str, str]]) -> Owner:
    """Who used something: as the labels say, or by the Service and its namespace. An app that is gone has no name."""
    if "service_namespace" not in labels:
        return _owner(labels)
    owner = namespaces.get(labels["service_namespace"], Owner())
    return replace(owner, app=apps.get(owner.tenant, {}).get(labels.get("service", ""), ""))


def _owner(labels: Mapping[str, str]) -> Owner:
    names = ("tenant", "app", "platform", "capability")
    return Owner(*(labels.get(name, "") for name in names))
