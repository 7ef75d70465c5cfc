"""The plan drawn: Mermaid for documents, JSON for programs, SVG for people without either."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence

from wecityctl.plan import LAYERS, Plan, Stack
from wecityctl.report.record import FORMAT_VERSION

_BOX = (260, 44)
_GAP = (90, 22)
_COLOURS = {
    "secrets": "#eee8d5",
    "landing": "#dce9e6",
    "base": "#d6e4f0",
    "platform": "#d8f0d6",
    "crossing": "#e3ddf3",
    "tenant": "#fdebd0",
    "entry": "#f5d6e4",
}


def to_mermaid(plan: Plan) -> str:
    """A Mermaid flowchart, an arrow from each stack to those that wait for it."""
    ids = {stack.name: f"s{number}" for number, stack in enumerate(plan.stacks)}
    lines = ["flowchart LR"]
    for layer in LAYERS:
        here = [stack for stack in plan.stacks if stack.layer == layer]
        if here:
            lines.append(f"  subgraph {layer}")
            lines += [f'    {ids[stack.name]}["{stack.name}"]' for stack in here]
            lines.append("  end")
    for stack in plan.stacks:
        lines += [f"  {ids[needed]} --> {ids[stack.name]}" for needed in stack.depends_on if needed in ids]
    return "\n".join(lines) + "\n"


def to_json(plan: Plan) -> str:
    """The stacks with their layers, clouds and dependencies."""
    stacks = [
        {
            "name": stack.name,
            "layer": stack.layer,
            "subject": stack.subject,
            "cloud": stack.cloud,
            "depends_on": list(stack.depends_on),
        }
        for stack in plan.stacks
    ]
    document = {"format_version": FORMAT_VERSION, "city": plan.city.name, "stacks": stacks}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def to_svg(plan: Plan) -> str:
    """A drawing with a column for each layer; plain SVG without scripts or fonts of its own."""
    places = _places(plan.stacks)
    width = max(x for x, _ in places.values()) + _BOX[0] + 20
    height = max(y for _, y in places.values()) + _BOX[1] + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        '<defs><marker id="a" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#666"/></marker></defs>',
    ]
    for stack in plan.stacks:
        parts += [_edge(places, needed, stack.name) for needed in stack.depends_on if needed in places]
    parts += [_node(stack, places[stack.name]) for stack in plan.stacks]
    return "\n".join([*parts, "</svg>", ""])


def _places(stacks: Sequence[Stack]) -> dict[str, tuple[int, int]]:
    rows: dict[str, int] = {}
    columns = [layer for layer in LAYERS if any(stack.layer == layer for stack in stacks)]
    places = {}
    for stack in stacks:
        row = rows.get(stack.layer, 0)
        rows[stack.layer] = row + 1
        column = columns.index(stack.layer)
        places[stack.name] = (20 + column * (_BOX[0] + _GAP[0]), 20 + row * (_BOX[1] + _GAP[1]))
    return places


def _edge(places: Mapping[str, tuple[int, int]], source: str, target: str) -> str:
    (x1, y1), (x2, y2) = places[source], places[target]
    start, end = (x1 + _BOX[0], y1 + _BOX[1] // 2), (x2, y2 + _BOX[1] // 2)
    if x1 == x2:
        start, end = (x1 + _BOX[0] // 2, y1 + _BOX[1]), (x2 + _BOX[0] // 2, y2)
    bend = (end[0] - start[0]) // 2
    curve = f"M{start[0]} {start[1]} C{start[0] + bend} {start[1]} {end[0] - bend} {end[1]} {end[0]} {end[1]}"
    return f'<path d="{curve}" fill="none" stroke="#999" marker-end="url(#a)"/>'


def _node(stack: Stack, place: tuple[int, int]) -> str:
    x, y = place
    title = html.escape(stack.name.split(".", 1)[1])
    return (
        f'<g><title>{html.escape(stack.name)}</title><rect x="{x}" y="{y}" width="{_BOX[0]}" height="{_BOX[1]}" rx="6" '
        f'fill="{_COLOURS[stack.layer]}" stroke="#888"/>'
        f'<text x="{x + 12}" y="{y + 27}">{title}</text></g>'
    )
