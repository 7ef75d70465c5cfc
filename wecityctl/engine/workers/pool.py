"""Starts the zygote and requests processes from it: workers, the provider's host, the state service."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from functools import cached_property
from multiprocessing.connection import Connection
from pathlib import Path
from typing import BinaryIO, Protocol

from wecityctl.engine.process.ipc import pair
from wecityctl.errors import WecityError

END_SECONDS = 5.0
START_SECONDS = 60.0
UMASK = 0o077


class ZygoteProcess(Protocol):
    """What is needed of the started zygote; a `subprocess.Popen` has it."""

    @property
    def pid(self) -> int: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def kill(self) -> None: ...


def start_zygote(preload: Sequence[str], control: socket.socket, errors: BinaryIO) -> ZygoteProcess:
    """Start a zygote that loads the modules `preload`, gets its requests from `control` and writes to `errors`."""
    environment = dict(os.environ)
    # The new process must import the same modules as this one: from a wheel, a checkout, or a test's directory.
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "wecityctl.engine.workers.zygote", str(control.fileno()), *preload],
        pass_fds=[control.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=errors,
        stderr=errors,
        env=environment,
        umask=UMASK,
    )


class Pool:
    """The zygote of one run. `close` ends it and all processes that it has started."""

    def __init__(self, preload: Sequence[str], log: Path) -> None:
        self._log = log
        self._control, theirs = socket.socketpair()
        self._control.settimeout(START_SECONDS)
        with theirs, log.open("wb") as errors:
            self._process = start_zygote(preload, theirs, errors)

    def spawn(self, module: str) -> Connection:
        """Start a process that runs `module.main(descriptor)`; return the connection to it."""
        connection, theirs = pair()
        try:
            socket.send_fds(self._control, [module.encode()], [theirs.fileno()])
        except OSError as error:
            raise WecityError("the engine's process server has died", details=self.last_words()) from error
        finally:
            theirs.close()
        return connection

    @cached_property
    def unguarded(self) -> str:
        """Why other users of this machine can connect to the run's ports; empty if they cannot."""
        said = b""
        with contextlib.suppress(OSError):
            while not said.endswith(b"\n") and (chunk := self._control.recv(1024)):
                said += chunk
        # If the zygote has died, the next `spawn` reports that.
        return said.decode(errors="replace").strip()

    @property
    def pid(self) -> int:
        return self._process.pid

    def last_words(self) -> str:
        """Return the last output of the processes on stderr, such as a traceback."""
        with contextlib.suppress(OSError):
            return self._log.read_text(errors="replace")[-4000:].strip()
        return ""

    def close(self) -> None:
        """End the zygote and all its children."""
        self._control.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
