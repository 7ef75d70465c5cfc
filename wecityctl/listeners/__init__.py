"""Restricts connections to the local ports of a run to processes of the same user.

Pulumi's engine and its plug-ins communicate over loopback TCP without authentication, so every user of the machine
could connect. `guard` checks each connection before it is accepted; `callers` checks each gRPC call to wecityctl's
servers.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def guarded(command: Sequence[str]) -> list[str]:
    """Wrap `command` so that only processes of the same user can connect to it and to the processes that it starts.

    Killing the wrapper ends the program. If this machine does not support the guard, the program runs without it.
    """
    return [sys.executable, "-P", "-m", __name__, *command]
