"""Turns Ctrl-C, SIGTERM, a cancellation and the time limit of a run into an event that the run's loop can wait for."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

from wecityctl import cancellation
from wecityctl.cancellation import Cancellation, Reason, descendants
from wecityctl.errors import CancelledError, OutOfTimeError, TimedOutError, WecityError

# Belongs to the run of this thread, or of a thread that works for it with a copy of its context.
_current: ContextVar[Interrupts | None] = ContextVar("interrupts", default=None)


@contextlib.contextmanager
def time_limit(seconds: float, waited_for: Callable[[], str]) -> Iterator[None]:
    """Limit the block to `seconds` (0: no limit).

    Within `Interrupts` the end of the time counts as an interrupt. Elsewhere it ends the block as Ctrl-C would, and
    `TimedOutError` is raised with the text that `waited_for` returns. Outside the main thread the block is ended as by
    its caller's `Cancellation`.
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


@contextlib.contextmanager
def _signal_limit(seconds: float) -> Iterator[None]:
    def over(number: int, frame: FrameType | None) -> NoReturn:
        for child in descendants(os.getpid(), group=os.getpgrp()):
            # Such as builds: a terminal's Ctrl-C reaches those.
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
    limit = Cancellation()
    timer = threading.Timer(seconds, limit.end, ["time"])
    timer.daemon = True
    timer.start()
    try:
        with limit.ends_block():
            yield
    finally:
        timer.cancel()


def end_of_waiting() -> WecityError | None:
    """Return why all waiting ends; otherwise `None`.

    It ends when the run's time is over or the user has pressed Ctrl-C twice, and outside `Interrupts` when the
    operation was cancelled.
    """
    current, reason = _current.get(), cancellation.reason()
    if (current is not None and current.timed_out) or reason == "time":
        return TimedOutError("not waited for any longer: the time of the run is over")
    if (current is not None and current.count > 1) or reason is not None:
        return CancelledError("not waited for any longer: the run was interrupted")
    return None


class Interrupts:
    """Counts signals and cancellations within the block instead of raising exceptions.

    Outside the main thread no signals arrive. `timed_out` says that the first interrupt was the end of the run's time.
    """

    def __init__(self) -> None:
        self.count = 0
        self.timed_out = False
        self._read, self._write = socket.socketpair()
        self._before: dict[int, Any] = {}
        self._blocks = contextlib.ExitStack()

    def __enter__(self) -> Self:
        token = _current.set(self)
        self._blocks.callback(_current.reset, token)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
                self._before[number] = signal.signal(number, self._take)
        self._blocks.enter_context(cancellation.heard_by(self._hear))
        self._blocks.enter_context(cancellation.shielded())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._blocks.close()
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
        self._interrupt()

    def _hear(self, reason: Reason) -> None:
        if reason == "time":
            self.end_time()
        else:
            self._interrupt()

    def _take(self, number: int, frame: FrameType | None) -> None:
        self._hear("time" if number == signal.SIGALRM else "cancelled")

    def _interrupt(self) -> None:
        self.count += 1
        with contextlib.suppress(OSError):
            self._write.send(b"!")
