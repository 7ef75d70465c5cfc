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
        str, typer.Argument(metavar="[STACK]", help="Only this stack, or part of its name.", show_default=False)
    ] = "",
    yes: Yes = False,
) -> None:
    """Release the locks on the city's stacks. Only when you know that the run which took them is dead.

    On a terminal the locks are shown and you are asked; elsewhere --yes is required.
    A lock whose owner lives on this machine is never released; one whose owner died here is released by the next run.
    """
    from wecityctl.cli._approval import ask, require_can_ask
    from wecityctl.engine.state.abandoned_locks import break_run_lock, locks_of, run_locks_on
    from wecityctl.engine.state.abandoned_locks import unlock as break_locks
    from wecityctl.engine.state.backend import open_backend
    from wecityctl.operations.current_placement import current_placement
    from wecityctl.session import open_session

    session = open_session(path, current_placement)
    backend = open_backend(session.city)
    wanted = session.plan.matching([stack]) if stack else set(backend.list_stacks())
    # Where only the engine knows them, any stack may have some.
    known = {name: locks_of(backend, name) for name in sorted(wanted)}
    found = [str(lock) for name, locks in known.items() for lock in ([name] if locks is None else locks)]
    # A run of a part of the city has locks of the city too: they are its own.
    runs = run_locks_on(backend) if not stack else []
    found += map(str, runs)
    if found and not yes:
        require_can_ask(f"releasing locks of {session.city.name}")
        for line in sorted(found):
            note(line)
        ask("Is every run that took these locks dead?")
    for held in runs:
        break_run_lock(backend, held)
    # What was taken meanwhile nobody was asked about.
    released = [*map(str, runs), *(line for name, locks in known.items() for line in break_locks(backend, name, locks))]
    for line in released:
        say(f"released {line}")
    if not released:
        note("there are no locks")
