"""`wecityctl place`: shows the placement of each capability and app, and the reasons."""

from __future__ import annotations

from typing import Annotated

import typer

from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, console, note, say_json

SUMMARY = "Show which cloud carries what, and why."
ORDER = 80
app = typer.Typer()


@app.command(
    epilog=EPILOG.format(
        "wecityctl place examples/four-clouds",
        "wecityctl place examples/four-clouds --explain",
        "wecityctl place examples/four-clouds --offline -o json",
    )
)
def place(
    path: CityPath = HERE,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say for each refused cloud what refused it, and where that is written.")
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Place it as a new city: no state is read, so nothing stands anywhere.")
    ] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show which cloud carries each capability and app, on which pools, at what cost, and why.

    No cloud is asked. What stands already, by the city's state, is moved as little as can be. A city that cannot be
    placed ends with exit code 2 and the smallest set of constraints that conflict.
    """
    from wecityctl.model.events import Diagnostic, Event
    from wecityctl.operations import place as operation
    from wecityctl.placement import Constraint
    from wecityctl.report import placement as report
    from wecityctl.report.tables import print_table

    def tell(event: Event) -> None:
        if isinstance(event, Diagnostic):
            note(f"note: {event.message}")

    session = operation.place(path, tell, offline=offline)

    def locate(constraint: Constraint) -> str:
        source = constraint.source
        found = session.positions.place(source.kind, source.name, *source.path) if source is not None else None
        return str(found) if found is not None else ""

    if output is Output.JSON:
        say_json(report.as_json(session.city.name, session.placement, locate))
        return
    print_table(console(), report.table_of(session.placement))
    lines = [*report.lines_of(session.placement)]
    if explain:
        lines += ["", *report.explanation_of(session.placement, locate)]
    for line in lines:
        console().print(line, markup=False, soft_wrap=True)
