"""`wecityctl history`: lists the runs on a city, with their times and results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, console, say_json
from wecityctl.model.words import printable

if TYPE_CHECKING:
    from wecityctl.operations.history import Update

SUMMARY = "Show what was done to a city, and when."
ORDER = 100
app = typer.Typer()


@app.command(epilog=EPILOG.format("wecityctl history examples/xingcheng", "wecityctl history examples/xingcheng -n 50"))
def history(
    path: CityPath = HERE,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many updates, newest first.")] = 20,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show the updates of the city's stacks, newest first.

    They are the engine's own records, with what runs have done beside them: security objects put back, undeclared
    objects removed, stacks taken down; and who ran commands in running apps or forwarded ports to them.
    """
    from wecityctl.operations import history as operation
    from wecityctl.operations.current_placement import current_placement
    from wecityctl.session import open_session

    session = open_session(path, current_placement)
    updates = operation.history(session)[:count]
    if output is Output.JSON:
        say_json({"city": session.city.name, "updates": [_as_json(item) for item in updates]})
        return
    _print(updates)


def _as_json(update: Update) -> dict[str, Any]:
    objects = [{**asdict(item), "text": str(item)} for item in update.objects]
    return {**asdict(update), "objects": objects}


def _print(updates: Sequence[Update]) -> None:
    from rich.text import Text

    from wecityctl.report.tables import in_utc, new_table, print_table

    # Only where somebody noted it: files and objects of a state have no users.
    has_who = any(item.who for item in updates)
    columns = ("STARTED", "STACK", "OPERATION", "RESULT", *(("WHO",) if has_who else ()), "CHANGES")
    table = new_table(columns, prose=("CHANGES",))
    for item in updates:
        counts = " ".join(f"{key} {value}" for key, value in item.changes.items())
        changes = "; ".join(filter(None, (counts, *map(str, item.objects), item.access))) or "–"
        who = (item.who or "–",) if has_who else ()
        table.add_row(in_utc(item.started), item.stack, item.operation, item.result, *who, Text(printable(changes)))
    print_table(console(), table)
