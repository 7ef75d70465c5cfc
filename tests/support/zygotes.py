"""The zygote of a run without importing the SDKs again: forked from a process that has them loaded.

Loading them takes a second of CPU time at each of the hundreds of runs that tests start. What is forked is a process
of its own, as one that is started anew: `zygote.main` runs in it with the run's environment, descriptors and directory.

A fork of the command line has a `Seed`, which it forks itself while it has no threads. A test that runs the engine in
its own process, which has threads, gets its zygotes from a `Nursery`.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import BinaryIO, NoReturn

from tests.support.forks import forked
from wecityctl.engine.workers import pool, zygote

# The commands that run the engine; others have no use for a seed, and forking one takes time.
COMMANDS = frozenset({"destroy", "preview", "promote", "refresh", "rollout", "secrets", "up"})


class Seed:
    """A process that waits to become a zygote: forked by the constructor, because later there are threads."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            _wait_to_become_one(theirs)
        theirs.close()
        self._socket = ours
        self._start_anew = pool.start_zygote
        self._code: int | None = None

    def start(self, preload: Sequence[str], control: socket.socket, errors: BinaryIO) -> pool.ZygoteProcess:
        """As `pool.start_zygote`, which does it where this is not the first zygote of the process."""
        if self._socket.fileno() < 0:
            return self._start_anew(preload, control, errors)
        with self._socket:
            socket.send_fds(self._socket, [_order(preload)], [control.fileno(), errors.fileno()])
        return self

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; raises `subprocess.TimeoutExpired` after `timeout` seconds."""
        if self._code is None:
            _wait_for(self.pid, timeout)
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code

    def kill(self) -> None:
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """End it if it was not used. One that was ends with its run."""
        if self._socket.fileno() >= 0:
            self._socket.close()
            self.wait()


class Nursery:
    """A process that forks zygotes for tests that run the engine in this process; it ends when this process does."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            subprocess.Popen(
                # Not told to end with its parent: for the kernel that is the thread which has started it.
                [sys.executable, "-m", "tests.support.zygotes", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                cwd=Path(__file__).parents[2],
                # Tests interrupt the group that this process is in.
                start_new_session=True,
            )
        self._socket = ours

    def start(self, preload: Sequence[str], control: socket.socket, errors: BinaryIO) -> pool.ZygoteProcess:
        """As `pool.start_zygote`."""
        with self._turn:
            socket.send_fds(self._socket, [_order(preload)], [control.fileno(), errors.fileno()])
            return Grown(int(self._socket.recv(64)))


class Grown:
    """A zygote that the nursery has forked. Its exit code is the nursery's; here it counts only that it ended."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def wait(self, timeout: float | None = None) -> int:
        """0 once it has ended; raises `subprocess.TimeoutExpired` after `timeout` seconds."""
        with contextlib.suppress(ProcessLookupError):
            _wait_for(self.pid, timeout)
        return 0

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


@cache
def nursery() -> Nursery:
    """One for the whole test run, begun at its first zygote."""
    return Nursery()


def _wait_for(pid: int, timeout: float | None) -> None:
    descriptor = os.pidfd_open(pid)
    try:
        if not select.select([descriptor], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("a forked zygote", timeout or 0.0)
    finally:
        os.close(descriptor)


def _order(preload: Sequence[str]) -> bytes:
    path = [each for each in sys.path if each]
    return json.dumps([list(preload), dict(os.environ), str(Path.cwd()), path]).encode(errors="surrogateescape")


def _tend(orders: socket.socket) -> None:
    """Load what every zygote does and, for each order, fork one, until the other side closes."""
    for name in (*zygote.ALWAYS, "tests.engine.programs"):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    # Nobody waits for them here.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in forked(orders, 2, _grow):
        pass


def _wait_to_become_one(orders: socket.socket) -> NoReturn:
    order, descriptors, _, _ = socket.recv_fds(orders, 1 << 20, 2)
    if not order:
        os._exit(0)
    _grow(order, descriptors)


def _grow(order: bytes, descriptors: Sequence[int]) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        _become(*json.loads(order.decode(errors="surrogateescape")), *descriptors)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(1 if sys.exc_info()[0] else 0)


def _become(
    preload: list[str], environment: dict[str, str], directory: str, path: list[str], control: int, errors: int
) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (errors, 1), (errors, 2)):
        os.dup2(source, target)
    for entry in list(Path("/proc/self/fd").iterdir()):
        if int(entry.name) not in (0, 1, 2, control):
            # The list's own descriptor is in the list.
            with contextlib.suppress(OSError):
                os.close(int(entry.name))
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    os.umask(pool.UMASK)
    sys.path[:] = path
    zygote.main([str(control), *preload])


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as _orders:
        _tend(_orders)
