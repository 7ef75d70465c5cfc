"""Who may connect to what a run listens on: processes of our own user alone.

Pulumi's engine and its plug-ins talk over loopback TCP, which every user of the machine can reach, and none of them
asks who is there. `guard` checks each connection before it is accepted; `callers` checks each call of our own servers.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def guarded(command: Sequence[str]) -> list[str]:
    """The command that runs `command`, and all that it starts, so that only our own user can connect to it.

    Killing it ends the program. Where this machine knows no guard, the program runs without one.
    """
    return [sys.executable, "-P", "-m", __name__, *command]
