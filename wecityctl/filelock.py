"""A lock between processes that is waited for in bounds. The kernel's: it goes with its holder, however that ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from wecityctl.errors import TimedOutError
from wecityctl.paths import private_dir

# Longer than the longest build: whoever holds a lock for this long does not come to an end.
BUILD_SECONDS: Final = 3600.0
# Nobody has a file for longer than it takes to read and write it.
_TURN_SECONDS: Final = 60.0
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


@contextmanager
def turn_of(path: Path) -> Iterator[None]:
    """Have the file `path` alone among processes that do the same, to read it and write it again; waits for them.

    The lock is a file beside it, since `path` itself is replaced. Raises `TimedOutError` and `OSError`.
    """
    private_dir(path.parent)
    descriptor = os.open(path.with_name(f"{path.name}.turn"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        hold(descriptor, seconds=_TURN_SECONDS, what=str(path))
        yield
    finally:
        os.close(descriptor)
