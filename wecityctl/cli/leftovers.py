"""`wecityctl leftovers`: what users that are gone have left in capabilities and in volumes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from wecityctl.cli import _options as o
from wecityctl.cli._arguments import PathBeforeNames
from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, console, note, say_json
from wecityctl.errors import ConfigurationError, ExitCode

if TYPE_CHECKING:
    from wecityctl.operations.left_volumes import LeftVolume
    from wecityctl.operations.leftovers import Leftover

SUMMARY = "List and delete what gone apps and capabilities have left."
ORDER = 195
app = typer.Typer(help="What apps and capabilities that are gone have left: databases, keys, accounts, volumes.")


@app.command(
    "list",
    epilog=EPILOG.format(
        "wecityctl leftovers list examples/xingcheng", "wecityctl leftovers list examples/xingcheng -o json"
    ),
)
def list_(path: CityPath = HERE, output: OutputOption = Output.TEXT) -> None:
    """List the accounts in the city's capabilities, and the volumes, that nothing uses any more, with size and age.

    Each capability that is up is asked by a Job beside it, which is removed again. Volumes are those of capabilities
    and apps that left the files; their size is that of the claim. Ends with 4 where something could not be asked.
    """
    from wecityctl.operations.current_placement import current_placement
    from wecityctl.operations.leftovers import list_leftovers
    from wecityctl.session import open_session

    session = open_session(path, current_placement)
    found = list_leftovers(session, lambda event: None)
    if output is Output.JSON:
        not_asked = {**found.serverless, **{name: error.message for name, error in found.failed.items()}}
        say_json(
            {
                "city": session.city.name,
                "leftovers": [asdict(item) for item in found.items],
                "volumes": [asdict(item) for item in found.volumes],
                "not_asked": not_asked,
            }
        )
    else:
        if found.items or found.volumes or not (found.serverless or found.failed):
            _print(found.items, found.volumes)
        for doubt in found.doubts:
            note(doubt)
        for name, why in found.serverless.items():
            note(f"{name} was not asked: {why}")
        for name, error in found.failed.items():
            note(f"{name} could not be asked: {error.message}")
    raise typer.Exit(ExitCode.DEPLOYMENT if found.failed else ExitCode.OK)


@app.command(
    cls=PathBeforeNames,
    epilog=EPILOG.format(
        "wecityctl leftovers delete examples/xingcheng postgresql/health_commission_health_code_db --preview",
        "wecityctl leftovers delete examples/xingcheng postgresql/health_commission_health_code_db --confirm=xingcheng",
        "wecityctl leftovers delete examples/xingcheng volume:main/platform-application/cache-data --confirm=xingcheng",
    ),
)
def delete(
    path: CityPath = HERE,
    *,
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME", help="What to delete, as `leftovers list` shows it.", show_default=False),
    ],
    confirm: o.Confirm = "",
    preview: Annotated[
        bool, typer.Option("--preview", help="Only show what would be deleted; no --confirm is needed.")
    ] = False,
) -> None:
    """Delete accounts that nothing uses any more, with their data, and volumes. Nothing brings it back."""
    from wecityctl.cli._run import check_confirmation
    from wecityctl.operations.current_placement import current_placement
    from wecityctl.operations.leftovers import delete_leftovers
    from wecityctl.session import open_session

    session = open_session(path, current_placement)
    check_confirmation(session, confirm)
    if not confirm and not preview:
        raise ConfigurationError(
            f"deleting data of {session.city.name} needs its name",
            details="to be deleted: " + ", ".join(names),
            resolution=f"look at it with --preview; then add --confirm={session.city.name}",
        )
    accounts, volumes = delete_leftovers(session, names, lambda event: None, preview=preview)
    _print(accounts, volumes)
    for item in volumes:
        if item.stays:
            note(f"{item.name}: the volume itself stays, as its reclaim policy is Retain: delete it in its cloud")
    note("nothing was deleted" if preview else "deleted")


def _print(items: Collection[Leftover], volumes: Collection[LeftVolume]) -> None:
    from wecityctl.report.clouds import size
    from wecityctl.report.tables import new_table, print_table

    if not items and not volumes:
        note("nothing is left over")
        return
    table = new_table(("NAME", "OWNER", "CLOUD", "SIZE", "SINCE", "STATE"), right=("SIZE",), prose=("STATE",))
    for item in items:
        state = _state("locked" if item.locked else "open", item)
        table.add_row(item.name, item.owner or "–", item.cloud, size(item.bytes), item.since[:10] or "–", state)
    for volume in volumes:
        state = _state(f"volume, made {volume.created[:10]}", volume)
        table.add_row(volume.name, volume.owner, volume.cloud, size(volume.bytes), volume.since[:10] or "–", state)
    print_table(console(), table)


def _state(state: str, item: Leftover | LeftVolume) -> str:
    planned = ["its user is in the files"] if item.planned else []
    kept = [f"kept until {item.kept_until}"] if item.kept_until else []
    return ", ".join([state, *planned, *kept])
