"""Starts one process of a service, detects its end, and ends its process group."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from wecityctl.local import logs
from wecityctl.local.proctable import Identity
from wecityctl.local.service import Service

_PLACEHOLDER = re.compile(r"\{pid:([^}]+)\}")
_PR_SET_PDEATHSIG = 1
_INHERITED = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "TZ", "GOGC")
_POLL_SECONDS = 0.2


def expand(argv: tuple[str, ...], pid_of: Callable[[str], int]) -> tuple[str, ...]:
    """`argv` with `{pid:NAME}` replaced by PIDs."""
    return tuple(_PLACEHOLDER.sub(lambda match: str(pid_of(match[1])), each) for each in argv)


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process: a few harmless variables and those of the service."""
    base = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **base, **extra}


class Child:
    """A running process, the leader of its own session and process group, with its log."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, log_start: int) -> None:
        self._process = process
        self._log = log
        self._log_start = log_start
        self.identity = Identity.of(process.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    @classmethod
    def spawn(cls, service: Service, argv: tuple[str, ...], log: Path) -> Child:
        """Start the service's process. Raises OSError if that fails."""
        descriptor = logs.open_log(log)
        start = logs.size(log)
        try:
            process = subprocess.Popen(
                argv,
                cwd=service.cwd,
                env=environment(service.env),
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
                # Safe here, because the supervisor has only one thread.
                preexec_fn=_bind_to_parent(service.parent_death),
            )
        finally:
            os.close(descriptor)
        return cls(process, log, start)

    async def wait(self) -> str:
        """Wait for the end of the process; returns a description of how it ended."""
        await exit_of(self._process)
        code = self._process.returncode
        if code >= 0:
            return f"exited with code {code}"
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
        return f"killed by signal {-code}"

    async def end(self, number: int, grace: float) -> None:
        """Signal the group, wait up to `grace` seconds for the leader, then kill the rest of the group."""
        if self._process.poll() is None:
            self._signal_group(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await exit_of(self._process)
        self._signal_group(signal.SIGKILL)
        await exit_of(self._process)

    def kill_rest(self) -> None:
        """Kill what the process left behind in its group."""
        self._signal_group(signal.SIGKILL)

    def last_lines(self) -> tuple[str, ...]:
        """The last relevant lines that this process wrote to the log."""
        return logs.tail(self._log, since=self._log_start)

    def _signal_group(self, number: int) -> None:
        # The ID of the group is not reused while a member exists.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def _bind_to_parent(number: int) -> Callable[[], None]:
    libc = ctypes.CDLL(None) if os.uname().sysname == "Linux" else None
    parent = os.getpid()

    def prepare() -> None:
        os.umask(0o022)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if libc is not None and number:
            libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
            if os.getppid() != parent:
                # The supervisor died between fork and prctl, so this process would never be signalled.
                os._exit(125)

    return prepare


async def exit_of(process: subprocess.Popen[bytes]) -> None:
    """Return when `process` has ended and was reaped."""
    if process.poll() is not None:
        return
    if not hasattr(os, "pidfd_open"):
        while process.poll() is None:  # noqa: ASYNC110 - nothing signals it where there are no pidfds
            await asyncio.sleep(_POLL_SECONDS)
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    descriptor = os.pidfd_open(process.pid)
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    process.wait()
