"""`wecityctl graph`: draws the plan."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from wecityctl.cli._common import EPILOG, HERE, CityPath, say

SUMMARY = "Draw a city's stacks and what they depend on."
ORDER = 130
app = typer.Typer()


class GraphFormat(StrEnum):
    MERMAID = "mermaid"
    JSON = "json"
    SVG = "svg"


@app.command(
    epilog=EPILOG.format("wecityctl graph examples/xingcheng", "wecityctl graph examples/xingcheng -o svg > city.svg")
)
def graph(
    path: CityPath = HERE,
    output: Annotated[GraphFormat, typer.Option("--output", "-o", help="How to draw it.")] = GraphFormat.MERMAID,
) -> None:
    """Draw the city's stacks, an arrow from each to those that wait for it.

    An arrow that a longer way implies is left out of the drawings; -o json has them all.
    """
    from wecityctl.report import graph as drawing
    from wecityctl.report.graph_svg import to_svg
    from wecityctl.session import open_session

    draw = {
        GraphFormat.MERMAID: drawing.to_mermaid,
        GraphFormat.JSON: drawing.to_json,
        GraphFormat.SVG: to_svg,
    }
    say(draw[output](open_session(path).plan).rstrip("\n"))
