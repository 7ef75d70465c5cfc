"""The agent's Unix socket: one question per connection, one line in each direction. The agent computes the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

_LONGEST_WAIT = 30.0


class Control:
    """The control socket. It accepts connections after `open`, by which a supervisor sees that the agent is ready."""

    def __init__(self, path: Path, answer: Callable[[str], Awaitable[str]]) -> None:
        self._path = path
        self._answer = answer
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Start listening; replaces the socket of an agent that was killed."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self._path)
        self._path.chmod(0o600)

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(TimeoutError, ConnectionError, ValueError, UnicodeDecodeError):
                async with asyncio.timeout(_LONGEST_WAIT):
                    question = (await reader.readline()).decode().strip()
                    answer = await self._answer(question) if question else ""
                    writer.write(answer.encode() + b"\n" if answer else b"")
                    await writer.drain()
        finally:
            writer.close()
