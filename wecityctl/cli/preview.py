"""`wecityctl preview`: shows what `up` would change."""

from __future__ import annotations

from typing import Annotated

import typer

from wecityctl.cli import _options as o
from wecityctl.cli._common import EPILOG, HERE, CityPath

SUMMARY = "Show what `up` would change."
ORDER = 20
app = typer.Typer()


@app.command(
    epilog=EPILOG.format(
        "wecityctl preview examples/xingcheng",
        "wecityctl preview examples/xingcheng --only health-commission",
        "wecityctl preview examples/xingcheng --detailed-exitcode",
        "wecityctl preview examples/four-clouds --offline",
    )
)
def preview(
    path: CityPath = HERE,
    only: o.Only = None,
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Work it out from the files alone: no cloud, credential or state is asked."),
    ] = False,
    new_cluster: o.NewCluster = None,
    take_over: o.TakeOver = False,
    parallelism: o.Parallelism = o.PARALLELISM,
    detailed_exitcode: o.DetailedExitCode = False,
    timeout: o.Timeout = None,
    output: o.Stream = o.StreamFormat.TEXT,
    report_file: o.ReportFile = None,
) -> None:
    """Show what `up` would change, property by property; nothing is touched.

    Every object is compared with its cluster. What depends on a stack that does not exist yet is shown as unknown.
    With --offline everything is shown as if nothing were there yet: what each vendor's landing zone would create, and
    all above it.
    """
    from wecityctl.cli._run import Presentation, carry_out, exit_code, replaced_clusters
    from wecityctl.engine.context.options import Timeouts
    from wecityctl.operations import preview as operation
    from wecityctl.operations.current_placement import current_placement
    from wecityctl.operations.options import PreviewOptions
    from wecityctl.session import open_session

    session = open_session(path, None if offline else current_placement)
    options = PreviewOptions(
        only=tuple(only or ()),
        parallelism=parallelism,
        new_clusters=replaced_clusters(session, new_cluster),
        take_over=take_over,
        timeouts=Timeouts(run=timeout or 0.0),
    )
    carried_out = operation.preview_offline if offline else operation.preview
    shown = Presentation(output, report_file, details=True, offline=offline)
    result = carry_out(lambda emit: carried_out(session, options, emit), shown)
    raise typer.Exit(exit_code(result, detailed=detailed_exitcode))
