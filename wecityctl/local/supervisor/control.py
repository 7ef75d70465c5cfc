"""The supervisor's control socket: one JSON object per line as request, one or more as response.

{"do": "status", "probe": true}  → {"services": […], …}
{"do": "apply", "services": […]} → {"touched": […]}
{"do": "wait", "seconds": 60}    → {"event": …} lines, last {"event": "end", "result": "ready" | "failed" | "timeout"}
{"do": "stop"}                   → {"event": …} lines, last {"event": "end", "result": "stopped"}
Any error                        → {"error": "…"}
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from wecityctl.local.service import Service
from wecityctl.local.supervisor.core import Supervisor, check_services

# Increase it when a request or response changes; a supervisor with another version is stopped and replaced.
PROTOCOL = 2
_LINE_LIMIT = 4 * 1024 * 1024


class Control:
    """Serves the socket `path` until a stop is requested."""

    def __init__(self, supervisor: Supervisor, path: Path) -> None:
        self._supervisor = supervisor
        self._path = path
        self._began = time.time()
        self._stopping = asyncio.Event()
        self._served: set[asyncio.Task[None]] = set()

    async def serve(self) -> asyncio.Server:
        """Start listening on the socket (0600); replaces a stale one."""
        self._path.unlink(missing_ok=True)
        previous = os.umask(0o177)
        try:
            return await asyncio.start_unix_server(self._connected, path=str(self._path), limit=_LINE_LIMIT)
        finally:
            os.umask(previous)

    def request_stop(self) -> None:
        """Request a stop, like the request `stop`; for signal handlers."""
        self._stopping.set()

    async def stopped(self) -> None:
        """Wait until a stop is requested."""
        await self._stopping.wait()

    async def finish(self) -> None:
        """Let the responses to a stop be delivered."""
        if self._served:
            await asyncio.wait(self._served, timeout=2)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._served.add(task)
        try:
            with contextlib.suppress(ConnectionError):
                while line := await reader.readline():
                    await self._answer(line, writer)
        finally:
            self._served.discard(task)
            writer.close()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            request = json.loads(line)
            what = request["do"]
            if what == "status":
                await _send(writer, await self._status(probe=bool(request.get("probe"))))
            elif what == "apply":
                services = tuple(Service.from_json(each) for each in request["services"])
                check_services(services)
                await _send(writer, {"touched": await self._supervisor.apply(services)})
            elif what == "wait":
                await self._wait(float(request["seconds"]), writer)
            elif what == "stop":
                await self._stop(writer)
            else:
                await _send(writer, {"error": f"there is no request {what!r}"})
        except (ValueError, KeyError, TypeError) as error:
            await _send(writer, {"error": f"{type(error).__name__}: {error}"})

    async def _status(self, *, probe: bool) -> dict[str, Any]:
        if probe:
            await self._supervisor.probe()
        services = self._supervisor.describe()
        return {"protocol": PROTOCOL, "pid": os.getpid(), "since": self._began, "services": services}

    async def _wait(self, seconds: float, writer: asyncio.StreamWriter) -> None:
        deadline = time.monotonic() + seconds
        # A ready service may have stopped responding since the last probe.
        await self._supervisor.probe()
        with self._supervisor.listen() as events:
            for each in self._supervisor.describe():
                await _send(writer, {"event": "service", **each})
            while not (result := self._supervisor.outcome()):
                left = deadline - time.monotonic()
                if left <= 0 or self._stopping.is_set():
                    break
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left, 1.0)):
                        event = await events.get()
                    await _send(writer, event)
            while not events.empty():
                await _send(writer, events.get_nowait())
            await _send(writer, {"event": "end", "result": result or "timeout"})

    async def _stop(self, writer: asyncio.StreamWriter) -> None:
        with self._supervisor.listen() as events:
            stop = asyncio.create_task(self._supervisor.stop())
            while not (stop.done() and events.empty()):
                with contextlib.suppress(TimeoutError, ConnectionError):
                    async with asyncio.timeout(0.1):
                        event = await events.get()
                    await _send(writer, event)
            await stop
        self._stopping.set()
        await _send(writer, {"event": "end", "result": "stopped"})


async def _send(writer: asyncio.StreamWriter, value: dict[str, Any]) -> None:
    writer.write(json.dumps(value).encode() + b"\n")
    await writer.drain()
