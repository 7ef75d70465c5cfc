"""`wecityctl destroy`: take a city down, in reverse order."""

from __future__ import annotations

import typer

from wecityctl.cli import _options as o
from wecityctl.cli._common import EPILOG, CityPath
from wecityctl.errors import ConfigurationError

app = typer.Typer()


@app.command(
    epilog=EPILOG.format(
        "wecityctl destroy examples/xingcheng --confirm=xingcheng",
        "wecityctl destroy examples/xingcheng --confirm=xingcheng --delete-data",
    )
)
def destroy(
    path: CityPath,
    confirm: o.Confirm = "",
    only: o.Only = None,
    parallelism: o.Parallelism = 2,
    keep_going: o.KeepGoing = False,
    delete_data: o.DeleteData = False,
    output: o.Stream = o.StreamFormat.TEXT,
    report_file: o.ReportFile = None,
) -> None:
    """Take the city's stacks down, the last layer first. Volumes and secrets stay unless --delete-data is given."""
    from wecityctl.cli._run import RunRequest, check_confirmation, exit_code, operate
    from wecityctl.engine.options import RunOptions
    from wecityctl.session import open_session

    session = open_session(path)
    check_confirmation(session, confirm)
    if not confirm:
        raise ConfigurationError(
            f"destroying {session.city.name} needs its name",
            details="stacks: " + ", ".join(stack.name for stack in reversed(session.plan.stacks)),
            resolution=f"add --confirm={session.city.name}",
        )
    options = RunOptions(
        "destroy", parallelism=parallelism, keep_going=keep_going, confirm_all=True, delete_data=delete_data
    )
    request = RunRequest(session, options, tuple(only or ()), output, report_file)
    raise typer.Exit(exit_code(operate(request)))
