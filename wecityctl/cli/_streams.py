"""Handles standard streams that the caller has closed or that can no longer be written."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from typing import IO

# The exit code that a shell reports for a program ended by SIGPIPE, as programs do when their reader goes away.
READER_GONE = 128 + signal.SIGPIPE


def open_standard_streams() -> None:
    """Open the null device in place of closed standard streams; otherwise the next opened file could become stdout."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # `open` returns the lowest free descriptor, which is the missing one. Children inherit standard streams.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def flushes(stream: IO[str]) -> bool:
    """Whether all written data could be flushed."""
    try:
        stream.flush()
    except OSError:
        return False
    return True


def close_after_failure(stream: IO[str]) -> None:
    """Redirect the stream to the null device, so that the interpreter does not fail to flush it at exit."""
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
    """Discard output that nobody can read, so that a successful command ends with its own exit code."""
    for stream in (sys.stdout, sys.stderr):
        if reader_is_gone(stream):
            close_after_failure(stream)
