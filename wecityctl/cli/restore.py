"""`wecityctl restore`: brings data back from backups."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wecityctl.cli import _options as o
from wecityctl.cli._arguments import PathBeforeName
from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, console, note, say_json, settings
from wecityctl.cli._errors import show_error
from wecityctl.errors import ConfigurationError, ExitCode

if TYPE_CHECKING:
    from wecityctl.operations.restore import Restore, Restored, RestorePlan

SUMMARY = "Bring data back from backups."
ORDER = 197
app = typer.Typer()


@app.command(
    cls=PathBeforeName,
    epilog=EPILOG.format(
        "wecityctl restore examples/xingcheng-operations transport-bureau --preview",
        "wecityctl restore examples/xingcheng-operations vault --at 2026-11-27T02:30:00Z --preview",
        "wecityctl restore examples/xingcheng-operations postgresql --to postgresql-new",
        "wecityctl restore examples/xingcheng-operations postgresql --preview -o json",
    ),
)
def restore(
    path: CityPath = HERE,
    *,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A capability, a tenant, or an app as TENANT/APP.", show_default=False),
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="CAPABILITY", help="Restore into this instance of the type, in whatever namespace or cloud."
        ),
    ] = "",
    at: Annotated[
        str,
        typer.Option("--at", metavar="TIME", help="As it was at this time (RFC 3339), not from the newest backup."),
    ] = "",
    confirm: o.Confirm = "",
    preview: Annotated[
        bool, typer.Option("--preview", help="Only show what would be restored, and from which backup.")
    ] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Restore the data of a capability, a tenant or an app from the newest complete backups.

    Data that is there is replaced only with --confirm. Apps keep the credentials that they have now; their sessions
    end. Ends with 4 if something could not be restored: what it had before is then as it was.
    """
    from wecityctl.cli._run import check_confirmation, told_of
    from wecityctl.model.backups import parse_time
    from wecityctl.operations.current_placement import current_placement
    from wecityctl.operations.restore import carry_out, plan_restore
    from wecityctl.session import open_session

    try:
        time = parse_time(at.replace("Z", "+00:00")) if at else None
    except ValueError:
        raise ConfigurationError(
            f"--at={at} is no time with a time zone", resolution="write it as 2026-11-27T02:30:00Z"
        ) from None
    session = open_session(path, current_placement)
    check_confirmation(session, confirm)
    done: list[Restored] = []
    plan: RestorePlan | None = None
    try:
        with told_of(output) as emit:
            plan = plan_restore(session, name, emit, to=to, at=time)
            for item in () if preview else carry_out(plan, emit, replace=bool(confirm)):
                done.append(item)
    except KeyboardInterrupt:
        if plan is not None and len(done) < len(plan.items):
            _tell_interrupted(plan, done)
        raise
    if output is Output.JSON:
        say_json(_json(plan, done, preview=preview))
    else:
        _show(plan, done, preview=preview)
    codes = {item.error.exit_code for item in done if item.error is not None}
    if codes:
        raise typer.Exit(codes.pop() if len(codes) == 1 else ExitCode.DEPLOYMENT)


def _tell_interrupted(plan: RestorePlan, done: list[Restored]) -> None:
    """What became of the account whose restore was under way: its Job was ended."""
    from wecityctl.operations.restore import is_unchanged_by_end

    item = plan.items[len(done)]
    left = "has what it had" if is_unchanged_by_end(plan, item) else "may have a part of its backup: restore it again"
    note(f"{len(done)} of {len(plan.items)} accounts were worked on; {item.snapshot.account} {left}")


def _show(plan: RestorePlan, done: list[Restored], *, preview: bool) -> None:
    for text in plan.notes:
        note(text)
    if preview:
        _print_plan(plan.items)
        note("nothing was restored")
        return
    _print_done(done)
    errors = [item.error for item in done if item.error is not None]
    for error in errors:
        show_error(error, sys.stderr, colour=settings().colours(sys.stderr))
    if not errors:
        note(f"restored in {sum(item.seconds for item in done):.0f} s")


def _json(plan: RestorePlan, done: list[Restored], *, preview: bool) -> dict[str, Any]:
    """What is planned, with what came of each."""
    outcomes = {item.restore: item for item in done}
    items = []
    for item in plan.items:
        found, outcome = item.snapshot, outcomes.get(item)
        items.append(
            {
                "cloud": item.cloud,
                "capability": item.capability,
                "account": found.account,
                "owner": item.owner,
                "snapshot": found.id,
                "at": found.at.isoformat(),
                "bytes": found.bytes,
                "restored": outcome is not None and outcome.error is None,
                "error": outcome.error.message if outcome is not None and outcome.error is not None else None,
                "seconds": round(outcome.seconds, 1) if outcome is not None else None,
            }
        )
    return {"city": plan.opened.session.city.name, "preview": preview, "accounts": items, "notes": list(plan.notes)}


def _print_plan(items: tuple[Restore, ...]) -> None:
    from wecityctl.model.backups import when
    from wecityctl.report.clouds import size
    from wecityctl.report.tables import new_table, print_table

    table = new_table(("INTO", "ACCOUNT", "OWNER", "FROM", "SIZE", "SNAPSHOT"), right=("SIZE",))
    for item in items:
        found = item.snapshot
        table.add_row(
            f"{item.capability} on {item.cloud}",
            found.account,
            item.owner,
            when(found.at),
            size(found.bytes),
            found.id[:8],
        )
    print_table(console(), table)


def _print_done(items: list[Restored]) -> None:
    from wecityctl.model.backups import when
    from wecityctl.report.clouds import size
    from wecityctl.report.tables import new_table, print_table

    table = new_table(("INTO", "ACCOUNT", "FROM", "SIZE", "SECONDS", "RESULT"), right=("SIZE", "SECONDS"))
    for item in items:
        found = item.restore.snapshot
        result = "restored" if item.error is None else "not restored"
        table.add_row(
            f"{item.restore.capability} on {item.restore.cloud}",
            found.account,
            when(found.at),
            size(found.bytes),
            f"{item.seconds:.1f}",
            result,
        )
    print_table(console(), table)
