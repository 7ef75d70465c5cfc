"""`wecityctl run`: runs a job of an app now."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from wecityctl.cli._arguments import PathBeforeName
from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, note, say, say_json
from wecityctl.cli._complete import complete_job
from wecityctl.cli._options import duration
from wecityctl.errors import ExitCode

SUMMARY = "Run a job of an app now."
ORDER = 116
app = typer.Typer()


@app.command(
    cls=PathBeforeName,
    epilog=EPILOG.format(
        "wecityctl run examples/xingcheng timetable/report",
        "wecityctl run examples/xingcheng transport-bureau/timetable/report --timeout 10m -o json",
        "wecityctl run examples/xingcheng timetable/report --no-wait",
    ),
)
def run(
    path: CityPath = HERE,
    *,
    name: Annotated[
        str,
        typer.Argument(
            metavar="JOB",
            help="The job, as APP/JOB or TENANT/APP/JOB; the app alone if it has one job.",
            show_default=False,
            autocompletion=complete_job,
        ),
    ],
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for its end.")] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="DURATION",
            parser=duration,
            show_default="no limit",
            help="Wait no longer than this: 90s, 10m, 1h30m. The job goes on; exit code 9.",
        ),
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Run a job now as it was deployed: one with a schedule, or one that runs before a release, once more.

    Shows its log and waits for its end; ends with 4 if it fails. What the job is, is what the last `up` has made of it.
    While a run goes on, another one is refused with `concurrency: forbid`, ends it with `replace`, and runs beside it
    with `allow`. With -o json the log is on stderr.
    """
    from wecityctl.cli.events import run_json
    from wecityctl.operations import run as operation
    from wecityctl.operations.logs import LogLine
    from wecityctl.operations.rollouts.planning import open_current

    session = open_current(path)
    is_json, as_is = output is Output.JSON, not sys.stdout.isatty()

    def tell(event: operation.RunEvent) -> None:
        match event:
            case operation.RunStarted():
                note(f"{event.target} runs as {event.name} on {event.cloud}")
            case operation.RunWaits():
                note(f"{event.pod}: {event.reason}")
            case LogLine() if is_json:
                note(f"{event.pod} | {event.text}")
            case LogLine():
                say(f"{event.pod} | {event.text}", raw=as_is)
                sys.stdout.flush()

    found = operation.run(session, operation.RunOptions(job=name, wait=not no_wait, seconds=timeout), tell)
    if is_json:
        say_json({"city": session.city.name, "run": run_json(found)})
    if found.result == "running":
        if not is_json:
            say(found.name)
        return
    codes = ", ".join(map(str, found.exit_codes))
    why = f": {found.reason}" if found.reason else ""
    told = f", exit code {codes}" if len(found.exit_codes) == 1 else f", exit codes {codes}" if codes else ""
    note(f"{found.name} {found.result.replace('-', ' ')}{told}{why}")
    if found.result != "succeeded":
        raise typer.Exit(int(ExitCode.DEPLOYMENT))
