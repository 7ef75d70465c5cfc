"""`wecityctl app`: takes an app from draft to retirement, and shows what was recorded of it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wecityctl.cli._arguments import PathBeforeName
from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, note, say, say_json
from wecityctl.cli._complete import complete_app
from wecityctl.errors import ExitCode
from wecityctl.model.lifecycle import KEEP_DAYS

if TYPE_CHECKING:
    from wecityctl.model.lifecycle import Action, Record
    from wecityctl.operations.lifecycle import AppState

SUMMARY = "Submit, review, publish, suspend and retire apps."
ORDER = 105
app = typer.Typer(
    help="The life of an app: draft, reviewed, published, suspended, retired. Each action is recorded in a file beside "
    "the app, with who took it, when, and on which version.",
    no_args_is_help=True,
)

AppName = Annotated[
    str,
    typer.Argument(
        metavar="APP", help="The app, as NAME or TENANT/NAME.", show_default=False, autocompletion=complete_app
    ),
]
By = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="PERSON",
        envvar="WECITYCTL_BY",
        help="Who takes the action; by default the e-mail address that Git knows here, or the user.",
        show_default=False,
    ),
]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="Why; it is kept with the record.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything and show the record; write nothing.")]


def _add_plain(action: Action, does: str, *examples: str) -> None:
    """Add the command of an action that takes nothing but the app, the person and the note; `does` is its help."""

    @app.command(action, cls=PathBeforeName, help=does, epilog=EPILOG.format(*examples))
    def command(
        path: CityPath = HERE,
        *,
        name: AppName,
        by: By = None,
        note_: Note = "",
        dry_run: DryRun = False,
        output: OutputOption = Output.TEXT,
    ) -> None:
        _act(path, action, output, app=name, by=by, note=note_, dry_run=dry_run)


_add_plain(
    "submit",
    "Submit an app as its file says it now for review. It goes on as it is until that version is published.",
    "wecityctl app submit examples/xingcheng health-code --dry-run",
    "wecityctl app submit examples/xingcheng health-code --note 'version 2' --dry-run -o json",
)


@app.command(
    cls=PathBeforeName,
    epilog=EPILOG.format(
        "wecityctl app review . health-code", "wecityctl app review . health-code --reject --note why"
    ),
)
def review(
    path: CityPath = HERE,
    *,
    name: AppName,
    reject: Annotated[bool, typer.Option("--reject", help="Reject it, whatever the checks say.")] = False,
    by: By = None,
    note_: Note = "",
    dry_run: DryRun = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Review what was submitted: run the checks on files, placement, policy, images, probes and owner, and record their
    results.

    Whoever submitted it cannot review it. Ends with 5, and records a rejection, when a check fails.
    """
    _act(path, "reject" if reject else "review", output, app=name, by=by, note=note_, dry_run=dry_run)


_add_plain(
    "publish",
    "Publish what was reviewed; anything else ends with 5. The next `up` deploys it.",
    "wecityctl app publish . health-code",
    "wecityctl app publish . health-code -o json",
)
_add_plain(
    "suspend",
    "Suspend a published app: its pods end, its data stays, and its address says that it is suspended.",
    "wecityctl app suspend . health-code --note 'data breach'",
    "wecityctl app suspend . health-code",
)
_add_plain(
    "resume",
    "Resume a suspended app as it was published.",
    "wecityctl app resume . health-code",
    "wecityctl app resume . health-code -o json",
)


@app.command(
    cls=PathBeforeName,
    epilog=EPILOG.format(
        "wecityctl app retire . health-code --keep-days 365", "wecityctl app retire . health-code --dry-run"
    ),
)
def retire(
    path: CityPath = HERE,
    *,
    name: AppName,
    keep_days: Annotated[
        int, typer.Option("--keep-days", min=0, max=36500, help="Days for which its data must be kept.")
    ] = KEEP_DAYS,
    by: By = None,
    note_: Note = "",
    dry_run: DryRun = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Retire an app: the next `up` removes it. Its data stays, and cannot be deleted before that time is over."""
    _act(path, "retire", output, app=name, by=by, note=note_, keep_days=keep_days, dry_run=dry_run)


@app.command(
    cls=PathBeforeName,
    epilog=EPILOG.format(
        "wecityctl app show examples/xingcheng health-code", "wecityctl app show examples/xingcheng health-code -o json"
    ),
)
def show(path: CityPath = HERE, *, name: AppName, output: OutputOption = Output.TEXT) -> None:
    """Show an app's stage, the digest of what its file says now, and everything that was recorded."""
    from wecityctl.operations.lifecycle import app_state

    state = app_state(path, name)
    if output is Output.JSON:
        say_json({**_state_json(state), "records": [asdict(item) for item in state.lifecycle.records]})
        return
    say(f"{state.app.tenant}/{state.app.called}: {state.app.stage}\nits file now: {state.digest}")
    if not state.lifecycle.records:
        say("nothing is recorded")
    for record in state.lifecycle.records:
        _say_record(record)


@app.command(
    "list",
    epilog=EPILOG.format("wecityctl app list examples/xingcheng", "wecityctl app list examples/xingcheng -o json"),
)
def list_(path: CityPath = HERE, output: OutputOption = Output.TEXT) -> None:
    """List the apps with their stages, and whether their files say what was reviewed or published last."""
    from wecityctl.operations.lifecycle import app_states

    states = app_states(path)
    if output is Output.JSON:
        say_json({"apps": [_state_json(state) for state in states]})
        return
    for state in states:
        last = state.lifecycle.records[-1] if state.lifecycle.records else None
        recorded = f"{last.action} by {last.by} at {last.at}" if last is not None else "nothing is recorded"
        changed = "" if last is None or state.is_recorded else "; changed since its last review"
        say(f"{state.app.tenant}/{state.app.called}: {state.app.stage}: {recorded}{changed}")


def _act(path: Path, action: Action, output: Output, *, dry_run: bool, **given: Any) -> None:
    from wecityctl.operations.lifecycle import ActionOptions, act

    change = act(path, action, ActionOptions(dry_run=dry_run, **given))
    name = f"{change.app.tenant}/{change.app.called}"
    if output is Output.JSON:
        files = sorted(map(str, change.texts))
        record = asdict(change.record)
        say_json({"app": name, "stage": change.record.stage, "record": record, "files": files, "written": not dry_run})
    else:
        say(f"{name}: {change.record.stage}{' (nothing was written)' if dry_run else ''}")
        _say_record(change.record)
        for file in () if dry_run else change.texts:
            note(f"wrote {file}")
        if change.record.stage != change.app.stage or change.record.action == "publish":
            note(f"deploy it: wecityctl up {path}")
    # Somebody who rejects wanted to; a review that failed did not.
    raise typer.Exit(ExitCode.POLICY if change.is_rejection and action == "review" else ExitCode.OK)


def _state_json(state: AppState) -> dict[str, Any]:
    return {
        "app": f"{state.app.tenant}/{state.app.called}",
        "stage": state.app.stage,
        "digest": state.digest,
        "as_recorded": state.is_recorded,
    }


def _say_record(record: Record) -> None:
    say(f"{record.at}  {record.action} by {record.by}{f': {record.note}' if record.note else ''}")
    say(f"  {record.digest}")
    if record.keep_until:
        say(f"  its data is kept until {record.keep_until}")
    for check in record.checks:
        say(f"  {check.name}: {check.result}")
        for finding in check.findings:
            say(f"    {finding}")
