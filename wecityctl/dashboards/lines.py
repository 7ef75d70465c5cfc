"""The lines of a chart, as a store answers a query over a span of time. What is in an answer is not trusted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wecityctl.errors import DeploymentError
from wecityctl.model.words import printable

if TYPE_CHECKING:
    from wecityctl.model.catalogue import Panel

# Points of a line at the most, and seconds between two at the least.
_POINTS, _LEAST_STEP = 240, 5
# Characters of a line's name.
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class Span:
    """The time that charts show: Unix seconds, of which both ends are multiples of `step`."""

    start: int
    end: int
    step: int

    @classmethod
    def until(cls, end: float, seconds: float) -> Span:
        """The last `seconds` before `end`."""
        step = max(_LEAST_STEP, math.ceil(seconds / _POINTS / _LEAST_STEP) * _LEAST_STEP)
        last = int(end) // step * step
        return cls(last - max(1, round(seconds / step)) * step, last, step)

    @property
    def parameters(self) -> dict[str, str]:
        """The same as parameters of a query; the store must not answer from what it has computed for another span."""
        return {"start": str(self.start), "end": str(self.end), "step": f"{self.step}s", "nocache": "1"}


@dataclass(frozen=True, slots=True)
class Line:
    """A line: its name and points, each a Unix time in seconds and a finite value, the oldest first."""

    name: str
    points: tuple[tuple[float, float], ...]

    @property
    def last(self) -> float:
        return self.points[-1][1]

    @property
    def most(self) -> float:
        return max(value for _, value in self.points)

    def pieces(self, step: int) -> Iterator[tuple[tuple[float, float], ...]]:
        """Yield the parts between which there is a gap: no points for longer than `step`."""
        start = 0
        for index in range(1, len(self.points) + 1):
            if index == len(self.points) or self.points[index][0] - self.points[index - 1][0] > step * 1.5:
                yield self.points[start:index]
                start = index


@dataclass(frozen=True, slots=True)
class Chart:
    """A panel with its values. `problems` say of which clouds there are none, and why."""

    panel: Panel
    lines: tuple[Line, ...] = ()
    limits: tuple[Line, ...] = ()
    problems: tuple[str, ...] = ()

    def limit_of(self, line: Line) -> Line | None:
        """The limit of a line."""
        return next((item for item in self.limits if item.name == line.name), None)


def lines_in(answer: Mapping[str, Any], by: Sequence[str], prefix: str = "") -> tuple[Line, ...]:
    """The lines in an answer of `/api/v1/query_range`, named by their labels `by` after a `prefix`, in order of names.

    Series that have no points are left out. Raises `DeploymentError` for something else than an answer.
    """
    found = []
    try:
        if answer["data"]["resultType"] != "matrix":
            raise ValueError(f"a result of type {answer['data']['resultType']!r}")
        for item in answer["data"]["result"]:
            labels = item["metric"]
            points = tuple((float(time), float(value)) for time, value in item["values"])
            finite = tuple(point for point in points if math.isfinite(point[0]) and math.isfinite(point[1]))
            if finite:
                found.append(Line(_name(prefix, *(str(labels.get(key, "")) for key in by)), finite))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DeploymentError("the store answers with something else than series", details=str(error)[:300]) from error
    return tuple(sorted(found, key=lambda line: line.name))


def _name(*parts: str) -> str:
    name = printable(" / ".join(filter(None, parts))).replace("\n", " ")
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
