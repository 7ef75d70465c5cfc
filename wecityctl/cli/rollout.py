"""`wecityctl rollout`: shows the releases of an app and its canary, and decides what becomes of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wecityctl.cli import _options as o
from wecityctl.cli._arguments import PathBeforeName
from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, console, note, say, say_json
from wecityctl.cli._complete import complete_app
from wecityctl.model.words import printable

if TYPE_CHECKING:
    from pathlib import Path

    from wecityctl.model.releases import AppReleases, Release
    from wecityctl.operations.rollouts.commands import RolloutAction, RolloutState

SUMMARY = "Show and undo an app's releases; promote and abort its canary."
ORDER = 106
app = typer.Typer(
    help="The releases of apps. `up` makes them, by `strategy: {type: canary}` in steps; these commands show them and "
    "decide otherwise. Whatever they change, they change as `up --only TENANT` would.",
    no_args_is_help=True,
)

AppName = Annotated[
    str,
    typer.Argument(
        metavar="APP", help="The app, as NAME or TENANT/NAME.", show_default=False, autocompletion=complete_app
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")]
Waits = Annotated[
    float | None,
    typer.Option(
        "--lock-timeout",
        metavar="DURATION",
        parser=o.duration,
        show_default="10m",
        help="While another run changes the city, such as the `up` that makes the steps, wait for so long.",
    ),
]
# Seconds: longer than the runs of a step take.
_WAITS = 600.0


@app.command(
    cls=PathBeforeName,
    epilog=EPILOG.format(
        "wecityctl rollout status examples/xingcheng health-code",
        "wecityctl rollout status . health-commission/health-code -o json",
    ),
)
def status(path: CityPath = HERE, *, name: AppName, output: OutputOption = Output.TEXT) -> None:
    """Show the canary that runs, what is held back, and the last ten releases with the digests of their images.

    Ends with 0, and with 6 for an app that was not released yet.
    """
    from wecityctl.operations.current_placement import current_placement
    from wecityctl.operations.rollouts.commands import rollout_state
    from wecityctl.session import open_session

    state = rollout_state(open_session(path, current_placement), name)
    if output is Output.JSON:
        say_json(_json(state))
    else:
        _print(state)


@app.command(
    cls=PathBeforeName,
    epilog=EPILOG.format(
        "wecityctl rollout promote . health-code --dry-run", "wecityctl rollout promote . health-code --yes"
    ),
)
def promote(
    path: CityPath = HERE,
    *,
    name: AppName,
    dry_run: DryRun = False,
    yes: o.Yes = False,
    timeout: o.Timeout = None,
    lock_timeout: Waits = None,
    output: o.Stream = o.StreamFormat.TEXT,
) -> None:
    """Give the new version all requests now, without the steps and pauses that are left.

    Ends with 0, with 2 if no rollout is under way, and otherwise as `up` does.
    """
    _act(path, "promote", name, output, dry_run=dry_run, yes=yes, timeout=timeout, lock_timeout=lock_timeout)


@app.command(
    cls=PathBeforeName,
    epilog=EPILOG.format(
        "wecityctl rollout abort . health-code --dry-run", "wecityctl rollout abort . health-code --yes"
    ),
)
def abort(
    path: CityPath = HERE,
    *,
    name: AppName,
    dry_run: DryRun = False,
    yes: o.Yes = False,
    timeout: o.Timeout = None,
    lock_timeout: Waits = None,
    output: o.Stream = o.StreamFormat.TEXT,
) -> None:
    """Give the old version all requests again. The new one is not tried again until the files change, or by retry.

    Ends with 0, with 2 if no rollout is under way, and otherwise as `up` does.
    """
    _act(path, "abort", name, output, dry_run=dry_run, yes=yes, timeout=timeout, lock_timeout=lock_timeout)


@app.command(
    cls=PathBeforeName,
    epilog=EPILOG.format(
        "wecityctl rollout undo . health-code --dry-run", "wecityctl rollout undo . health-code --to 3 --yes"
    ),
)
def undo(
    path: CityPath = HERE,
    *,
    name: AppName,
    to: Annotated[
        int | None,
        typer.Option(
            "--to", metavar="NUMBER", min=1, show_default=False, help="Its number; by default the one before."
        ),
    ] = None,
    dry_run: DryRun = False,
    yes: o.Yes = False,
    timeout: o.Timeout = None,
    lock_timeout: Waits = None,
    output: o.Stream = o.StreamFormat.TEXT,
) -> None:
    """Bring back the release before this one, a few pods at a time. It serves until the files change.

    Ends with 0, with 2 if there is no such release or a rollout is under way, and otherwise as `up` does.
    """
    _act(path, "undo", name, output, to=to or 0, dry_run=dry_run, yes=yes, timeout=timeout, lock_timeout=lock_timeout)


@app.command(
    cls=PathBeforeName,
    epilog=EPILOG.format(
        "wecityctl rollout retry . health-code --dry-run", "wecityctl rollout retry . health-code --yes"
    ),
)
def retry(
    path: CityPath = HERE,
    *,
    name: AppName,
    dry_run: DryRun = False,
    yes: o.Yes = False,
    timeout: o.Timeout = None,
    lock_timeout: Waits = None,
    output: o.Stream = o.StreamFormat.TEXT,
) -> None:
    """Try the version in the files again that was aborted or undone, from the first step.

    Ends with 0, with 2 if none is held back, with 4 if it is aborted again, and otherwise as `up` does.
    """
    _act(path, "retry", name, output, dry_run=dry_run, yes=yes, timeout=timeout, lock_timeout=lock_timeout)


def _act(
    path: Path,
    action: RolloutAction,
    name: str,
    output: o.StreamFormat,
    *,
    dry_run: bool,
    yes: bool,
    timeout: float | None,
    lock_timeout: float | None,
    to: int = 0,
) -> None:
    from wecityctl.cli._approval import ask, require_can_ask
    from wecityctl.cli._run import Presentation, carry_out, exit_code
    from wecityctl.operations.current_placement import current_placement
    from wecityctl.operations.options import Timeouts
    from wecityctl.operations.rollouts import commands
    from wecityctl.session import open_session

    session = open_session(path, current_placement)
    change = commands.decide(session, name, action, to=to)
    if dry_run:
        if output is o.StreamFormat.JSON:
            say_json({"text": change.text, "written": False})
        else:
            say(f"{change.text} (nothing was done)")
        return
    if not yes:
        require_can_ask(f"rollout {action} of {name}", output, look=f"wecityctl rollout {action} --dry-run")
        say(change.text)
        ask("Do this?")
    else:
        note(change.text)
    timeouts = Timeouts(run=timeout or 0.0, lock=_WAITS if lock_timeout is None else lock_timeout)
    result = carry_out(lambda emit: commands.carry_out(session, change, emit, timeouts=timeouts), Presentation(output))
    raise typer.Exit(exit_code(result))


def _json(state: RolloutState) -> dict[str, Any]:
    record = state.record
    rollout, held, serving = record.rollout, record.held, record.current
    return {
        "app": f"{state.app.tenant}/{state.app.called}",
        # Null for an app that is not released by canary.
        "component": record.component or None,
        "files": {"version": state.version, "steps": list(state.steps), "pause": state.pause},
        "serving": serving.number if serving is not None else None,
        "rollout": _without_component(asdict(rollout)) | {"weight": state.weight} if rollout is not None else None,
        "held": asdict(held) if held is not None else None,
        "releases": [_release_json(item) for item in reversed(record.releases)],
    }


def _without_component(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != "component"}


def _release_json(release: Release) -> dict[str, Any]:
    parts = [
        {"component": part.component.name, "image": part.image, "image_digest": part.image_digest}
        for part in release.parts
    ]
    return asdict(release) | {"parts": parts}


def _print(state: RolloutState) -> None:
    record = state.record
    rollout, held = record.rollout, record.held
    title = "/".join(filter(None, (state.app.tenant, state.app.called, record.component)))
    say(f"{title}: {_headline(state)}")
    if rollout is not None and rollout.why:
        say(f"  {rollout.outcome}: {rollout.why}")
    if held is not None:
        say(f"held back, {held.because} at {held.at}: {held.image}: {held.why}")
    say()
    _print_releases(record)


def _headline(state: RolloutState) -> str:
    rollout, current = state.record.rollout, state.record.current
    number = current.number if current is not None else 0
    if rollout is None:
        what = f"release {number} serves all requests" if state.record.component else f"release {number} runs"
        return f"{what}, and the files have another version, for the next `up`" if state.is_behind else what
    if rollout.phase in ("starting", "pausing"):
        where = f"step {min(rollout.step, len(state.steps) or 1)} of {len(state.steps)}"
        share = f"{rollout.image} gets {state.weight} % of the requests, release {number} the rest"
        return f"{where}, {rollout.phase}: {share}"
    return f"{rollout.phase}: {rollout.image} is {rollout.outcome}"


def _print_releases(record: AppReleases) -> None:
    from wecityctl.report.tables import in_utc, new_table, print_table

    table = new_table(("RELEASE", "SINCE", "BY", "COMPONENT", "IMAGE", "DIGEST"))
    for item in reversed(record.releases):
        back = f" (of {item.of})" if item.of else ""
        shown = (f"{item.number}{back}", in_utc(item.at), printable(item.by))
        for part in item.parts:
            table.add_row(*shown, part.component.name, printable(part.image), part.image_digest or "–")
    print_table(console(), table)
