"""Connections: one aiohttp session per set of TLS material and proxy, shared by every client of the process.

Leaves credentials in headers to `credentials`, retries and errors to `client`.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self


class HttpPool:
    """The process's connections to API servers. Use it with `async with`; it must be used in one event loop.

    Requests share at most `limit` connections per API server and identity; watches and log streams have their own,
    so that a hundred waiters never starve the requests they wait for.
    """

    def __init__(self, *, limit: int = 32) -> None:
        self._limit = limit

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        raise NotImplementedError
