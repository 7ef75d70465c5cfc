"""Ends an operation from any thread. Code that waits or runs programs asks here whether its operation goes on.

A cancellation belongs to a context (`contextvars`): of two operations in one process each is ended by itself. A thread
that works for an operation needs a copy of its context, which `in_context` gives. Ctrl-C and the time limit of the main
thread are signals and do not come by here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar, copy_context
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, ParamSpec, Self, TypeVar, overload

from wecityctl.errors import CancellationError, CancelledError, OutOfTimeError

P = ParamSpec("P")
T = TypeVar("T")
Reason = Literal["cancelled", "time"]
Listener = Callable[[Reason], None]
Command = Sequence[str | os.PathLike[str]]
_POLL_SECONDS: Final = 0.2
_LOOK_SECONDS: Final = 0.02
# For a program that was interrupted, until it is killed.
_GRACE_SECONDS: Final = 5.0


class Cancellation:
    """Ends what runs within its block; `cancel` is called from any thread, also before the block begins.

    The block is entered by the thread of the operation: `with cancellation: up(session, options, emit)`. The first
    `cancel` works as Ctrl-C does: running stacks end in order, and the operation returns its result with exit code 8;
    builds, starts of clouds and waits before or after that end at once, and the block raises `CancelledError`. After
    the second one engines and clusters are not waited for. A cancellation is used once.
    """

    def __init__(self) -> None:
        # Listeners are called with it held, so that none is called after its block.
        self._guard = threading.RLock()
        self._reasons: list[Reason] = []
        self._listeners: list[Listener] = []
        self._blocks = contextlib.ExitStack()

    def cancel(self) -> None:
        """End the operation; see the class."""
        self.end("cancelled")

    def end(self, reason: Reason) -> None:
        """End the operation for this reason."""
        with self._guard:
            self._reasons.append(reason)
            for listener in tuple(self._listeners):
                listener(reason)

    @property
    def reason(self) -> Reason | None:
        """Why the operation has to end; `None` while it goes on."""
        with self._guard:
            return self._reasons[0] if self._reasons else None

    @contextlib.contextmanager
    def heard_by(self, listener: Listener) -> Iterator[None]:
        """Call `listener` for each `end` within the block, in the thread that calls it, and at once for earlier ones.

        It must return soon and raise nothing.
        """
        with self._guard:
            self._listeners.append(listener)
            for reason in self._reasons:
                listener(reason)
        try:
            yield
        finally:
            with self._guard:
                self._listeners.remove(listener)

    @contextlib.contextmanager
    def ends_block(self) -> Iterator[None]:
        """Make this the cancellation of the block, which an outer one ends as well. Errors stay as they are."""
        outer = _current.get()
        with outer.heard_by(self.end) if outer is not None else contextlib.nullcontext():
            token = _current.set(self)
            try:
                yield
            finally:
                _current.reset(token)

    def __enter__(self) -> Self:
        self._blocks.enter_context(self.ends_block())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._blocks.close()
        if isinstance(error, CancellationError):
            raise CancelledError("the operation was cancelled") from error


_current: ContextVar[Cancellation | None] = ContextVar("cancellation", default=None)


def current() -> Cancellation | None:
    """Return the cancellation of this context; `None` if nothing but a signal can end it."""
    return _current.get()


def reason() -> Reason | None:
    """Return why this context's operation has to end; `None` while it goes on."""
    found = _current.get()
    return found.reason if found is not None else None


def check() -> None:
    """Raise `CancellationError` or `OutOfTimeError` if this context's operation has to end."""
    match reason():
        case "cancelled":
            raise CancellationError
        case "time":
            raise OutOfTimeError


# Where an argument has that name.
_check = check


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Hide the cancellation within the block, for clean-up that must come to its end."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


@contextlib.contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Call `listener` when this context's operation has to end; see `Cancellation.heard_by`."""
    found = _current.get()
    with found.heard_by(listener) if found is not None else contextlib.nullcontext():
        yield


def in_context(function: Callable[P, T]) -> Callable[P, T]:
    """Return the function with a copy of this context, to be called once, in another thread."""
    context = copy_context()

    def call(*arguments: P.args, **named: P.kwargs) -> T:
        return context.run(function, *arguments, **named)

    return call


@overload
def run(
    command: Command, *, text: Literal[True], timeout: float | None = None, check: bool = False, **options: Any
) -> subprocess.CompletedProcess[str]: ...


@overload
def run(
    command: Command, *, timeout: float | None = None, check: bool = False, **options: Any
) -> subprocess.CompletedProcess[bytes]: ...


def run(
    command: Command, *, timeout: float | None = None, check: bool = False, **options: Any
) -> subprocess.CompletedProcess[Any]:
    """Run a program as `subprocess.run` does. When the operation has to end, so does the program with all below it.

    It is interrupted first, and killed after five seconds; then `CancellationError` or `OutOfTimeError` is raised.
    """
    if _current.get() is None:
        return subprocess.run(command, timeout=timeout, check=check, **options)
    _check()
    given = options.pop("input", None)
    if options.pop("capture_output", False):
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if given is not None:
        options["stdin"] = subprocess.PIPE
    until = time.monotonic() + timeout if timeout is not None else None
    with subprocess.Popen(command, **options) as process:
        try:
            output, errors = _communicate(process, given, until)
        except subprocess.TimeoutExpired:
            _signal_all((process.pid, *descendants(process.pid)), signal.SIGKILL)
            assert timeout is not None
            raise subprocess.TimeoutExpired(process.args, timeout) from None
        except BaseException:
            _end(process)
            raise
    if check and process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args, output, errors)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def _communicate(process: subprocess.Popen[Any], given: Any, until: float | None) -> tuple[Any, Any]:
    while True:
        _check()
        left = _POLL_SECONDS if until is None else min(_POLL_SECONDS, max(until - time.monotonic(), 0.0))
        try:
            return process.communicate(given, timeout=left)
        except subprocess.TimeoutExpired:
            # What it was given is on its way; it must not be given again.
            given = None
            if until is not None and time.monotonic() >= until:
                raise


def _end(process: subprocess.Popen[Any]) -> None:
    """Interrupt a child that was not waited for yet and all processes below it; kill those that go on."""
    # Taken before: what loses its parent is not below the child any more.
    running = {pid: _started(pid) for pid in (process.pid, *descendants(process.pid))}
    _signal_all(running, signal.SIGINT)
    until = time.monotonic() + _GRACE_SECONDS
    while (running := {pid: began for pid, began in running.items() if began and _started(pid) == began}) and (
        time.monotonic() < until
    ):
        time.sleep(_LOOK_SECONDS)
    _signal_all(running, signal.SIGKILL)


def _signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    for each in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(each, number)


def _started(pid: int) -> str:
    """Return the start time of a process in ticks, which tells it from a later one; empty if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def descendants(ancestor: int, *, group: int | None = None) -> list[int]:
    """Return the PIDs of all processes below `ancestor`; with `group`, of those in this process group alone."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(ValueError, OSError, IndexError):
            pid = int(entry.name)
            _, parent, own_group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            if group is None or int(own_group) == group:
                parents[pid] = int(parent)
    return [pid for pid in parents if _is_below(pid, ancestor, parents)]


def _is_below(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    while (parent := parents.get(pid)) is not None:
        if parent == ancestor:
            return True
        pid = parent
    return False
