"""Processes that run the command line without importing it again: forked from one process that has it loaded.

Importing takes most of the time of a short command, and hundreds of tests run one. A fork is a process with streams,
environment, directory and exit code of its own, as one that is started anew; what depends on how Python itself starts
(encodings, standard streams that are closed, what is imported when) needs a new process.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NoReturn

from tests.support.processes import ENDING_WITH_PARENT

_LIBRARIES = ("ortools.sat.python.cp_model", "pulumi_kubernetes", "rich.console")
# Other people's programs and programs of images; what reads the environment when it is imported.
_NOT_OURS = ("wecityctl.toolchain.modules",)
_READS_THE_ENVIRONMENT = "typer.rich_utils"
# A variable whose value the kernel has as the name of a fork, and of what it forks: /proc/PID/environ, where one would
# look for it, has what the server was started with.
MARK = "WECITY_E2E"
NAME_LENGTH = 15
_PR_SET_NAME = 15


@cache
def shared() -> Forks:
    """One server for the whole test run; it ends with it."""
    return Forks()


class ServerEndedError(Exception):
    """The server of forks is no more."""


class Forks:
    """A running server of forks. One call at a time: others wait."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._start()

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = start("tests.support.forks", theirs)
        self._socket = ours

    def run(
        self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """`wecityctl ARGUMENTS`; raises subprocess.TimeoutExpired after `timeout` seconds, and the process is gone."""
        with (
            self._turn,
            tempfile.TemporaryFile() as given,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
        ):
            given.write(stdin.encode())
            given.seek(0)
            order = json.dumps([list(arguments), str(cwd), dict(env)]).encode(errors="surrogateescape")
            descriptors = array.array("i", [given.fileno(), out.fileno(), err.fileno()])
            try:
                pid = self._begin(order, descriptors)
            except (ServerEndedError, OSError) as error:
                # Nothing has run yet. Every later call would fail like this one.
                warnings.warn(f"the server of forks is started again: {error}", stacklevel=2)
                self._socket.close()
                self._process.kill()
                self._process.wait(30)
                self._start()
                pid = self._begin(order, descriptors)
            try:
                code = int(self._answer(timeout))
            except BaseException as error:
                os.kill(pid, signal.SIGKILL)
                self._answer(30)
                if isinstance(error, TimeoutError):
                    raise subprocess.TimeoutExpired(["wecityctl", *arguments], timeout) from None
                raise
            out.seek(0)
            err.seek(0)
            streams = out.read().decode("utf-8"), err.read().decode("utf-8")
        return subprocess.CompletedProcess(["wecityctl", *arguments], code, *streams)

    def _begin(self, order: bytes, descriptors: array.array[int]) -> int:
        """Have the server fork, and return the process."""
        self._socket.sendmsg([order], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
        # The first call waits until everything is loaded.
        return int(self._answer(180))

    def _answer(self, seconds: float) -> bytes:
        self._socket.settimeout(seconds)
        answer = self._socket.recv(64)
        if not answer:
            raise ServerEndedError(f"it ended with {self._process.wait()}")
        return answer

    def close(self) -> None:
        """End the server."""
        self._socket.close()
        self._process.wait(30)


def start(module: str, connection: socket.socket) -> subprocess.Popen[bytes]:
    """Start a server of forks: a module that gets the connection's number, and ends with this process."""
    # Libraries for arithmetic start threads when they are imported, and a process with threads is not forked.
    alone = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    started = _starter().submit(
        subprocess.Popen,
        [*ENDING_WITH_PARENT, sys.executable, "-m", module, str(connection.fileno())],
        pass_fds=(connection.fileno(),),
        stdin=subprocess.DEVNULL,
        env={**os.environ, **alone},
        cwd=Path(__file__).parents[2],
    )
    return started.result()


@cache
def _starter() -> ThreadPoolExecutor:
    """The thread that starts servers: for the kernel it is their parent, and it lives as long as this process."""
    return ThreadPoolExecutor(1)


def load() -> None:
    """Load the command line into this process, for it to be forked from now on."""
    import wecityctl
    from tests.support import keys
    from wecityctl.engine.workers.engine import PRELOADED

    programs = {name.removesuffix(".*") for name in PRELOADED}
    for name in (*_LIBRARIES, *_modules_below(wecityctl.__path__, "wecityctl."), *programs):
        importlib.import_module(name)
    assert _READS_THE_ENVIRONMENT not in sys.modules
    keys.share()
    # What is loaded is never collected, so forks go on sharing its memory.
    gc.freeze()


def serve(connection: socket.socket) -> None:
    """Load the command line, then answer calls until the other side closes."""
    load()
    for pid in forked(connection, 3, become):
        _, status = os.waitpid(pid, 0)
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def forked(orders: socket.socket, descriptors: int, child: Callable[[bytes, Sequence[int]], NoReturn]) -> Iterator[int]:
    """Fork a process that is `child` for each order and the descriptors with it, until the other side closes.

    Its process number is answered, and then yielded.
    """
    while True:
        order, given, _, _ = socket.recv_fds(orders, 1 << 20, descriptors)
        if not order:
            return
        pid = os.fork()
        if pid == 0:
            orders.close()
            child(order, given)
        for each in given:
            os.close(each)
        orders.send(str(pid).encode())
        yield pid


def _modules_below(places: Sequence[str], prefix: str) -> Iterator[str]:
    for each in pkgutil.iter_modules(places, prefix):
        if each.name.endswith(".__main__") or each.name in _NOT_OURS:
            continue
        yield each.name
        if each.ispkg:
            yield from _modules_below(importlib.import_module(each.name).__path__, f"{each.name}.")


def become(order: bytes, descriptors: Sequence[int]) -> NoReturn:
    """Be a new process of the program with these standard streams; does not return.

    `order` is JSON: the arguments, the directory, the environment.
    """
    from tests.support import zygotes
    from wecityctl.engine.workers import pool

    arguments, cwd, env = json.loads(order.decode(errors="surrogateescape"))
    code: object = 70
    seed = None
    try:
        for target, source in enumerate(descriptors):
            os.dup2(source, target)
            os.close(source)
        os.environ.clear()
        os.environ.update(env)
        os.chdir(cwd)
        if mark := env.get(MARK):
            ctypes.CDLL(None).prctl(_PR_SET_NAME, mark[:NAME_LENGTH].encode(), 0, 0, 0)
        if zygotes.COMMANDS & set(arguments[:1]):
            seed = zygotes.Seed()
            pool.start_zygote = seed.start
        sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        for number, name in ((1, "stdout"), (2, "stderr")):
            errors = "backslashreplace" if number == 2 else "strict"
            stream = open(number, "w", encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        sys.argv = ["wecityctl", *arguments]
        from wecityctl.entry import main

        main()
    except SystemExit as end:
        code = end.code
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        with contextlib.suppress(OSError):
            if seed is not None:
                seed.close()
        # As the interpreter ends, without the server's own cleaning up.
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as _connection:
        serve(_connection)
