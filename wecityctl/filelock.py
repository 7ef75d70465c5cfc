"""Exclusive locks between processes on this machine, with a limit on how long to wait.

The locks are `flock` locks: the kernel releases one when its holder exits, for whatever reason.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from wecityctl.cancellation import check
from wecityctl.errors import TimedOutError
from wecityctl.paths import private_dir

# Longer than the longest build. A process that holds the lock for longer is taken to be stuck.
BUILD_SECONDS: Final = 3600.0
# Enough for any reader or writer of a file: each holds the lock only while it reads the file and writes it back.
_TURN_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.1


def hold(descriptor: int, *, seconds: float, what: str, waiting: Callable[[], None] = lambda: None) -> None:
    """Lock an open file exclusively; the lock is held until the descriptor is closed.

    `waiting` is called on each attempt that finds the file locked by another process. Raises `TimedOutError` after
    `seconds`; its message names `what` the other process is working on. A cancelled operation waits no longer.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
        else:
            return
        if time.monotonic() > deadline:
            raise TimedOutError(
                f"another command has been working on {what} for {seconds:g} s",
                resolution="wait for it, or end it, and try again",
            )
        check()
        time.sleep(_POLL_SECONDS)


@contextmanager
def turn_of(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file `path` while it is read and written back; waits for other holders.

    The lock is a separate file beside `path`, because `path` itself is replaced by a write. Raises `TimedOutError` and
    `OSError`.
    """
    private_dir(path.parent)
    descriptor = os.open(path.with_name(f"{path.name}.turn"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        hold(descriptor, seconds=_TURN_SECONDS, what=str(path))
        yield
    finally:
        os.close(descriptor)
