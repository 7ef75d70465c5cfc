"""Many stacks recorded on all processors: stacks that do not need each other are shared among forked processes.

The SDK keeps a stack's run in globals of the process and takes some two milliseconds of a processor for a resource, so
more processes are the only way to be done sooner. Few stacks are recorded here: a fork is not worth it.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, Pipe

from wecityctl.engine.sdk.recorder import SDK_LOCK, record
from wecityctl.errors import WecityError
from wecityctl.inputs import StackInputs
from wecityctl.resource_graph import Recording

# Below this, starting processes and bringing their answers back takes as long as it spares.
WORTH_IT = 8
MOST = 8
# The largest city takes minutes.
RECORDING_SECONDS = 3600.0

Outcome = Recording | Exception


def record_each(
    inputs: Sequence[StackInputs], record_one: Callable[[StackInputs], Recording] = record
) -> list[Outcome]:
    """What comes of each of `inputs`, none of which needs another's outputs: its recording, or its error."""
    with SDK_LOCK, _no_collector():
        return _record_each(inputs, record_one)


def _record_each(inputs: Sequence[StackInputs], record_one: Callable[[StackInputs], Recording]) -> list[Outcome]:
    count = min(MOST, _processors(), len(inputs) // WORTH_IT)
    if threading.current_thread() is not threading.main_thread():
        # The copy of a process has none of its other threads, and what one of these holds nobody would give back.
        count = 1
    if count < 2:
        return [_outcome(one, record_one) for one in inputs]
    children = [_fork(inputs[number::count], record_one) for number in range(1, count)]
    found: list[Outcome | None] = [None] * len(inputs)
    found[0::count] = [_outcome(one, record_one) for one in inputs[0::count]]
    for number, (child, connection) in enumerate(children, start=1):
        found[number::count] = _collect(child, connection, inputs[number::count])
    return [outcome for outcome in found if outcome is not None]


@contextmanager
def _no_collector() -> Iterator[None]:
    """The SDK makes objects by the million and few circles; looking for those takes a fifth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _processors() -> int:
    """Those that this process may use, which in a container are not all of the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _outcome(inputs: StackInputs, record_one: Callable[[StackInputs], Recording]) -> Outcome:
    try:
        return record_one(inputs)
    except Exception as error:
        return error


def _fork(share: Sequence[StackInputs], record_one: Callable[[StackInputs], Recording]) -> tuple[int, Connection]:
    """A process that records a share and sends what came of it. It has all it needs by being a copy of this one."""
    ours, theirs = Pipe(duplex=False)
    child = os.fork()
    if child:
        theirs.close()
        return child, ours
    code = 1
    try:
        ours.close()
        theirs.send_bytes(pickle.dumps([_portable(_outcome(one, record_one)) for one in share]))
        code = 0
    finally:
        # Nothing of this process's own ending is the copy's: no handlers, no buffers, no threads.
        os._exit(code)


def _portable(outcome: Outcome) -> Outcome:
    """An outcome that can be sent: an error that cannot is told in its words."""
    if isinstance(outcome, Recording):
        return outcome
    try:
        pickle.loads(pickle.dumps(outcome))  # noqa: S301 - our own bytes
    except Exception:
        return RuntimeError(f"{type(outcome).__name__}: {outcome}")
    return outcome


def _collect(child: int, connection: Connection, share: Sequence[StackInputs]) -> list[Outcome]:
    try:
        if not connection.poll(RECORDING_SECONDS):
            os.kill(child, signal.SIGKILL)
        found: list[Outcome] = pickle.loads(connection.recv_bytes())  # noqa: S301 - our own child's bytes
    except (EOFError, OSError):
        found = [WecityError(f"the process that recorded stack {one.stack.name} has died") for one in share]
    finally:
        connection.close()
        os.waitpid(child, 0)
    return found
