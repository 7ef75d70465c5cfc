"""Executes readiness probes. Every probe ends in time and returns a reason instead of raising an exception.

A service that responds at all is alive, even if it says that it is not ready; one that does not respond is silent.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from wecityctl.local.proctable import is_stopped, start_time
from wecityctl.local.service import Probe
from wecityctl.local.supervisor.child import environment, exit_of, expand

_CLOSING_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a probe: why the service is not ready (empty: it is), and whether it responded at all."""

    reason: str = ""
    heard: bool = True

    @property
    def ready(self) -> bool:
        return not self.reason


READY = Answer()


async def ask(probe: Probe, *, started: float, pid_of: Callable[[str], int]) -> Answer:
    """Execute a probe; returns `READY`, or why the service is not ready. `started` is the process's start (epoch)."""
    try:
        async with asyncio.timeout(probe.timeout):
            return await _ask(probe, started, pid_of)
    except TimeoutError:
        return _silent(f"no answer in {probe.timeout:g} s")
    except (OSError, ValueError, asyncio.IncompleteReadError) as error:
        return _silent(str(error) or type(error).__name__)


def _silent(reason: str) -> Answer:
    return Answer(reason, heard=False)


async def _ask(probe: Probe, started: float, pid_of: Callable[[str], int]) -> Answer:
    if probe.kind == "file":
        return _look(Path(probe.target), started)
    if probe.kind == "process":
        return _see(Path(probe.target))
    if probe.kind == "exec":
        return await _run(expand(probe.argv, pid_of))
    if probe.kind == "socket":
        return await _say(probe)
    if probe.kind == "tcp":
        host, _, port = probe.target.rpartition(":")
        _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        await _close(writer)
        return READY
    return await _get(probe)


async def _say(probe: Probe) -> Answer:
    reader, writer = await asyncio.open_unix_connection(probe.target)
    try:
        if not probe.say:
            return READY
        writer.write(probe.say.encode("latin-1"))
        return READY if await reader.read(1) else _silent("the connection was closed without an answer")
    finally:
        await _close(writer)


async def _get(probe: Probe) -> Answer:
    parts = urlsplit(probe.target)
    secure = parts.scheme == "https"
    context = _context(probe.ca, probe.cert, probe.key) if secure else None
    port = parts.port or (443 if secure else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
        head = (await reader.readline()).decode(errors="replace").split(maxsplit=2)
        if len(head) < 2:
            return _silent("no HTTP answer")
        if probe.any_status or head[1].startswith("2"):
            return READY
        body = (await reader.read(2000)).decode(errors="replace").rpartition("\r\n\r\n")[2]
        failed = [line for line in body.splitlines() if line.startswith("[-]")]
        return Answer(f"HTTP {head[1]}" + (f": {'; '.join(failed)}" if failed else ""))
    finally:
        await _close(writer)


async def _run(argv: tuple[str, ...]) -> Answer:
    process = _start(argv)
    try:
        await exit_of(process)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return READY if process.returncode == 0 else _silent(f"{argv[0]} exited with code {process.returncode}")


def _start(argv: tuple[str, ...]) -> subprocess.Popen[bytes]:
    # asyncio's own subprocesses would start a thread per process on this Python version.
    null = subprocess.DEVNULL
    return subprocess.Popen(argv, env=environment({}), stdin=null, stdout=null, stderr=null)


def _look(path: Path, started: float) -> Answer:
    try:
        fresh = path.stat().st_mtime >= started - 1
    except FileNotFoundError:
        return _silent(f"{path} is not there")
    return READY if fresh else _silent(f"{path} is left over from before")


def _see(path: Path) -> Answer:
    pid = int(path.read_text())
    if is_stopped(pid):
        return _silent(f"process {pid} is stopped")
    return READY if start_time(pid) is not None else _silent(f"there is no process {pid}")


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close the connection without waiting half a minute for the TLS shutdown of a stopped process."""
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_CLOSING_SECONDS):
            await writer.wait_closed()
    writer.transport.abort()


@lru_cache(maxsize=16)
def _context(ca: str, cert: str, key: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca or None)
    if cert:
        context.load_cert_chain(cert, key)
    return context
