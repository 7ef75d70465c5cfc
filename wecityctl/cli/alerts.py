"""`wecityctl alerts`: shows which alerts there are."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from wecityctl.cli._arguments import PathBeforeName
from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, console, note, say, say_json
from wecityctl.cli._complete import complete_target
from wecityctl.cli._looking import open_to_look

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wecityctl.operations.alerts import Alert

SUMMARY = "Show which alerts there are."
ORDER = 65
app = typer.Typer()


@app.command(
    cls=PathBeforeName,
    epilog=EPILOG.format(
        "wecityctl alerts examples/xingcheng-operations",
        "wecityctl alerts examples/xingcheng-operations transport-bureau",
        "wecityctl alerts examples/xingcheng-operations bus-arrival -o json",
    ),
)
def alerts(
    path: CityPath = HERE,
    *,
    name: Annotated[
        str,
        typer.Argument(
            metavar="APP|TENANT",
            help="Only alerts about this app, as NAME or TENANT/NAME, or about this tenant's apps.",
            show_default=False,
            autocompletion=complete_target,
        ),
    ] = "",
    output: OutputOption = Output.TEXT,
) -> None:
    """Show which alerts there are now, as the capability `alerts` on each cloud tells.

    An alert is pending until its condition has lasted as long as its rule says; then it fires. It is asked through the
    cluster's API server, as its administrator. Ends with 0 when nothing fires, with 4 when something does, or a cloud
    that has the capability could not be asked or cannot evaluate its rules. Of a cloud without it nothing is known,
    which is said. Files of apps that have problems are left out and named.
    """
    from wecityctl.errors import ExitCode
    from wecityctl.operations import alerts as operation

    session = open_to_look(path)
    found = operation.alerts(session, name)
    if output is Output.JSON:
        say_json(
            {
                "city": session.city.name,
                "alerts": [asdict(item) for item in found.found],
                "unknown": dict(found.unknown),
            }
        )
    else:
        if found.found:
            print_alerts(found.found)
        elif len(found.unknown) < len(session.city.clouds):
            say("no alerts")
        for text in operation.unknown_texts(found):
            note(text)
    raise typer.Exit(ExitCode.DEPLOYMENT if found.firing or found.failed else ExitCode.OK)


def print_alerts(found: Sequence[Alert]) -> None:
    """Print a table of alerts."""
    from wecityctl.report.tables import in_utc, new_table, print_table

    several = len({item.cloud for item in found}) > 1
    titles = (*(("CLOUD",) if several else ()), "STATE", "SEVERITY", "ALERT", "OF", "SINCE", "MESSAGE")
    table = new_table(titles, prose=("MESSAGE",))
    for item in found:
        table.add_row(
            *((item.cloud,) if several else ()),
            item.state,
            item.severity or "–",
            item.name,
            item.subject,
            in_utc(item.since) or "–",
            item.summary,
        )
    print_table(console(), table)
