"""Lists the other users who can log in to this machine, from its passwd file."""

from __future__ import annotations

import os
from pathlib import Path

_PASSWD = Path("/etc/passwd")
_NO_SHELLS = frozenset({"nologin", "false", "sync", "halt", "shutdown"})


def other_users(passwd: Path = _PASSWD) -> tuple[str, ...]:
    """The names of users with a login shell, without root and the user of this process.

    Users of a directory service are not in the file, so a machine may have more.
    """
    try:
        lines = passwd.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    found = []
    for line in lines:
        name, _, uid, _, _, _, shell = (line.split(":", 6) + [""] * 7)[:7]
        is_other = uid.isdigit() and int(uid) not in (0, os.getuid())
        if is_other and Path(shell or "/bin/sh").name not in _NO_SHELLS:
            found.append(name)
    return tuple(found)
