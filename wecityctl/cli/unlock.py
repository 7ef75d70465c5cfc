"""`wecityctl unlock`: release locks that a dead run has left."""

from __future__ import annotations

from typing import Annotated

import typer

from wecityctl.cli._common import EPILOG, HERE, CityPath, note, say

app = typer.Typer()


@app.command(
    epilog=EPILOG.format(
        "wecityctl unlock examples/xingcheng",
        "wecityctl unlock examples/xingcheng xingcheng.tenant.transport-bureau.main",
    )
)
def unlock(
    path: CityPath = HERE,
    stack: Annotated[
        str, typer.Argument(metavar="[STACK]", help="Only this stack, or part of its name.", show_default=False)
    ] = "",
) -> None:
    """Release the locks on the city's stacks. Only when you know that the run which took them is dead.

    A lock whose owner lives on this machine is never released; one whose owner died here is released by the next run.
    """
    from wecityctl.engine.backend import open_backend
    from wecityctl.engine.locks import unlock as break_locks
    from wecityctl.session import open_session
    from wecityctl.standing import standing

    session = open_session(path, standing)
    backend = open_backend(session.city)
    wanted = session.plan.matching([stack]) if stack else set(backend.list_stacks())
    released = [line for name in sorted(wanted) for line in break_locks(backend, name)]
    for line in released:
        say(f"released {line}")
    if not released:
        note("there are no locks")
