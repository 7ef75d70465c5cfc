"""`wecityctl logs`: shows the logs of all pods of an app."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from wecityctl.cli._arguments import PathBeforeName
from wecityctl.cli._common import EPILOG, HERE, CityPath, note, say
from wecityctl.cli._complete import complete_app

SUMMARY = "Show an app's logs."
ORDER = 110
app = typer.Typer()


@app.command(
    cls=PathBeforeName,
    epilog=EPILOG.format(
        "wecityctl logs examples/xingcheng health-code",
        "wecityctl logs examples/xingcheng transport-bureau/bus-arrival --follow",
    ),
)
def logs(
    path: CityPath = HERE,
    *,
    name: Annotated[
        str,
        typer.Argument(
            metavar="APP", help="The app, as NAME or TENANT/NAME.", show_default=False, autocompletion=complete_app
        ),
    ],
    component: Annotated[str, typer.Option("--component", "-c", help="Only this component.")] = "",
    tail: Annotated[int, typer.Option("--tail", min=0, help="Lines of each pod, from the end.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as the logs grow.")] = False,
    previous: Annotated[bool, typer.Option("--previous", help="The logs of containers that have ended.")] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Show lines on a terminal as they are, with the colours and commands in them.")
    ] = False,
) -> None:
    """Show the logs of an app's pods, each line led by its pod's name.

    On a terminal control characters are shown as escapes: what an app prints commands it otherwise.
    """
    from wecityctl.operations import logs as operation
    from wecityctl.operations.current_placement import current_placement
    from wecityctl.session import open_session

    as_is = raw or not sys.stdout.isatty()

    def tell(event: operation.LogEvent) -> None:
        if isinstance(event, operation.LogLine):
            say(f"{event.pod} | {event.text}", raw=as_is)
        else:
            note(f"{event.pod}: {event.error.message}")

    options = operation.LogsOptions(app=name, component=component, tail=tail, follow=follow, previous=previous)
    operation.logs(open_session(path, current_placement), options, tell)
