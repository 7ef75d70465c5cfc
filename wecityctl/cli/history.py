"""`wecityctl history`: lists the runs on a city, with their times and results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, console, say_json
from wecityctl.errors import NoSuchStackError
from wecityctl.model.naming import WHO

if TYPE_CHECKING:
    from wecityctl.engine.state.activity import Activity

SUMMARY = "Show what was done to a city, and when."
ORDER = 100
app = typer.Typer()


@app.command(epilog=EPILOG.format("wecityctl history examples/xingcheng", "wecityctl history examples/xingcheng -n 50"))
def history(
    path: CityPath = HERE,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many updates, newest first.")] = 20,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show the updates of the city's stacks, newest first.

    They are the engine's own records, with what runs have done beside them: security objects put back, undeclared
    objects removed, stacks taken down.
    """
    from wecityctl.engine.state import activity
    from wecityctl.engine.state.backend import open_backend
    from wecityctl.operations.current_placement import current_placement
    from wecityctl.session import open_session

    session = open_session(path, current_placement)
    backend = open_backend(session.city)
    updates = [_row(name, item) for name in backend.list_stacks() for item in backend.history(name)]
    updates += [_row_of_activity(item) for item in activity.read(backend)]
    updates.sort(key=lambda item: str(item["started"]), reverse=True)
    if not updates:
        raise NoSuchStackError(
            f"nothing was ever done to {session.city.name}", resolution=f"bring it up first: wecityctl up {path}"
        )
    if output is Output.JSON:
        say_json({"city": session.city.name, "updates": updates[:count]})
        return
    _print(updates[:count])


def _row(stack: str, update: Mapping[str, Any]) -> dict[str, Any]:
    started, ended = int(update.get("startTime") or 0), int(update.get("endTime") or 0)
    changes = {key: value for key, value in (update.get("resourceChanges") or {}).items() if value}
    return {
        "stack": stack,
        "operation": str(update.get("kind") or ""),
        "result": str(update.get("result") or ""),
        "started": datetime.fromtimestamp(started, UTC).isoformat() if started else "",
        "seconds": max(0, ended - started),
        "changes": changes,
        "objects": [],
        # Noted by a state server: whose token it was.
        "who": str((update.get("environment") or {}).get(WHO) or ""),
    }


def _row_of_activity(done: Activity) -> dict[str, Any]:
    return {
        "stack": done.stack,
        "operation": done.operation,
        "result": done.result,
        "started": datetime.fromtimestamp(int(done.started), UTC).isoformat(),
        "seconds": round(done.seconds),
        "changes": {"delete": done.deleted} if done.deleted else {},
        "objects": [{**asdict(item), "text": str(item)} for item in done.objects],
        "who": "",
    }


def _print(updates: list[dict[str, Any]]) -> None:
    from wecityctl.report.tables import new_table, print_table

    # Only where somebody noted it: files and objects of a state have no users.
    has_who = any(item["who"] for item in updates)
    columns = ("STARTED", "STACK", "OPERATION", "RESULT", *(("WHO",) if has_who else ()), "CHANGES")
    table = new_table(columns, prose=("CHANGES",))
    for item in updates:
        counts = " ".join(f"{key} {value}" for key, value in item["changes"].items())
        changes = "; ".join(filter(None, (counts, *(each["text"] for each in item["objects"])))) or "–"
        who = (item["who"] or "–",) if has_who else ()
        table.add_row(item["started"][:19], item["stack"], item["operation"], item["result"], *who, changes)
    print_table(console(), table)
