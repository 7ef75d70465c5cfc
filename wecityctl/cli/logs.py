"""`wecityctl logs`: shows the logs of all pods of an app."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from wecityctl.cli._arguments import PathBeforeName
from wecityctl.cli._common import EPILOG, HERE, CityPath, note, say
from wecityctl.cli._looking import open_to_look
from wecityctl.cli._options import AppTarget, SinceOption

SUMMARY = "Show an app's logs."
ORDER = 110
app = typer.Typer()


@app.command(
    cls=PathBeforeName,
    epilog=EPILOG.format(
        "wecityctl logs examples/xingcheng health-code",
        "wecityctl logs examples/xingcheng transport-bureau/bus-arrival --follow",
        "wecityctl logs examples/xingcheng health-code/web --since 10m",
    ),
)
def logs(
    path: CityPath = HERE,
    *,
    name: AppTarget,
    component: Annotated[
        list[str] | None, typer.Option("--component", "-c", help="Only this component. May be repeated.")
    ] = None,
    tail: Annotated[
        int | None,
        typer.Option(
            "--tail", min=0, show_default="50, with --since all", help="Lines of each container, from the end."
        ),
    ] = None,
    since: SinceOption = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as the logs grow.")] = False,
    previous: Annotated[
        bool,
        typer.Option("--previous", help="The logs of containers that have ended; of a job, the run before the last."),
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Show lines on a terminal as they are, with the colours and commands in them.")
    ] = False,
) -> None:
    """Show the logs of an app's pods, each line led by its pod's name; of a job, those of its last run.

    With --since they come from the city's log store, if it has one, with those of pods that are gone.

    On a terminal control characters are shown as escapes: what an app prints commands it otherwise.
    """
    from wecityctl.errors import ConfigurationError
    from wecityctl.operations import logs as operation

    if follow and previous:
        raise ConfigurationError("--follow and --previous exclude each other: what has ended does not grow")
    as_is = raw or not sys.stdout.isatty()

    def tell(event: operation.LogEvent) -> None:
        match event:
            case operation.LogLine():
                say(f"{event.pod} | {event.text}", raw=as_is)
                if follow:
                    sys.stdout.flush()
            case operation.LogUnread():
                note(f"{event.pod}: {event.error.message}")
            case operation.LogSource(error=None):
                note(f"read from log store {event.store}")
            case operation.LogSource():
                why = ": ".join(filter(None, (event.error.message, event.error.details))) if event.error else ""
                note(f"log store {event.store} cannot be read, so these are the logs of pods that are there: {why}")
            case operation.LogEmpty():
                note(f"{event.pod}: no lines" + (" in that time" if since is not None else ""))

    options = operation.LogsOptions(
        app=name, components=tuple(component or ()), tail=tail, since=since, follow=follow, previous=previous
    )
    operation.logs(open_to_look(path), options, tell)
