"""Asking a service whether it is ready. Every probe ends in time and answers with a reason, never with an exception."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from wecityctl.local.service import Probe
from wecityctl.local.supervisor.child import environment, exit_of, expand

READY = ""


async def ask(probe: Probe, *, started: float, pid_of: Callable[[str], int]) -> str:
    """`READY`, or why the service is not ready yet. `started` is the epoch of the process's start."""
    try:
        return await asyncio.wait_for(_ask(probe, started, pid_of), probe.timeout)
    except TimeoutError:
        return f"no answer in {probe.timeout:g} s"
    except (OSError, ValueError, asyncio.IncompleteReadError) as error:
        return str(error) or type(error).__name__


async def _ask(probe: Probe, started: float, pid_of: Callable[[str], int]) -> str:
    if probe.kind == "file":
        return _look(Path(probe.target), started)
    if probe.kind == "exec":
        return await _run(expand(probe.argv, pid_of))
    if probe.kind == "socket":
        _, writer = await asyncio.open_unix_connection(probe.target)
    elif probe.kind == "tcp":
        host, _, port = probe.target.rpartition(":")
        _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    else:
        return await _get(probe)
    await _close(writer)
    return READY


async def _get(probe: Probe) -> str:
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
            return "no HTTP answer"
        if head[1].startswith("2"):
            return READY
        body = (await reader.read(2000)).decode(errors="replace").rpartition("\r\n\r\n")[2]
        failed = [line for line in body.splitlines() if line.startswith("[-]")]
        return f"HTTP {head[1]}" + (f": {'; '.join(failed)}" if failed else "")
    finally:
        await _close(writer)


async def _run(argv: tuple[str, ...]) -> str:
    process = _start(argv)
    try:
        await exit_of(process)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return READY if process.returncode == 0 else f"{argv[0]} exited with code {process.returncode}"


def _start(argv: tuple[str, ...]) -> subprocess.Popen[bytes]:
    # asyncio's own subprocesses would start a thread per process on this Python.
    null = subprocess.DEVNULL
    return subprocess.Popen(argv, env=environment({}), stdin=null, stdout=null, stderr=null)


def _look(path: Path, started: float) -> str:
    try:
        fresh = path.stat().st_mtime >= started - 1
    except FileNotFoundError:
        return f"{path} is not there yet"
    return READY if fresh else f"{path} is left over from before"


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@lru_cache(maxsize=16)
def _context(ca: str, cert: str, key: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca or None)
    if cert:
        context.load_cert_chain(cert, key)
    return context
