"""Records many independent stacks on all processors, in forked processes.

The SDK keeps a stack's run in process globals and needs about 2 ms of CPU time per resource, so only more processes
make it faster. A few stacks are recorded in this process, because a fork is not worth it.
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
from wecityctl.event_loops import outside_loop
from wecityctl.inputs import StackInputs
from wecityctl.resource_graph import Recording

# Below this number of stacks, starting processes and returning their results takes as long as it saves.
WORTH_IT = 8
MOST = 8
# The largest city takes minutes.
RECORDING_SECONDS = 3600.0

Outcome = Recording | Exception


def record_each(
    inputs: Sequence[StackInputs], record_one: Callable[[StackInputs], Recording] = record
) -> list[Outcome]:
    """Return for each of `inputs` its recording or its error. None of them may need the outputs of another."""

    def record_all() -> list[Outcome]:
        with SDK_LOCK, _no_collector():
            return _record_each(inputs, record_one)

    # A thread that waits for another one must not hold the lock that the other one needs.
    return outside_loop(record_all)


def _record_each(inputs: Sequence[StackInputs], record_one: Callable[[StackInputs], Recording]) -> list[Outcome]:
    count = min(MOST, _processors(), len(inputs) // WORTH_IT)
    if threading.current_thread() is not threading.main_thread():
        # A forked copy lacks the other threads, so a lock that one of them holds would never be released.
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
    """Disable garbage collection in the block: the SDK creates millions of objects with few cycles, and it costs 20 %
    of time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _processors() -> int:
    """Return the number of processors available to this process; in a container that may be fewer
    than the machine has.
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _outcome(inputs: StackInputs, record_one: Callable[[StackInputs], Recording]) -> Outcome:
    try:
        return record_one(inputs)
    except Exception as error:
        return error


def _fork(share: Sequence[StackInputs], record_one: Callable[[StackInputs], Recording]) -> tuple[int, Connection]:
    """Fork a process that records a share and sends the outcomes; return its PID and the connection."""
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
        # Exit without this process's handlers, buffers and threads.
        os._exit(code)


def _portable(outcome: Outcome) -> Outcome:
    """Return an outcome that can be pickled; other errors are replaced by their text."""
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
