"""The three standard streams where the caller has closed them, or where they can no longer be written."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from typing import IO

# What a shell reports for a program that SIGPIPE ended, which is how other programs end when their reader goes away.
READER_GONE = 128 + signal.SIGPIPE


def open_standard_streams() -> None:
    """Put the null device where a standard stream is closed: the next file opened would else become, say, stdout."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free descriptor is the one that is missing. Children inherit standard streams.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def flushes(stream: IO[str]) -> bool:
    """Whether everything written so far could be handed over."""
    try:
        stream.flush()
    except OSError:
        return False
    return True


def close_after_failure(stream: IO[str]) -> None:
    """Leave nothing that the interpreter would fail to flush on its way out."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def reader_is_gone(stream: IO[str]) -> bool:
    """Whether `stream` is a pipe or socket whose other end is closed."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLOUT)
        return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
    except (OSError, ValueError):
        return False


def drop_unread_output() -> None:
    """Throw away what nobody reads any more, so that a command that has done its work ends with its own exit code."""
    for stream in (sys.stdout, sys.stderr):
        if reader_is_gone(stream):
            close_after_failure(stream)
