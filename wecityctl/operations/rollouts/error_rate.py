"""What a gateway's counters say of a canary's requests, and whether it is taken back. Pure functions.

Counters are judged as the store has them: all times but `seconds` of a step are those of the cluster's clocks.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from wecityctl.model.city import AbortAbove

# Seconds without a sample that are a gap: some scrapes have failed.
GAP = 60.0
# Samples of another pod after which a pod without one has ended. All are scraped as often.
_ROUNDS = 3
# Seconds that are looked at of a longer step.
_LONGEST = 3600.0
_FAILED = "5xx"


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a canary: when it began, in seconds since 1970 by this machine's clock, and its pause in seconds."""

    since: float
    pause: float

    def looked_at(self, at: float) -> tuple[float, float]:
        """How many seconds before `at` what is counted begins, and how many of them samples have to cover.

        Within the pause there are none: nothing goes on then, and what is known is enough to abort.
        """
        elapsed = max(0.0, at - self.since)
        over, seconds = elapsed - self.pause, min(elapsed, _LONGEST)
        return seconds, max(0.0, seconds - over) if over >= 0 else 0.0


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


def count(samples: Samples, *, begin: float, now: float, length: float = 0.0) -> Counted | str:
    """The requests of a step that began at `begin`, or why they are not known.

    For `length` seconds there have to be samples of each pod of the gateway, without a gap.
    What is counted begins after the last gap: nobody knows when in it a request came, which may have been before the
    step and to another version, nor what a pod counted that has ended in it.
    """
    seen = sorted({when for item in samples.ups for when, _ in item.samples})
    if not seen or now - seen[-1] > GAP:
        return f"the store has no sample of the gateway's counters from the last {GAP:.0f} s"
    start = max(
        (later for earlier, later in pairwise((0.0, *seen)) if later > begin and later - earlier > GAP), default=begin
    )
    since = {item.pod: item.samples[-1][1] for item in samples.since}
    late = {item.pod for item in samples.counted if item.samples[-1][0] - item.samples[-1][1] > GAP}
    # A pod that is older than its first sample.
    first = {item.pod: item.samples[0][0] for item in samples.ups}
    starts = {pod: when if when > start and since.get(pod, 0.0) < when - GAP else start for pod, when in first.items()}
    for item in samples.ups:
        ended = any(sum(when > item.samples[-1][0] for when, _ in other.samples) >= _ROUNDS for other in samples.ups)
        if problem := _problem(item, since, late, starts[item.pod], length, ended=ended):
            return f"gateway pod {item.pod} {problem}"
    found = {True: 0.0, False: 0.0}
    for item in samples.counters:
        found[item.code == _FAILED] += _increase(item, starts.get(item.pod, start))
    return Counted(round(found[True] + found[False]), round(found[True]))


def _problem(
    pod: Series, since: Mapping[str, float], late: Container[str], start: float, length: float, *, ended: bool
) -> str:
    """Why a pod's counters do not say what it passed on for `length` seconds from `start` on; empty if they do."""
    when, is_up = pod.samples[-1]
    if ended and when <= start:
        return ""
    if is_up != 1 and not ended:
        return "does not serve its counters"
    if pod.pod not in since:
        return "counts no requests"
    if pod.pod in late:
        return "has stopped counting"
    if when < start + length and not ended:
        covered = max(0.0, when - start)
        return f"has samples of {covered:.0f} s of this step without a gap, and its pause is {length:.0f} s"
    return ""


def _increase(series: Series, start: float) -> float:
    """By how much a counter has grown since `start`. One that is lower than before has begun at zero again."""
    earlier = [value for when, value in series.samples if when <= start]
    last, total = earlier[-1] if earlier else 0.0, 0.0
    for when, value in series.samples:
        if when > start:
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
