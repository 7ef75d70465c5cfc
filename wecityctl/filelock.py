"""A lock between processes that is waited for in bounds. The kernel's: it goes with its holder, however that ends."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable
from typing import Final

from wecityctl.errors import TimedOutError

# Longer than the longest build: whoever holds a lock for this long does not come to an end.
BUILD_SECONDS: Final = 3600.0
_POLL_SECONDS: Final = 0.1


def hold(descriptor: int, *, seconds: float, what: str, waiting: Callable[[], None] = lambda: None) -> None:
    """Lock an open file, exclusively, until it is closed.

    `waiting` is called at every look while another process has it. Raises `TimedOutError`, which names `what` it works
    on, after `seconds`.
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
        time.sleep(_POLL_SECONDS)
