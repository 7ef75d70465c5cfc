"""`wecityctl unlock`: removes locks that a dead run has left."""

from __future__ import annotations

from typing import Annotated

import typer

from wecityctl.cli._common import EPILOG, HERE, CityPath, note, say
from wecityctl.cli._options import Yes

SUMMARY = "Release a lock that a stopped run has left."
ORDER = 210
app = typer.Typer()


@app.command(
    epilog=EPILOG.format(
        "wecityctl unlock examples/xingcheng",
        "wecityctl unlock examples/xingcheng xingcheng.tenant.transport-bureau.main --yes",
    )
)
def unlock(
    path: CityPath = HERE,
    stack: Annotated[
        str, typer.Argument(metavar="STACK", help="Only this stack, or part of its name.", show_default=False)
    ] = "",
    yes: Yes = False,
) -> None:
    """Release the locks on the city's stacks. Only when you know that the run which took them is dead.

    On a terminal the locks are shown and you are asked; elsewhere --yes is required.
    A lock whose owner lives on this machine is never released; one whose owner died here is released by the next run.
    """
    from wecityctl.cli._approval import ask, require_can_ask
    from wecityctl.errors import ExitCode
    from wecityctl.operations import unlock as operation
    from wecityctl.operations.current_placement import current_placement
    from wecityctl.session import open_session

    session = open_session(path, current_placement, lenient=True)
    found = operation.find_locks(session, stack)
    if found.lines and not yes:
        require_can_ask(f"releasing locks of {session.city.name}")
        for line in found.lines:
            note(line)
        ask("Is every run that took these locks dead?")
    # What was taken meanwhile nobody was asked about.
    unlocked = operation.unlock(found)
    for line in unlocked.released:
        say(f"released {line}")
    for line in unlocked.remaining:
        note(f"still there: {line}")
    if unlocked.remaining:
        raise typer.Exit(ExitCode.DEPLOYMENT)
    if not unlocked.released:
        note("there are no locks")
