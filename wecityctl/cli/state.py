"""`wecityctl state`: checks, backs up, repairs and moves the states of a city's stacks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wecityctl.cli._arguments import PathBeforeName
from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, console, note, say, say_json
from wecityctl.cli._complete import complete_stack
from wecityctl.cli._options import Yes
from wecityctl.cli._state_target import back_up_to_target, plan_from_target
from wecityctl.cli.state_serve import serve, token
from wecityctl.errors import ConfigurationError, ExitCode
from wecityctl.model.times import in_utc
from wecityctl.model.words import counted

if TYPE_CHECKING:
    from wecityctl.operations.state import Backend, Health

SUMMARY = "Look after the states of a city's stacks: check, copy, mend."
ORDER = 200
app = typer.Typer(help="Look after the states of a city's stacks: check, copy, mend, move, serve.")

_Stack = Annotated[
    str,
    typer.Argument(
        metavar="STACK",
        help="The stack, or a part of its name that no other has.",
        show_default=False,
        autocompletion=complete_stack,
    ),
]
_SomeStacks = Annotated[
    list[str] | None,
    typer.Option(
        "--stack", metavar="NAME", help="Only stacks with this in their name; may be repeated.", show_default=False
    ),
]


_DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Only say what would be written, and where what is there would be put aside."),
]


@app.command("list", epilog=EPILOG.format("wecityctl state list examples/xingcheng"))
def list_(path: CityPath = HERE, output: OutputOption = Output.TEXT) -> None:
    """Show each stack's state and whether it is sound; ends with 4 where one is not."""
    from wecityctl.operations.state import list_states, needs_repair

    backend = _backend(path)
    found = list_states(backend)
    if output is Output.JSON:
        say_json({"city": backend.city, "states": [asdict(item) for item in found]})
    else:
        _print(found)
    if needs_repair(found):
        note(f"mend them with: wecityctl state repair {path}")
        raise typer.Exit(ExitCode.DEPLOYMENT)


@app.command(
    "export",
    cls=PathBeforeName,
    epilog=EPILOG.format(
        "wecityctl state export examples/xingcheng xingcheng.entry > entry.json",
        "wecityctl state export examples/xingcheng xingcheng.entry --file entry.json",
    ),
)
def export(
    path: CityPath = HERE,
    *,
    name: _Stack,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Write it here, readable by you alone.")
    ] = None,
) -> None:
    """Write a stack's state as `pulumi stack export` does, its secrets encrypted."""
    from wecityctl.operations.state import export_state
    from wecityctl.paths import write_private

    found = export_state(_backend(path), name)
    if file is None:
        sys.stdout.write(found.text)
        return
    try:
        write_private(file.absolute(), found.text.encode())
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written", details=str(error.strerror)) from error
    note(f"{found.stack}: {file}")


@app.command(
    "import",
    cls=PathBeforeName,
    epilog=EPILOG.format("wecityctl state import examples/xingcheng xingcheng.entry --file entry.json --yes"),
)
def import_(
    path: CityPath = HERE,
    *,
    name: _Stack,
    file: Annotated[Path, typer.Option("--file", metavar="FILE", help="An exported state of this stack.")],
    yes: Yes = False,
    dry_run: _DryRun = False,
) -> None:
    """Give a stack an exported state. The one before is put aside first; a state that the engine would refuse is not
    taken."""
    from wecityctl.operations.state import plan_import

    planned = plan_import(_backend(path), name, lambda: _read(file))
    now = planned.now.resources if planned.now is not None else 0
    if dry_run:
        say(f"{planned.stack}: {counted(now, 'resource')} now, {planned.resources} then, from {file}")
        _not_written(planned.aside)
        return
    _approve(
        yes, f"replacing the state of {planned.stack}", f"{counted(now, 'resource')} now, {planned.resources} then"
    )
    aside = planned.apply()
    note(f"{planned.stack} has the state of {file}" + (f"; the one before: {aside}" if aside else ""))


