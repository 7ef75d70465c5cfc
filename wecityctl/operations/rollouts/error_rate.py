"""What a gateway's counters say of a canary's requests, and whether it is taken back. Pure functions.

Counters are judged as the store has them: all times but `seconds` of a step are those of the cluster's clocks.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from wecityctl.model.city import AbortAbove

# Seconds without a sample after which nothing is concluded from the counters: some scrapes have failed.
GAP = 60.0
_FAILED = "5xx"


@dataclass(frozen=True, slots=True)
class Series:
    """Samples of one series, as time and value in order: `pod` is the gateway's, `code` the class of the answers."""

    pod: str
    samples: tuple[tuple[float, float], ...]
    code: str = ""


@dataclass(frozen=True, slots=True)
class Counted:
    """The requests that a canary got, and how many of them were answered by a status of 500 or more."""

    requests: int
    failed: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is concluded of a step, and the sentence that says it. `few`: too few requests; `unknown`: no figures."""

    kind: Literal["above", "within", "few", "unknown"]
    text: str


def series_of(result: Iterable[Mapping[str, object]]) -> Iterator[Series]:
    """Yield the series of a matrix in Prometheus' form, without the marks of their ends.

    Raises `ValueError`, `KeyError` or `TypeError` for another form.
    """
    for item in result:
        labels, values = item["metric"], item["values"]
        if not isinstance(labels, Mapping) or not isinstance(values, Sequence):
            raise TypeError("a series has no labels or values")
        samples = tuple((float(when), float(value)) for when, value in values if value not in (None, "NaN"))
        if samples:
            yield Series(str(labels["pod"]), samples, str(labels.get("code", "")))


@dataclass(frozen=True, slots=True)
class Samples:
    """What the store has of a gateway, from more than `GAP` before the step's begin on.

    `ups` say of each pod whether it was scraped, `since` when it began to count, and `counted` when it last did.
    `counters` are those of the canary's requests.
    """

    ups: tuple[Series, ...]
    since: tuple[Series, ...]
    counted: tuple[Series, ...]
    counters: tuple[Series, ...]


def count(samples: Samples, *, begin: float, now: float) -> Counted | str:
    """The requests from `begin` to `now`, or why that is not known.

    What was counted while nobody scraped is in the next sample. Where there is none from before `begin`, what is known
    begins with the first one.
    """
    if not any(now - item.samples[-1][0] <= GAP for item in samples.ups):
        return f"the store has no sample of the gateway's counters from the last {GAP:.0f} s"
    since = {item.pod: item.samples[-1][1] for item in samples.since}
    late = {item.pod for item in samples.counted if item.samples[-1][0] - item.samples[-1][1] > GAP}
    for item in samples.ups:
        if problem := _problem(item, since, late, begin, now):
            return f"gateway pod {item.pod} {problem}"
    first = {item.pod: item.samples[0][0] for item in samples.ups}
    known = {pod: when for pod, when in first.items() if when > begin and since.get(pod, 0.0) < when - GAP}
    found = {True: 0.0, False: 0.0}
    for item in samples.counters:
        found[item.code == _FAILED] += _increase(item, begin, known.get(item.pod, begin))
    return Counted(round(found[True] + found[False]), round(found[True]))


def _problem(pod: Series, since: Mapping[str, float], late: Container[str], begin: float, now: float) -> str:
    """Why a pod's counters say nothing of the time since `begin`; empty if they do."""
    when, is_up = pod.samples[-1]
    if now - when <= GAP and is_up != 1:
        return "does not serve its counters"
    if when <= begin:
        # It ended before the step began.
        return ""
    if pod.pod not in since:
        return "counts no requests"
    return "has stopped counting" if pod.pod in late else ""


def _increase(series: Series, begin: float, known: float) -> float:
    """By how much a counter has grown since `begin`; a value at or before `known` is one to begin with.

    One that is lower than before has begun at zero again.
    """
    earlier = [value for when, value in series.samples if when <= max(begin, known)]
    last, total = earlier[-1] if earlier else 0.0, 0.0
    for when, value in series.samples:
        if when > max(begin, known):
            total += value - last if value >= last else value
            last = value
    return total


def judge(counted: Counted | str, limits: AbortAbove) -> Judgement:
    """Whether a canary of which that is counted goes on."""
    if isinstance(counted, str):
        return Judgement("unknown", counted)
    if counted.requests < limits.requests:
        few = _requests(counted.requests) if counted.requests else "no request"
        return Judgement("few", f"{few} in this step, too few to judge by (fewer than {limits.requests})")
    rate = 100 * counted.failed / counted.requests
    text = f"{counted.failed} of {_requests(counted.requests)} in this step failed ({rate:.3g} %)"
    if rate > limits.error_rate:
        return Judgement("above", f"{text}, more than {limits.error_rate} %")
    return Judgement("within", text)


def _requests(number: int) -> str:
    return f"{number} request" if number == 1 else f"{number} requests"
