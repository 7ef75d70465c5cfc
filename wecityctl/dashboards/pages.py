"""Writes dashboards as pages of HTML that need nothing else: no program runs in them and nothing is loaded.

Whatever comes from the files, the stores or the clusters is escaped, and a content security policy forbids the rest.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING

from wecityctl.dashboards import charts
from wecityctl.dashboards.charts import safe
from wecityctl.model.words import counted

if TYPE_CHECKING:
    from wecityctl.dashboards.boards import Dashboard
    from wecityctl.dashboards.lines import Chart, Line, Span

FIRST = "index.html"
# Told apart with the common kinds of colour blindness, on white and on black.
_COLOURS = (
    "0072b2",
    "d55e00",
    "009e73",
    "cc79a7",
    "b8860b",
    "56b4e9",
    "7f5fc7",
    "8c6d46",
    "e34a7f",
    "5f7f1e",
    "777",
    "b22",
)
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --faint: #777 }
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.2rem auto; max-width: 72rem; padding: 0 1rem }
h1 { font-size: 1.4rem; margin: .6rem 0 } h2 { font-size: 1rem; margin: 0 0 .4rem }
header p, footer, .nothing { color: var(--faint) } .problem { color: #b22 }
nav { line-height: 1.8; margin-bottom: 1rem } nav b { font-weight: 600 } nav a { margin-right: .8rem }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(26rem, 1fr)); gap: 1rem }
section { border: 1px solid var(--line); border-radius: 6px; padding: .8rem }
svg { display: block; width: 100%; height: auto; font-size: 11px } svg text { fill: var(--faint) }
.grid { stroke: var(--line) } polyline { fill: none; stroke: currentColor; stroke-width: 1.6 }
circle { fill: currentColor } .limit polyline { stroke-width: 1; stroke-dasharray: 5 4 }
table { border-collapse: collapse; width: 100%; font-size: 12px } th { font-weight: 400; color: var(--faint) }
th, td { text-align: right; padding: 0 .3rem }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere }
td:first-child::before { content: "\\25CF"; margin-right: .4rem }
""" + "".join(
    f".c{index}, .c{index} > td:first-child::before {{ color: #{colour} }} .c{index} > td {{ color: CanvasText }}\n"
    for index, colour in enumerate(_COLOURS)
)
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True, slots=True)
class Filled:
    """A dashboard with its values. `notes` say what is not known."""

    dashboard: Dashboard
    charts: tuple[Chart, ...]
    notes: tuple[str, ...] = ()


def files(found: Sequence[Filled], span: Span, *, refresh: int = 0) -> dict[str, str]:
    """The pages by file name. The first dashboard's is `index.html`, from which the others are reached.

    With `refresh`, a browser reads a page that it shows anew after as many seconds.
    """
    names = {item.dashboard.file: FIRST if index == 0 else item.dashboard.file for index, item in enumerate(found)}
    boards = [item.dashboard for item in found]
    return {names[item.dashboard.file]: _page(item, span, boards, names, refresh) for item in found}


def _page(filled: Filled, span: Span, boards: Sequence[Dashboard], names: Mapping[str, str], refresh: int) -> str:
    board = filled.dashboard
    heading = f"{board.kind} {board.name}"

    def parts() -> Iterator[str]:
        yield '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        yield '<meta name="referrer" content="no-referrer"><meta name="viewport" content="width=device-width">'
        if refresh:
            yield f'<meta http-equiv="refresh" content="{refresh}">'
        yield f"<title>{safe(heading)}</title><style>{_STYLE}</style></head>\n<body><header>"
        yield f"<h1>{safe(heading)}{' · ' + safe(board.title) if board.title else ''}</h1>"
        yield f"<p>{_time(span.start)} to {_time(span.end)} UTC, a value every {span.step} s"
        yield f"; on {safe(', '.join(board.clouds))}</p>"
        yield from (f'<p class="problem">{safe(note)}</p>' for note in filled.notes)
        yield from _links(board, boards, names)
        yield "</header>\n<main>"
        for chart in filled.charts:
            yield from _section(chart, span)
        yield "</main>\n<footer>Written by wecityctl.</footer></body></html>\n"

    return "".join(parts())


def _links(shown: Dashboard, boards: Sequence[Dashboard], names: Mapping[str, str]) -> Iterator[str]:
    if len(boards) < 2:
        return
    yield "<nav>"
    for kind in dict.fromkeys(item.kind for item in boards):
        yield f"<div>{kind}: "
        for board in (item for item in boards if item.kind == kind):
            name = safe(board.name)
            file = escape(names[board.file])
            yield f"<b>{name}</b> " if board == shown else f'<a href="{file}">{name}</a> '
        yield "</div>"
    yield "</nav>"


def _section(chart: Chart, span: Span) -> Iterator[str]:
    yield f"<section><h2>{safe(chart.panel.title)}</h2>"
    yield from (f'<p class="problem">{safe(item)}</p>' for item in chart.problems)
    if chart.lines:
        yield charts.svg(chart, span)
        yield from _legend(chart, span)
    elif not chart.problems:
        yield '<p class="nothing">no values in this time</p>'
    yield "</section>\n"


def _legend(chart: Chart, span: Span) -> Iterator[str]:
    lines, unit = charts.drawn_lines(chart), chart.panel.unit
    limited = bool(chart.limits)
    yield f"<table><tr><th></th><th>last</th><th>most</th>{'<th>limit</th>' if limited else ''}</tr>"
    for index, line in enumerate(lines):
        # Of a line that has ended, such as that of a deleted app, the last value is none of now.
        last = charts.text(line.last, unit) if line.points[-1][0] >= span.end - 2 * span.step else "–"
        cells = [safe(line.name or "all"), last, charts.text(line.most, unit)]
        if limited:
            cells.append(_limit(chart, line))
        yield f'<tr class="c{index}">{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
    yield "</table>"
    if len(chart.lines) > len(lines):
        yield f'<p class="nothing">and {counted(len(chart.lines) - len(lines), "line")} with smaller values</p>'


def _limit(chart: Chart, line: Line) -> str:
    limit = chart.limit_of(line)
    return charts.text(limit.last, chart.panel.unit) if limit is not None else "–"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
