"""`wecityctl clouds`: shows the capacity and use of a city's clouds as one logical platform."""

from __future__ import annotations

from typing import Annotated

import typer

from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, console, say_json

SUMMARY = "Show what a city's clouds have, and what is left of it."
ORDER = 70
app = typer.Typer()


@app.command(
    epilog=EPILOG.format(
        "wecityctl clouds examples/sixty-thousand",
        "wecityctl clouds examples/xingcheng --cloud main -o json",
    )
)
def clouds(
    path: CityPath = HERE,
    output: OutputOption = Output.TEXT,
    cloud: Annotated[
        list[str] | None, typer.Option("--cloud", metavar="NAME", help="Only this cloud. May be repeated.")
    ] = None,
) -> None:
    """Show what the city's clouds have, what is asked of them, what is left, and what that costs an hour.

    By cloud, zone, pool and architecture. Allocated is what the pods on the nodes request now, as the clusters say; a
    cloud that cannot be read shows what the files declare, says so and says why, and counts as an error only when no
    other cloud answers.
    """
    from wecityctl.operations import clouds as operation
    from wecityctl.report import clouds as report
    from wecityctl.report.tables import print_table

    found = operation.clouds(path, cloud or ())
    if output is Output.JSON:
        say_json(report.as_json(found.figures))
    else:
        print_table(console(), report.table_of(found.figures))
        console().print()
        for line in report.lines_of(found.figures):
            console().print(line, markup=False, soft_wrap=True)
    if found.exit_code:
        raise typer.Exit(found.exit_code)
