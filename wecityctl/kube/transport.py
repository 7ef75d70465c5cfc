"""Connections: one aiohttp session per TLS material and identity, shared by every client of the process.

Credentials are in `credentials`, retries in `requester`, and `transport_errors` interprets failures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from weakref import WeakMethod

import aiohttp

from wecityctl.kube.config import Access
from wecityctl.kube.credentials import Credentials, Login
from wecityctl.kube.tls import TlsMaterial, make_context

CONNECT_SECONDS = 10.0
IDLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Sessions:
    """The two sessions of one TLS identity."""

    requests: aiohttp.ClientSession
    streams: aiohttp.ClientSession

    async def aclose(self) -> None:
        """Close both."""
        await self.requests.close()
        await self.streams.close()


class HttpPool:
    """The process's connections to API servers: an async context manager, to be used in one event loop.

    Requests share at most `limit` connections per API server and identity. Watches and log streams have connections of
    their own, so that many watches cannot block requests.
    """

    def __init__(self, *, limit: int = 32) -> None:
        self._limit = limit
        self._sessions: dict[TlsMaterial, Sessions] = {}
        self._closing: list[WeakMethod[Callable[[], Awaitable[None]]]] = []
        self._credentials: dict[Access, Credentials] = {}
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def credentials(self, access: Access) -> Credentials:
        """The credentials of `access`, shared so that an exec plug-in runs once for all clients."""
        found = self._credentials.get(access)
        if found is None:
            found = self._credentials[access] = Credentials(access)
        return found

    def sessions(self, access: Access, login: Login) -> Sessions:
        """The sessions for that server and login, created on first use.

        Raises `CancelledError` once the pool is closed: connections of a later request would never be closed.
        """
        if self._is_closed:
            raise asyncio.CancelledError
        material = TlsMaterial(access.ca_data, access.insecure, login.cert, login.key)
        found = self._sessions.get(material)
        if found is None:
            found = self._sessions[material] = self._open(material)
        return found

    def on_close(self, closing: Callable[[], Awaitable[None]]) -> None:
        """Register `closing` (a bound method, held weakly) to be awaited before the connections are closed."""
        self._closing.append(WeakMethod(closing))

    async def aclose(self) -> None:
        """End the clients' watches and close every connection."""
        self._is_closed = True
        closing, self._closing = self._closing, []
        for reference in closing:
            method = reference()
            if method is not None:
                await method()
        sessions, self._sessions = list(self._sessions.values()), {}
        for each in sessions:
            await each.aclose()

    def _open(self, material: TlsMaterial) -> Sessions:
        context = make_context(material)

        def session(limit: int) -> aiohttp.ClientSession:
            connector = aiohttp.TCPConnector(
                ssl=context,
                limit=0,
                limit_per_host=limit,
                keepalive_timeout=IDLE_SECONDS,
                # asyncio's "happy eyeballs" cost a task per connection; API servers are single addresses or names.
                ttl_dns_cache=10,
            )
            return aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=True,
            )

        return Sessions(session(self._limit), session(0))
