"""Turns Ctrl-C, SIGTERM and the time limit of a run into an event that the run's loop can wait for."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar, Token
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

from wecityctl.errors import CancelledError, OutOfTimeError, TimedOutError, WecityError


class _Alarm:
    """The time limit of a run outside the main thread, where signals are not delivered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._interrupts: Interrupts | None = None
        self.is_over = False

    def ring(self) -> None:
        """Mark the time as over and interrupt the running stacks. All other code finds out through `require_time`."""
        with self._lock:
            self.is_over = True
            if self._interrupts is not None:
                self._interrupts.end_time()

    def attach(self, interrupts: Interrupts | None) -> None:
        """Interrupt `interrupts` when the time is over; at once if it already is."""
        with self._lock:
            self._interrupts = interrupts
            if interrupts is not None and self.is_over:
                interrupts.end_time()


# Belong to the run of this thread, or of a thread that works for it with a copy of its context.
_alarm: ContextVar[_Alarm | None] = ContextVar("alarm", default=None)
_current: ContextVar[Interrupts | None] = ContextVar("interrupts", default=None)


@contextlib.contextmanager
def time_limit(seconds: float, waited_for: Callable[[], str]) -> Iterator[None]:
    """Limit the block to `seconds` (0: no limit).

    Within `Interrupts` the end of the time counts as an interrupt. Elsewhere it ends the block as Ctrl-C would, and
    `TimedOutError` is raised with the text that `waited_for` returns. A block outside the main thread cannot be
    interrupted: it ends when it contacts a cluster, begins to run stacks, or calls `require_time`.
    """
    if not seconds:
        yield
        return
    limit = _signal_limit if threading.current_thread() is threading.main_thread() else _thread_limit
    try:
        with limit(seconds):
            yield
    except OutOfTimeError as error:
        raise TimedOutError(
            f"the run was not done after {seconds:.0f} s",
            details=waited_for(),
            resolution="run it again, with more time if that was too short: what was done is in the state",
        ) from error


def require_time() -> None:
    """Raise `OutOfTimeError` if the time of this thread's run is over."""
    alarm = _alarm.get()
    if alarm is not None and alarm.is_over:
        raise OutOfTimeError


@contextlib.contextmanager
def _signal_limit(seconds: float) -> Iterator[None]:
    def over(number: int, frame: FrameType | None) -> NoReturn:
        for child in _programs_of_this_run():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGINT)
        raise OutOfTimeError

    before, begun = signal.signal(signal.SIGALRM, over), time.monotonic()
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            # Restore the caller's own alarm. If it was due meanwhile, it fires at once.
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - begun), 0.001), interval)


@contextlib.contextmanager
def _thread_limit(seconds: float) -> Iterator[None]:
    alarm = _Alarm()
    timer = threading.Timer(seconds, alarm.ring)
    timer.daemon = True
    token = _alarm.set(alarm)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        _alarm.reset(token)


def _programs_of_this_run() -> list[int]:
    """Return the PIDs of this process's descendants in its process group, such as builds: a terminal's Ctrl-C reaches
    those.
    """
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


def end_of_waiting() -> WecityError | None:
    """Return why all waiting ends: the run's time is over, or the user has pressed Ctrl-C twice; otherwise `None`."""
    current, alarm = _current.get(), _alarm.get()
    if (current is not None and current.timed_out) or (alarm is not None and alarm.is_over):
        return TimedOutError("not waited for any longer: the time of the run is over")
    if current is not None and current.count > 1:
        return CancelledError("not waited for any longer: the run was interrupted")
    return None


class Interrupts:
    """Counts signals within the block instead of raising exceptions.

    Outside the main thread no signals arrive; only the end of the run's time is counted. `timed_out` says that the
    first interrupt was the end of the run's time.
    """

    def __init__(self) -> None:
        self.count = 0
        self.timed_out = False
        self._read, self._write = socket.socketpair()
        self._before: dict[int, Any] = {}
        self._token: Token[Interrupts | None] | None = None

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
                self._before[number] = signal.signal(number, self._take)
        elif (alarm := _alarm.get()) is not None:
            alarm.attach(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if (alarm := _alarm.get()) is not None:
            alarm.attach(None)
        if self._token is not None:
            _current.reset(self._token)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._read.close()
        self._write.close()

    def fileno(self) -> int:
        """Return a file descriptor that is readable after an interrupt."""
        return self._read.fileno()

    def clear(self) -> None:
        """Reset the descriptor, so that the next wait blocks until a new interrupt."""
        self._read.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            self._read.recv(64)

    def end_time(self) -> None:
        """Count the end of the run's time as an interrupt."""
        self.timed_out = self.timed_out or not self.count
        self.count += 1
        with contextlib.suppress(OSError):
            self._write.send(b"!")

    def _take(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGALRM:
            self.end_time()
            return
        self.count += 1
        with contextlib.suppress(OSError):
            self._write.send(b"!")
