"""`wecityctl backup`: takes, lists and reads back backups of the capabilities that keep data."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wecityctl.cli._arguments import PathBeforeNames
from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, console, note, say_json, settings
from wecityctl.cli._errors import show_error
from wecityctl.errors import ConfigurationError, ExitCode, WecityError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wecityctl.model.backups import Snapshot
    from wecityctl.operations.backups import Listed, Saved

SUMMARY = "Take, list and read back backups."
ORDER = 196
app = typer.Typer(help="Backups of the capabilities that keep data, in the target that the City names.")
Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="CAPABILITY", help="Only these capabilities.", show_default=False),
]


@app.command(
    cls=PathBeforeNames,
    epilog=EPILOG.format(
        "wecityctl backup run examples/xingcheng-operations",
        "wecityctl backup run examples/xingcheng-operations postgresql",
    ),
)
def run(path: CityPath = HERE, *, names: Names = None, output: OutputOption = Output.TEXT) -> None:
    """Back up now what is backed up by schedule: each app's database, bucket and the like as a snapshot of its own.

    Ends with 4 if something is not backed up; what else was is complete.
    """
    from wecityctl.cli._run import told_of
    from wecityctl.operations.backups import run_backups
    from wecityctl.operations.current_placement import current_placement
    from wecityctl.session import open_session

    session = open_session(path, current_placement)
    with told_of(output) as emit:
        done = run_backups(session, names or (), emit)
    if output is Output.JSON:
        saved = [_saved_json(item) for item in done.saved]
        say_json({"city": session.city.name, "saved": saved, "failed": _words(done.failed), "seconds": done.seconds})
    else:
        if done.saved or not done.failed:
            _print_saved(done.saved)
        _print_failed(done.failed)
        if not done.failed:
            note(f"backed up in {done.seconds:.0f} s")
    raise typer.Exit(_code(done.failed))


@app.command(
    "list",
    cls=PathBeforeNames,
    epilog=EPILOG.format(
        "wecityctl backup list examples/xingcheng-operations",
        "wecityctl backup list examples/xingcheng-operations -o json",
    ),
)
def list_(path: CityPath = HERE, *, names: Names = None, output: OutputOption = Output.TEXT) -> None:
    """List the snapshots in the target. Each is complete: one that was cut is none.

    Ends with 4 if a capability's cannot be listed.
    """
    from wecityctl.cli._run import told_of
    from wecityctl.operations.backups import list_backups
    from wecityctl.operations.current_placement import current_placement
    from wecityctl.session import open_session

    session = open_session(path, current_placement)
    with told_of(output) as emit:
        found = list_backups(session, names or (), emit)
    if output is Output.JSON:
        say_json(
            {
                "city": session.city.name,
                "snapshots": [_snapshot_json(item) for item in found.snapshots],
                "foreign": [_snapshot_json(item) for item in found.foreign],
                "failed": _words(found.failed),
            }
        )
    else:
        _print_listed(found)
        _print_failed(found.failed)
    raise typer.Exit(_code(found.failed))


@app.command(
    cls=PathBeforeNames,
    epilog=EPILOG.format(
        "wecityctl backup verify examples/xingcheng-operations",
        "wecityctl backup verify examples/xingcheng-operations --read 100%",
    ),
)
def verify(
    path: CityPath = HERE,
    *,
    names: Names = None,
    read: Annotated[
        str, typer.Option("--read", metavar="SHARE", help="How much of the data is read back, as a percentage.")
    ] = "10%",
    output: OutputOption = Output.TEXT,
) -> None:
    """Check that the backups are whole and genuine, and read a part of their data back.

    Ends with 4 if something is damaged or cannot be read.
    """
    from wecityctl.cli._run import told_of
    from wecityctl.operations.backups import verify_backups
    from wecityctl.operations.current_placement import current_placement
    from wecityctl.session import open_session

    share = _share(read)
    session = open_session(path, current_placement)
    with told_of(output) as emit:
        found = verify_backups(session, names or (), share, emit)
    failed = {name: error for name, error in found.items() if error is not None}
    if output is Output.JSON:
        sound = [name for name, error in found.items() if error is None]
        say_json({"city": session.city.name, "read": share, "sound": sound, "failed": _words(failed)})
    else:
        for name, error in found.items():
            if error is None:
                note(f"{name}: the backups are sound, and {share} of their data was read back")
        _print_failed(failed)
    raise typer.Exit(_code(failed))


def _share(text: str) -> str:
    number = text.removesuffix("%")
    if not number.isdecimal() or not 1 <= int(number) <= 100:
        raise ConfigurationError(f"--read={text} is no percentage", resolution="give one from 1% to 100%")
    return f"{int(number)}%"


def _code(failed: Mapping[str, WecityError]) -> ExitCode:
    codes = {error.exit_code for error in failed.values()}
    return ExitCode.OK if not codes else codes.pop() if len(codes) == 1 else ExitCode.DEPLOYMENT


def _words(failed: Mapping[str, WecityError]) -> dict[str, str]:
    return {name: error.message for name, error in failed.items()}


def _saved_json(item: Saved) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(item)


def _snapshot_json(item: Snapshot) -> dict[str, Any]:
    from dataclasses import asdict

    from wecityctl.model.backups import when

    return {**asdict(item), "at": when(item.at)}


def _print_saved(items: tuple[Saved, ...]) -> None:
    from wecityctl.report.clouds import size
    from wecityctl.report.tables import new_table, print_table

    if not items:
        note("there is nothing to back up yet")
        return
    table = new_table(("CAPABILITY", "ACCOUNT", "OWNER", "SIZE", "SNAPSHOT"), right=("SIZE",))
    for item in items:
        owner = item.owner if item.owner != "-" else "–"
        table.add_row(item.capability, item.account, owner, size(item.bytes), item.snapshot[:8] or "FAILED")
    print_table(console(), table)


def _print_listed(found: Listed) -> None:
    from wecityctl.model.backups import when
    from wecityctl.report.clouds import size
    from wecityctl.report.tables import new_table, print_table

    if not found.snapshots and not found.failed:
        note("there are no backups yet")
    if found.snapshots:
        table = new_table(("CAPABILITY", "ACCOUNT", "TAKEN", "SIZE", "VERSION", "SNAPSHOT"), right=("SIZE",))
        for item in found.snapshots:
            ahead = " (ahead of the clock here)" if item.is_ahead(found.at) else ""
            version = f"{item.type} {item.version}"
            table.add_row(item.capability, item.account, when(item.at) + ahead, size(item.bytes), version, item.id[:8])
        print_table(console(), table)
    for item in found.foreign:
        note(f"of something else than the repository: {item.id[:8]}, {item.capability} of {item.city}, {when(item.at)}")


def _print_failed(failed: Mapping[str, WecityError]) -> None:
    for error in failed.values():
        show_error(error, sys.stderr, colour=settings().colours(sys.stderr))
