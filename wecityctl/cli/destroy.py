"""`wecityctl destroy`: deletes a city's stacks in reverse order."""

from __future__ import annotations

from typing import Annotated

import typer

from wecityctl.cli import _options as o
from wecityctl.cli._common import EPILOG, HERE, CityPath, note
from wecityctl.errors import ConfigurationError

SUMMARY = "Take a city down, in reverse order."
ORDER = 50
app = typer.Typer()


@app.command(
    epilog=EPILOG.format(
        "wecityctl destroy examples/xingcheng --preview",
        "wecityctl destroy examples/xingcheng --confirm=xingcheng",
        "wecityctl destroy examples/xingcheng --confirm=xingcheng --delete-data",
    )
)
def destroy(
    path: CityPath = HERE,
    confirm: o.Confirm = "",
    only: o.Only = None,
    parallelism: o.Parallelism = o.PARALLELISM,
    keep_going: o.KeepGoing = False,
    delete_data: o.DeleteData = False,
    stop_clouds: Annotated[
        bool, typer.Option("--stop-clouds", help="Stop the city's embedded clouds too; with --delete-data reset them.")
    ] = False,
    timeout: o.Timeout = None,
    lock_timeout: o.LockTimeout = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Only show what would be removed and what kept; no --confirm is needed.")
    ] = False,
    output: o.Stream = o.StreamFormat.TEXT,
    report_file: o.ReportFile = None,
) -> None:
    """Take the city's stacks down, the last layer first. Volumes and secrets stay unless --delete-data is given.

    With --preview nothing is changed: the state says what would be removed.
    """
    from wecityctl.cli._run import Presentation, carry_out, check_confirmation, exit_code
    from wecityctl.engine.context.options import Timeouts
    from wecityctl.operations import destroy as operation
    from wecityctl.operations.current_placement import current_placement
    from wecityctl.operations.options import DestroyOptions
    from wecityctl.session import open_session

    session = open_session(path, current_placement)
    check_confirmation(session, confirm)
    options = DestroyOptions(
        only=tuple(only or ()),
        parallelism=parallelism,
        keep_going=keep_going,
        delete_data=delete_data,
        timeouts=Timeouts(run=timeout or 0.0, lock=lock_timeout or 0.0),
    )
    if preview:
        shown = Presentation(output, report_file, details=True)
        foreseen = carry_out(lambda emit: operation.preview_destroy(session, options, emit), shown)
        raise typer.Exit(exit_code(foreseen))
    if not confirm:
        raise ConfigurationError(
            f"destroying {session.city.name} needs its name",
            details="stacks: " + ", ".join(stack.name for stack in reversed(session.plan.stacks)),
            resolution=f"look at it with --preview; then add --confirm={session.city.name}",
        )
    result = carry_out(lambda emit: operation.destroy(session, options, emit), Presentation(output, report_file))
    if stop_clouds and not result.exit_code and not only:
        for name in operation.stop_clouds(session, delete_data=delete_data):
            note(f"embedded cloud {name} is {'gone' if delete_data else 'stopped; its data is kept'}")
    raise typer.Exit(exit_code(result))
