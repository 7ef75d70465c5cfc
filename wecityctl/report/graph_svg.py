"""Draws the plan as SVG: a band for each cloud, stacks in columns, and no edge behind a box.

Columns and orders come from a layered (Sugiyama) layout, in which an edge that passes a column gets a position there.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field

from wecityctl.model.stacknames import StackName
from wecityctl.plan import Plan, Stack
from wecityctl.report.graph import calls_between, edges_of

_WIDTH, _HEIGHT = 250, 36
_COLUMN_GAP, _ROW_GAP, _LANE = 90, 12, 10
_MARGIN, _TITLE = 16, 24
# How far the curves of calls bend out; less than the margin reaches them.
_CURVE = 20
_COLOURS = {
    "secrets": "#eee8d5",
    "landing": "#dce9e6",
    "base": "#d6e4f0",
    "platform": "#d8f0d6",
    "crossing": "#e3ddf3",
    "tenant": "#fdebd0",
    "entry": "#f5d6e4",
}
_BAND_COLOURS = ("#f6f8fa", "#ffffff")


@dataclass(slots=True)
class _Layout:
    """Column and order of every stack, and of every position at which an edge passes a column.

    Stacks are identified by name, passed positions by number. `ways` has the positions that each edge passes.
    """

    column: dict[str | int, int] = field(default_factory=dict)
    order: dict[str | int, float] = field(default_factory=dict)
    ways: dict[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)


def to_svg(plan: Plan) -> str:
    """Return the plan as SVG without scripts or embedded fonts."""
    layout = _lay_out(plan)
    bands = _bands(plan, layout)
    places, tops, height = _places(bands, layout)
    columns = max(layout.column.values(), default=0) + 1
    width = 2 * _MARGIN + columns * _WIDTH + (columns - 1) * _COLUMN_GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        '<defs><marker id="a" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#666"/></marker></defs>',
    ]
    for number, (band, (top, bottom)) in enumerate(tops.items()):
        parts.append(
            f'<rect class="band" x="0" y="{top}" width="{width}" height="{bottom - top}" '
            f'fill="{_BAND_COLOURS[number % 2]}"/>'
            f'<text x="{_MARGIN}" y="{top + 16}" fill="#666">{html.escape(band)}</text>'
        )
    parts += [_edge(source, target, way, places) for (source, target), way in layout.ways.items()]
    parts += [_call(source, target, text, places) for (source, target), text in calls_between(plan).items()]
    parts += [_node(stack, places[stack.name]) for stack in plan.stacks]
    return "\n".join([*parts, "</svg>", ""])


def _lay_out(plan: Plan) -> _Layout:
    from fast_sugiyama import from_edges

    names = [stack.name for stack in plan.stacks]
    number_of = {name: number for number, name in enumerate(names)}
    edges = [(number_of[source], number_of[target]) for source, target in edges_of(plan)]
    layout = _Layout()
    for positions, _, _, segments in from_edges(edges, dummy_vertices=True, vertex_spacing=1) if edges else ():
        heights = sorted({xy[1] for _, xy in positions}, reverse=True)
        for item, (x, y) in positions:
            assert isinstance(item, int)
            key = names[item] if item < len(names) else item
            layout.column[key], layout.order[key] = heights.index(y), x
        follow = {source: target for source, target in segments or () if int(source) >= len(names)}
        for source, target in segments or ():
            if int(source) < len(names):
                passed = []
                while int(target) >= len(names):
                    passed.append(int(target))
                    target = follow[target]
                layout.ways[(names[int(source)], names[int(target)])] = tuple(passed)
    for name in names:
        layout.column.setdefault(name, 0)
        layout.order.setdefault(name, float(number_of[name]))
    return layout


def _bands(plan: Plan, layout: _Layout) -> Mapping[str, list[str | int]]:
    """Return the items in each cloud's band; items without a cloud come first."""
    cloud_of = {stack.name: stack.cloud or plan.city.name for stack in plan.stacks}
    order = [plan.city.name, *(cloud.name for cloud in plan.city.clouds)]
    bands: dict[str, list[str | int]] = {name: [] for name in order}
    for name, band in cloud_of.items():
        bands[band].append(name)
    for (_, target), way in layout.ways.items():
        # An edge runs in the band of its target.
        bands[cloud_of[target]].extend(way)
    return {band: members for band, members in bands.items() if members}


def _places(
    bands: Mapping[str, list[str | int]], layout: _Layout
) -> tuple[dict[str | int, tuple[int, int]], dict[str, tuple[int, int]], int]:
    """Return the left end and vertical middle of every item, top and bottom of each band, and the total height."""
    places: dict[str | int, tuple[int, int]] = {}
    tops: dict[str, tuple[int, int]] = {}
    top = 0
    for band, members in bands.items():
        bottom = top + _TITLE
        columns: dict[int, int] = {}
        for item in sorted(members, key=lambda item: (layout.column[item], layout.order[item], str(item))):
            column = layout.column[item]
            height = _HEIGHT if isinstance(item, str) else _LANE
            y = columns.get(column, top + _TITLE)
            places[item] = (_MARGIN + column * (_WIDTH + _COLUMN_GAP), y + height // 2)
            columns[column] = y + height + _ROW_GAP
            bottom = max(bottom, columns[column])
        tops[band] = (top, bottom)
        top = bottom
    return places, tops, top


def _edge(source: str, target: str, way: tuple[int, ...], places: Mapping[str | int, tuple[int, int]]) -> str:
    x, y = places[source]
    text = f"M{x + _WIDTH} {y}"
    last = (x + _WIDTH, y)
    stops: list[str | int] = [*way, target]
    for item in stops:
        x, y = places[item]
        middle = (last[0] + x) // 2
        text += f" C{middle} {last[1]} {middle} {y} {x} {y}"
        last = (x + _WIDTH, y)
        if item != target:
            text += f" H{last[0]}"
    return f'<path d="{text}" fill="none" stroke="#999" marker-end="url(#a)"/>'


def _call(source: str, target: str, text: str, places: Mapping[str | int, tuple[int, int]]) -> str:
    """A dashed curve beside the boxes, whose title says which app uses which."""
    (x, y), (end, bottom) = places[source], places[target]
    right = max(x, end) + _WIDTH + _CURVE
    return (
        f'<path class="call" d="M{x + _WIDTH} {y} C{right} {y} {right} {bottom} {end + _WIDTH} {bottom}" fill="none" '
        f'stroke="#999" stroke-dasharray="4 3" marker-end="url(#a)"><title>{html.escape(text)}</title></path>'
    )


def _node(stack: Stack, place: tuple[int, int]) -> str:
    x, y = place
    title = StackName.parse(stack.name).within_city
    # The cloud is left out of the box, because the band shows it.
    short = title.removesuffix(f".{stack.cloud}") if stack.cloud and title.count(".") else title
    return (
        f'<g><title>{html.escape(stack.name)}</title><rect x="{x}" y="{y - _HEIGHT // 2}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" rx="6" fill="{_COLOURS[stack.layer]}" stroke="#888"/>'
        f'<text x="{x + 10}" y="{y + 4}">{html.escape(short)}</text></g>'
    )
