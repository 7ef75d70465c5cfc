"""Ctrl-C, SIGTERM and the end of a run's time, as something its loop can wait for; the process itself goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

from wecityctl.errors import CancelledError, OutOfTimeError, TimedOutError, WecityError


@contextlib.contextmanager
def time_limit(seconds: float, waited_for: Callable[[], str]) -> Iterator[None]:
    """Bound what is in the block to `seconds` (0: no bound). Main thread only; elsewhere there is no bound.

    Within `Interrupts` the end of the time counts as an interrupt. Elsewhere it ends the block as Ctrl-C would, and
    `TimedOutError` is raised with what was waited for.
    """
    if not seconds or threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(number: int, frame: FrameType | None) -> NoReturn:
        for child in _programs_of_this_run():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGINT)
        raise OutOfTimeError

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except OutOfTimeError as error:
        raise TimedOutError(
            f"the run was not done after {seconds:.0f} s",
            details=waited_for(),
            resolution="run it again, with more time if that was too short: what was done is in the state",
        ) from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _programs_of_this_run() -> list[int]:
    """The processes below this one that a terminal would interrupt with it, as builds are: those of its group."""
    parents: dict[int, int] = {}
    mine = os.getpgrp()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(ValueError, OSError, IndexError):
            pid = int(entry.name)
            _, parent, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(group) == mine:
                parents[pid] = int(parent)
    return [pid for pid in parents if _is_below(pid, os.getpid(), parents)]


def _is_below(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    while (parent := parents.get(pid)) is not None:
        if parent == ancestor:
            return True
        pid = parent
    return False


_current: Interrupts | None = None


def end_of_waiting() -> WecityError | None:
    """Why nothing is waited for any more: the run's time is over, or the user has pressed Ctrl-C twice.

    `None` while neither is so, and outside of `Interrupts`.
    """
    if _current is None:
        return None
    if _current.timed_out:
        return TimedOutError("not waited for any longer: the time of the run is over")
    if _current.count > 1:
        return CancelledError("not waited for any longer: the run was interrupted")
    return None


class Interrupts:
    """Within the block, signals are counted instead of raised. Outside the main thread it only ever counts zero.

    `timed_out` says that the first of them was the end of the run's time.
    """

    def __init__(self) -> None:
        self.count = 0
        self.timed_out = False
        self._read, self._write = socket.socketpair()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        global _current
        _current = self
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _current
        _current = None
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._read.close()
        self._write.close()

    def fileno(self) -> int:
        """Readable after a signal."""
        return self._read.fileno()

    def clear(self) -> None:
        """Take note of what has come, so that waiting begins anew."""
        self._read.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            self._read.recv(64)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.timed_out = self.timed_out or (number == signal.SIGALRM and not self.count)
        self.count += 1
        with contextlib.suppress(OSError):
            self._write.send(b"!")
