"""The name of the user whom this process runs as."""

from __future__ import annotations

import os
import pwd


def user_name() -> str:
    """The name of this process's user; `user ID N` for one without an entry in the user database."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user ID {os.geteuid()}"
