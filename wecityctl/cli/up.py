"""`wecityctl up`: makes the city match its files."""

from __future__ import annotations

import typer

from wecityctl.cli import _options as o
from wecityctl.cli._common import EPILOG, HERE, CityPath
from wecityctl.model.parallelism import PARALLELISM

SUMMARY = "Bring a city up, or what has changed in its files."
ORDER = 30
app = typer.Typer()


@app.command(
    epilog=EPILOG.format(
        "wecityctl up examples/xingcheng",
        "wecityctl up examples/xingcheng --yes --only transport-bureau",
        "wecityctl up examples/xingcheng --yes --no-skip --report-file report.json",
        "wecityctl up examples/xingcheng --yes --timeout 30m",
    )
)
def up(
    path: CityPath = HERE,
    only: o.Only = None,
    parallelism: o.Parallelism = PARALLELISM,
    keep_going: o.KeepGoing = False,
    fail_fast: o.FailFast = False,
    no_skip: o.NoSkip = False,
    confirm: o.Confirm = "",
    delete_data: o.DeleteData = False,
    take_over: o.TakeOver = False,
    new_cluster: o.NewCluster = None,
    yes: o.Yes = False,
    details: o.Details = False,
    timeout: o.Timeout = None,
    lock_timeout: o.LockTimeout = None,
    output: o.Stream = o.StreamFormat.TEXT,
    report_file: o.ReportFile = None,
) -> None:
    """Bring the city up, or make it what its files say now.

    On a terminal the changes are shown first and you are asked. Elsewhere, and with -o json, --yes is required.
    What was removed from the configuration is shown, and removed only with --confirm=CITY. What others have changed
    on the clouds is put right or refused by one rule: network policies, roles, quotas and admission policies are
    restored; any other field that the files state is refused unless --take-over is given. What nobody declared in the
    city's namespaces is reported; network policies, roles and bindings among it are removed with --confirm=CITY.
    """
    from wecityctl.cli._approval import ask, require_can_ask
    from wecityctl.cli._run import Presentation, carry_out, check_confirmation, exit_code, replaced_clusters
    from wecityctl.operations import preview
    from wecityctl.operations import up as operation
    from wecityctl.operations.current_placement import current_placement
    from wecityctl.operations.options import PreviewOptions, Timeouts, UpOptions
    from wecityctl.session import open_session

    session = open_session(path, current_placement)
    check_confirmation(session, confirm)
    chosen, replaced = tuple(only or ()), replaced_clusters(session, new_cluster)
    timeouts = Timeouts(run=timeout or 0.0, lock=lock_timeout or 0.0)
    removable = None
    if not yes:
        require_can_ask(f"bringing {session.city.name} up", output, look="wecityctl preview")
        first = PreviewOptions(
            only=chosen, parallelism=parallelism, new_clusters=replaced, take_over=take_over, timeouts=timeouts
        )
        shown = carry_out(lambda emit: preview.preview(session, first, emit), Presentation(details=True))
        removable = frozenset(item.uid for item in shown.undeclared if item.is_removable)
        changes = shown.has_changes or bool(confirm and removable)
        # What is refused is refused by the run itself, with its exit code: nothing of it needs to be confirmed.
        if shown.exit_code or not (changes or shown.refused):
            raise typer.Exit(shown.exit_code)
        if changes:
            ask("Make these changes?")
    options = UpOptions(
        only=chosen,
        parallelism=parallelism,
        keep_going=keep_going,
        fail_fast=fail_fast,
        skip=not no_skip,
        confirmed=bool(confirm),
        delete_data=delete_data,
        take_over=take_over,
        removable=removable,
        new_clusters=replaced,
        advice_shown=not yes,
        timeouts=timeouts,
    )
    result = carry_out(lambda emit: operation.up(session, options, emit), Presentation(output, report_file, details))
    raise typer.Exit(exit_code(result))
