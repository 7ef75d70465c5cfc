"""`wecityctl up`: make the city what its files say."""

from __future__ import annotations

import typer

from wecityctl.cli import _options as o
from wecityctl.cli._common import EPILOG, HERE, CityPath

app = typer.Typer()


@app.command(
    epilog=EPILOG.format(
        "wecityctl up examples/xingcheng",
        "wecityctl up examples/xingcheng --yes --only transport-bureau",
        "wecityctl up examples/xingcheng --yes --no-skip --report-file report.json",
    )
)
def up(
    path: CityPath = HERE,
    only: o.Only = None,
    parallelism: o.Parallelism = o.PARALLELISM,
    keep_going: o.KeepGoing = False,
    fail_fast: o.FailFast = False,
    no_skip: o.NoSkip = False,
    confirm: o.Confirm = "",
    delete_data: o.DeleteData = False,
    new_cluster: o.NewCluster = None,
    yes: o.Yes = False,
    details: o.Details = False,
    output: o.Stream = o.StreamFormat.TEXT,
    report_file: o.ReportFile = None,
) -> None:
    """Bring the city up, or make it what its files say now.

    On a terminal the changes are shown first and you are asked. Elsewhere, and with -o json, --yes is required.
    What has left the files is shown, and removed only with --confirm=CITY.
    """
    from wecityctl.cli._approval import ask, require_can_ask
    from wecityctl.cli._run import RunRequest, check_confirmation, exit_code, operate, replaced_clusters
    from wecityctl.engine.options import RunOptions
    from wecityctl.session import open_session
    from wecityctl.standing import standing

    session = open_session(path, standing)
    check_confirmation(session, confirm)
    chosen, replaced = tuple(only or ()), replaced_clusters(session, new_cluster)
    if not yes:
        require_can_ask(f"bringing {session.city.name} up", output)
        first = RunOptions("preview", parallelism=parallelism, new_clusters=replaced)
        shown = operate(RunRequest(session, first, chosen, details=True))
        if shown.exit_code or not shown.has_changes:
            raise typer.Exit(shown.exit_code)
        ask("Make these changes?")
    options = RunOptions(
        "up",
        parallelism=parallelism,
        keep_going=keep_going,
        fail_fast=fail_fast,
        skip=not no_skip,
        confirm_all=bool(confirm),
        delete_data=delete_data,
        new_clusters=replaced,
    )
    request = RunRequest(session, options, chosen, output, report_file, details, start_clouds=True, advised=not yes)
    raise typer.Exit(exit_code(operate(request)))