@app.command(
    "backup",
    epilog=EPILOG.format(
        "wecityctl state backup examples/xingcheng",
        "wecityctl state backup examples/xingcheng --file monday.tar.gz",
        "wecityctl state backup examples/xingcheng --to-target",
    ),
)
def backup(
    path: CityPath = HERE,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="FILE", help="The archive; by default one with the time, in this directory."),
    ] = None,
    to_target: Annotated[
        bool, typer.Option("--to-target", help="Write it to the target of the city's backups, encrypted as a whole.")
    ] = False,
    stack: _SomeStacks = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Write the states of a city's stacks into an archive, secrets encrypted. Their passphrase is not in it.

    In the target, archives are encrypted with the passphrase, and go by their number as the city's backups do.
    """
    from wecityctl.operations.state import back_up

    if to_target:
        back_up_to_target(path, stack or (), file, output)
        return
    backend = _backend(path)
    done = back_up(backend, stack or (), file)
    if output is Output.JSON:
        stacks = [{"stack": item.stack, "resources": item.resources, "updated": item.updated} for item in done.copies]
        say_json({"city": backend.city, "file": str(done.file), "states": stacks})
        return
    for item in done.copies:
        say(f"{item.stack}: {counted(item.resources, 'resource')}")
    note(f"{done.file}; whoever restores it needs the passphrase too")


@app.command(
    "restore",
    epilog=EPILOG.format(
        "wecityctl state restore examples/xingcheng --file monday.tar.gz",
        "wecityctl state restore examples/xingcheng --file monday.tar.gz --stack entry --yes",
        "wecityctl state restore examples/xingcheng --from-target --at 2026-11-27T02:30:00Z --dry-run",
    ),
)
def restore(
    path: CityPath = HERE,
    *,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="FILE", help="An archive that `state backup` has written.", show_default=False),
    ] = None,
    from_target: Annotated[
        bool, typer.Option("--from-target", help="The newest archive in the target of the city's backups.")
    ] = False,
    at: Annotated[
        str, typer.Option("--at", metavar="TIME", help="With --from-target: as it was at this time (RFC 3339).")
    ] = "",
    stack: _SomeStacks = None,
    yes: Yes = False,
    dry_run: _DryRun = False,
) -> None:
    """Put states of an archive in their place; those of now are put aside first. `up` then compares with the clouds."""
    from wecityctl.operations.state import plan_restore

    if (file is None) != from_target or (at and not from_target):
        raise ConfigurationError(
            "one of --file and --from-target says which archive is restored, and --at goes with the latter",
            resolution="give one of them",
        )
    if file is None:
        backend, planned = plan_from_target(path, at, stack or ())
    else:
        backend = _backend(path)
        planned = plan_restore(backend, file, stack or ())
    lines = []
    for item in planned:
        now = _told(item.now.resources, item.now.updated) if item.now is not None else "nothing"
        lines.append(f"{item.stack}: {now} → {_told(item.resources, item.updated)}")
    if dry_run:
        for line in lines:
            say(line)
        _not_written(next((item.aside for item in planned if item.aside), ""))
        return
    _approve(yes, f"restoring states of {backend.city}", *lines)
    for item in planned:
        aside = item.apply()
        note(f"{item.stack} is restored" + (f"; the one before: {aside}" if aside else ""))


@app.command(
    "repair",
    epilog=EPILOG.format(
        "wecityctl state repair examples/xingcheng", "wecityctl state repair examples/xingcheng --yes"
    ),
)
def repair(
    path: CityPath = HERE,
    stack: _SomeStacks = None,
    yes: Yes = False,
    dry_run: _DryRun = False,
) -> None:
    """Mend states that the engine would refuse, or that cannot be read: by what earlier ones have.

    What is there is put aside and never overwritten. A run that was cut off needs no repair: the next `up` goes on.
    """
    from wecityctl.operations.state import aside_of, plan_repair

    backend = _backend(path)
    found = plan_repair(backend, stack or ())
    if not found:
        note("every state is sound")
        return
    if dry_run:
        for item in found:
            say(f"{item.stack}: {item.what}")
        _not_written(aside_of(backend))
        return
    _approve(yes, f"mending states of {backend.city}", *(f"{item.stack}: {item.what}" for item in found))
    for item in found:
        item.apply()
        note(f"{item.stack}: done; `wecityctl preview {path}` shows what differs from the clouds")


@app.command(
    "move",
    epilog=EPILOG.format(
        "wecityctl state move examples/xingcheng --to file:///srv/city-state --dry-run",
        "wecityctl state move examples/xingcheng --to 's3://city-state?region=eu-west-1' --yes",
    ),
)
def move(
    path: CityPath = HERE,
    *,
    to: Annotated[str, typer.Option("--to", metavar="URL", help="The place: file://, s3:// or postgres://.")],
    yes: Yes = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be moved.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take back a move that was cut off.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Move a city's states and their history to another back end, secrets encrypted as they are.

    Afterwards name the place in the city's file, in spec.state.backend; whoever has files without it is refused. What
    was moved is kept at the old place, out of sight. Cut off, the same command goes on; moving back works as well.
    """
    from wecityctl.operations import state as operation

    backend = _backend(path, moving=True)
    if undo:
        _take_back(backend, to, yes=yes, dry_run=dry_run, output=output)
        return
    found = operation.planned(backend, to)
    what = f"{counted(len(found.stacks), 'stack')}, {counted(len(found.keys), 'object')}, {found.size:,} bytes"
    if not dry_run:
        _approve(
            yes,
            f"moving the states of {backend.city}",
            f"{found.source} → {found.target}",
            what,
            look="the same command and --dry-run",
        )
        found = operation.move(backend, to)
    if output is Output.JSON:
        say_json({**asdict(found), "moved": not dry_run})
        return
    for stack in found.stacks:
        say(stack)
    if not found.keys:
        what = "everything was"
    note(f"{what} {'would be moved' if dry_run else 'moved'} from {found.source} to {found.target}")
    if dry_run:
        note(f"nothing was written; what is moved would be kept in {found.source}, below .wecity/moved")
    if not dry_run:
        note("name it in the city's file now, as spec.state.backend")
        if backend.is_default and backend.passphrase is not None:
            note(f"other machines need the passphrase too: {backend.passphrase.source}")


