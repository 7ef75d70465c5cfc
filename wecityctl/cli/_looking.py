"""Opens a city for commands that look at one app, whatever is wrong in the files of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wecityctl.cli._common import note

if TYPE_CHECKING:
    from pathlib import Path

    from wecityctl.session import Session


def open_to_look(path: Path) -> Session:
    """Open the city as it is placed now; files that have problems, or need such files, are left out and named.

    Raises what `open_session` raises, also for problems in what everybody's apps depend on.
    """
    from wecityctl.operations.rollouts.planning import open_current

    session = open_current(path, usable=True)
    for name in session.left_out:
        note(
            f"{name} is left out, because it or what it uses has problems: see `wecityctl validate {session.arguments}`"
        )
    return session
