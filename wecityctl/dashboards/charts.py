"""Draws a chart as SVG, with nothing in it that runs. All text that comes from elsewhere is escaped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING

from wecityctl.model.words import printable

if TYPE_CHECKING:
    from wecityctl.dashboards.lines import Chart, Line, Span
    from wecityctl.model.catalogue import Unit

WIDTH, HEIGHT = 520, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 10, 10, 22
# Lines that are drawn and listed; of more, those with the greatest values.
MOST = 12
# A limit is drawn if the axis need not be so much longer for it that nothing of the values could be seen.
_REACH = 4.0
_THOUSANDS = ("M", "G", "T", "P")
_BYTES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def drawn_lines(chart: Chart) -> tuple[Line, ...]:
    """The lines that are drawn, in order of names."""
    greatest = sorted(chart.lines, key=lambda line: -line.most)[:MOST]
    return tuple(line for line in chart.lines if line in greatest)


def svg(chart: Chart, span: Span) -> str:
    """The picture of a chart that has lines. Line N has the class `cN`, and its limit also the class `limit`."""
    lines = drawn_lines(chart)
    most = max(line.most for line in lines)
    limits = [(index, limit) for index, line in enumerate(lines) if (limit := chart.limit_of(line)) is not None]
    drawn = [(index, limit) for index, limit in limits if limit.most <= most * _REACH]
    top, step = _axis(max((most, *(limit.most for _, limit in drawn))), chart.panel.unit)

    def x(time: float) -> float:
        share = (time - span.start) / (span.end - span.start)
        return _LEFT + min(max(share, 0.0), 1.0) * (WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return HEIGHT - _BOTTOM - min(max(value / top, 0.0), 1.0) * (HEIGHT - _TOP - _BOTTOM)

    def curve(line: Line, kind: str, title: str) -> Iterator[str]:
        yield f'<g class="{kind}"><title>{safe(title)}</title>'
        for piece in line.pieces(span.step):
            if len(piece) == 1:
                yield f'<circle cx="{x(piece[0][0]):.1f}" cy="{y(piece[0][1]):.1f}" r="1.5"/>'
            else:
                points = " ".join(f"{x(time):.1f},{y(value):.1f}" for time, value in piece)
                yield f'<polyline points="{points}"/>'
        yield "</g>"

    def parts() -> Iterator[str]:
        title = safe(chart.panel.title)
        yield f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">'
        for index in range(round(top / step) + 1):
            value = index * step
            yield f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
            written = text(value, chart.panel.unit)
            yield f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{written}</text>'
        for time in _times(span):
            yield f'<text x="{x(time):.1f}" y="{HEIGHT - 6}" text-anchor="middle">{_moment(time, span)}</text>'
        for index, limit in drawn:
            yield from curve(limit, f"limit c{index}", f"limit of {limit.name or chart.panel.title}")
        for index, line in enumerate(lines):
            yield from curve(line, f"line c{index}", line.name or chart.panel.title)
        yield "</svg>"

    return "".join(parts())


def text(value: float, unit: Unit) -> str:
    """A value as people read it."""
    if unit == "bytes":
        power = min(int(math.log(abs(value), 1024)), len(_BYTES) - 1) if abs(value) >= 1 else 0
        return f"{_number(value / 1024**power)} {_BYTES[power]}"
    if unit == "share":
        return f"{_number(value * 100)} %"
    return _number(value) + {"per second": "/s", "seconds": " s"}.get(unit, "")


def safe(text: str) -> str:
    """Text as a part of HTML: without characters that control or reorder, and escaped."""
    return escape(printable(text))


def _number(value: float) -> str:
    size = abs(value)
    if size >= 1e6:
        power = min(int(math.log10(size) // 3), len(_THOUSANDS) + 1)
        return f"{value / 1000**power:.3g} {_THOUSANDS[power - 2]}"
    return f"{value:,.0f}" if size >= 1000 else f"{value:.3g}" if size >= 0.001 else f"{value:.1g}"


def _axis(most: float, unit: Unit) -> tuple[float, float]:
    """The end of the axis of values and the distance of its lines: round numbers, four or five lines."""
    if most <= 0:
        most = 1.0
    base = 1024.0 ** max(0, int(math.log(most, 1024))) if unit == "bytes" and most >= 1 else 1.0
    rough = most / base / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    if unit == "count" and step < 1:
        step = 1.0
    return max(1, math.ceil(most / base / step - 1e-9)) * step * base, step * base


def _times(span: Span) -> Iterator[float]:
    """Yield the times that are written below the axis: round ones, of which there is room for six."""
    wanted = (span.end - span.start) / 6
    choices = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 432000)
    step = next((item for item in choices if item >= wanted), 864_000)
    # Room for the words at both ends.
    margin = (span.end - span.start) * 0.04
    time = math.ceil((span.start + margin) / step) * step
    while time <= span.end - margin:
        yield time
        time += step


def _moment(time: float, span: Span) -> str:
    length = span.end - span.start
    form = (
        "%m-%d" if length > 3 * 86400 else "%m-%d %H:%M" if length > 86400 else "%H:%M" if length > 600 else "%H:%M:%S"
    )
    return datetime.fromtimestamp(time, UTC).strftime(form)
