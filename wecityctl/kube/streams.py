"""Streamed responses: splits watches into events and followed logs into lines."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from wecityctl.kube.errors import Unreachable, from_status
from wecityctl.kube.requester import Call, Requester
from wecityctl.kube.resource import WatchEvent

# The server ends a watch by itself. If it does not, the connection counts as dead after these further seconds.
_GRACE_SECONDS = 30


async def watch_events(requester: Requester, call: Call, *, timeout_seconds: int) -> AsyncIterator[WatchEvent]:
    """The events of a watch until the server ends it or the connection breaks. Raises `Gone` and other API errors."""
    started = False
    try:
        async with requester.stream(call, idle_seconds=timeout_seconds + _GRACE_SECONDS) as response:
            started = True
            async for line in _lines(response.content.iter_any()):
                event = json.loads(line)
                kind, found = str(event.get("type")), event.get("object") or {}
                if kind == "ERROR":
                    raise from_status(int(found.get("code") or 500), found, what=f"watch {call.path}")
                yield WatchEvent(kind, found)
    except Unreachable:
        # A watch that breaks is resumed from the last version seen. One that never began is a connection error.
        if not started:
            raise


async def text_lines(requester: Requester, call: Call) -> AsyncIterator[str]:
    """The lines of a streamed text."""
    async with requester.stream(call, idle_seconds=None) as response:
        async for line in _lines(response.content.iter_any()):
            yield line.decode(errors="replace")


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    # aiohttp's readline rejects lines over 128 KiB, and the event of a Secret or ConfigMap may be a megabyte.
    rest: list[bytes] = []
    async for chunk in chunks:
        head, *more = chunk.split(b"\n")
        rest.append(head)
        for part in more:
            line = b"".join(rest)
            rest = [part]
            if line:
                yield line
    line = b"".join(rest)
    if line:
        yield line
