"""Binds the life of a child process to that of its parent, through the kernel's parent-death signal (Linux).

On other systems the child only checks once, at its start, that the parent is still alive.
"""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when the process with PID `parent` dies.

    Exits with status 1 at once if that process is dead already.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