def _take_back(backend: Backend, to: str, *, yes: bool, dry_run: bool, output: Output) -> None:
    from wecityctl.operations.state import undo

    if dry_run:
        raise ConfigurationError("--undo and --dry-run do not go together", resolution="give one of them")
    _approve(yes, f"removing what a move that was cut off has brought to {to}")
    count = undo(backend, to)
    if output is Output.JSON:
        say_json({"city": backend.city, "removed": count})
    else:
        note(f"{counted(count, 'object')} removed; the states are where they were")


app.command(
    "serve",
    epilog=EPILOG.format(
        "wecityctl state serve --backend file:///srv/city-state --tls-cert tls.crt --tls-key tls.key \\",
        "    --tokens tokens.json --listen 0.0.0.0:8470",
    ),
)(serve)
app.add_typer(token, name="token")


def _backend(path: Path, *, moving: bool = False) -> Backend:
    from wecityctl.operations.state import open_states

    return open_states(path, moving=moving)


def _not_written(aside: str) -> None:
    """Tell how a dry run ends: nothing was written, and where states that are replaced would be put."""
    note(
        f"nothing was written; what is there now would first be put aside below {aside}"
        if aside
        else "nothing was written; there is no state that would be replaced"
    )


def _approve(yes: bool, what: str, *lines: str, look: str = "") -> None:
    from wecityctl.cli._approval import ask, require_can_ask

    if yes:
        return
    require_can_ask(what, look=look)
    for line in lines:
        note(line)
    ask("Go on?")


def _told(resources: int, updated: str) -> str:
    return f"{counted(resources, 'resource')} of {in_utc(updated) or 'an unknown time'}"


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read", details=str(error.strerror)) from error


def _print(found: Sequence[Health]) -> None:
    from wecityctl.report.tables import new_table, print_table

    titles = ("STACK", "RESOURCES", "PENDING", "UPDATED", "STATE")
    table = new_table(titles, right=("RESOURCES", "PENDING"), prose=("STATE",))
    for item in found:
        state = f"{item.condition}: {item.detail}" if item.detail else item.condition
        table.add_row(item.stack, str(item.resources), str(item.pending), in_utc(item.updated) or "–", state)
    print_table(console(), table)
