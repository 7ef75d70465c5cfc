"""`wecityctl refresh`: updates the states from the live objects."""

from __future__ import annotations

import typer

from wecityctl.cli import _options as o
from wecityctl.cli._common import EPILOG, HERE, CityPath

SUMMARY = "Read the real state of a city's resources into its state."
ORDER = 40
app = typer.Typer()


@app.command(epilog=EPILOG.format("wecityctl refresh examples/xingcheng"))
def refresh(
    path: CityPath = HERE,
    only: o.Only = None,
    parallelism: o.Parallelism = o.PARALLELISM,
    timeout: o.Timeout = None,
    lock_timeout: o.LockTimeout = None,
    output: o.Stream = o.StreamFormat.TEXT,
    report_file: o.ReportFile = None,
) -> None:
    """Read every object from its cloud into the state; the clouds are not changed. The next `up` mends what drifted."""
    from wecityctl.cli._run import Presentation, carry_out, exit_code
    from wecityctl.engine.context.options import Timeouts
    from wecityctl.operations import refresh as operation
    from wecityctl.operations.current_placement import current_placement
    from wecityctl.operations.options import RefreshOptions
    from wecityctl.session import open_session

    session = open_session(path, current_placement)
    options = RefreshOptions(
        only=tuple(only or ()),
        parallelism=parallelism,
        timeouts=Timeouts(run=timeout or 0.0, lock=lock_timeout or 0.0),
    )
    shown = Presentation(output, report_file, details=True)
    raise typer.Exit(exit_code(carry_out(lambda emit: operation.refresh(session, options, emit), shown)))
