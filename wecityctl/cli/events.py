"""`wecityctl events`: shows what the cluster tells about an app, and how its jobs' last runs ended."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wecityctl.cli._arguments import PathBeforeName
from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, console, note, say, say_json
from wecityctl.cli._looking import open_to_look
from wecityctl.cli._options import AppTarget, SinceOption

if TYPE_CHECKING:
    from wecityctl.operations.app_runs import JobRun
    from wecityctl.operations.events import AppEvent

SUMMARY = "Show what a cluster tells about an app."
ORDER = 112
app = typer.Typer()


@app.command(
    cls=PathBeforeName,
    epilog=EPILOG.format(
        "wecityctl events examples/xingcheng health-code",
        "wecityctl events examples/xingcheng health-code/web --warnings --since 10m",
        "wecityctl events examples/xingcheng health-code --follow -o json",
    ),
)
def events(
    path: CityPath = HERE,
    *,
    name: AppTarget,
    warnings: Annotated[bool, typer.Option("--warnings", help="Only warnings.")] = False,
    since: SinceOption = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as events come.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show the events of an app's objects, newest last, and the last runs of its jobs with their exit codes.

    Clusters keep events for an hour. The same event of the same object is one line with its count. With --follow and
    -o json, each line is one event.
    """
    from wecityctl.operations import events as operation

    session = open_to_look(path)
    options = operation.EventsOptions(app=name, warnings=warnings, since=since)
    if follow:
        operation.follow_events(session, options, _tell_json if output is Output.JSON else _tell)
        return
    found = operation.events(session, options)
    if output is Output.JSON:
        say_json(
            {
                "city": session.city.name,
                "cloud": found.cloud,
                "namespace": found.namespace,
                "simulated": found.simulated,
                "events": [asdict(item) for item in found.events],
                "runs": [run_json(item) for item in found.runs],
                "notes": list(found.notes),
            }
        )
        return
    if found.simulated:
        note("its nodes are simulated: pods run nowhere but in the books, and so do their events")
    if found.events:
        _print(found.events)
    else:
        note(f"no {'warnings' if warnings else 'events'} of {name}" + (" in that time" if since is not None else ""))
    _print_runs(found.runs)
    for text in found.notes:
        note(text)


def run_json(run: JobRun) -> dict[str, Any]:
    """A job's run as JSON."""
    return {**asdict(run), "exit_code": run.exit_code}


def _tell(event: AppEvent) -> None:
    from wecityctl.report.tables import in_utc

    times = f" ({event.count} times)" if event.count > 1 else ""
    text = " ".join(event.message.split())
    say(f"{in_utc(event.last)} {event.type} {event.reason} {event.kind} {event.name}: {text}{times}")
    sys.stdout.flush()


def _tell_json(event: AppEvent) -> None:
    say(json.dumps(asdict(event), ensure_ascii=False))
    sys.stdout.flush()


def _print(events: Sequence[AppEvent]) -> None:
    from wecityctl.report.tables import in_utc, new_table, print_table

    table = new_table(("LAST", "COUNT", "TYPE", "REASON", "OBJECT", "MESSAGE"), prose=("MESSAGE",), right=("COUNT",))
    for item in events:
        text = " ".join(item.message.split())
        table.add_row(
            in_utc(item.last), str(item.count), item.type, item.reason, _plain(f"{item.kind} {item.name}"), _plain(text)
        )
    print_table(console(), table)


def _plain(text: str) -> Any:
    """Text that Rich takes for no markup."""
    from rich.text import Text

    from wecityctl.model.words import printable

    # Rich breaks lines at control characters that the console would escape later.
    return Text(printable(text))


def _print_runs(runs: Sequence[JobRun]) -> None:
    from wecityctl.report.tables import in_utc, new_table, print_table

    if not runs:
        return
    table = new_table(("STARTED", "ENDED", "JOB", "RUN", "RESULT", "EXIT CODE", "BY"), right=("EXIT CODE",))
    for item in runs:
        table.add_row(
            in_utc(item.started),
            in_utc(item.ended) or "–",
            item.component,
            item.name,
            item.result.replace("-", " "),
            "–" if item.exit_code is None else str(item.exit_code),
            _plain(item.started_by or "its schedule or release"),
        )
    console().print()
    print_table(console(), table)
