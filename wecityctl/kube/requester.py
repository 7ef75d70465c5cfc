"""Sends one HTTP request to the API server and retries it: throttling, restarts, broken connections, expired logins.

Handles methods, paths and bytes; `client` handles objects.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp
from yarl import URL

from wecityctl.kube.config import Access
from wecityctl.kube.credentials import Login
from wecityctl.kube.errors import ApiError, Conflict, Unauthorized, Unreachable, from_status, no_api_server
from wecityctl.kube.proxies import is_loopback
from wecityctl.kube.tls import TlsMaterial, expired_on, handshake_alert, make_context
from wecityctl.kube.transport import CONNECT_SECONDS, HttpPool
from wecityctl.kube.transport_errors import Failure, classify, client_certificate_expired

WarningEmit = Callable[[str], None]

APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
_WARNING = re.compile(r'\d{3} \S+ "((?:[^"\\]|\\.)*)"')
_INTERNAL_ERROR_TRIES = 3
BODY_SECONDS = 120.0
_CONFLICT_TRIES = 8
_PING_SECONDS, _CLOSE_SECONDS = 30.0, 2.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long a request is retried while the API server throttles, restarts or cannot be reached.

    `first_contact_seconds` is the limit until the server has answered this client once, so that a wrong address is
    reported soon.
    """

    total_seconds: float = 60.0
    first_contact_seconds: float = 5.0
    first_delay: float = 0.1
    max_delay: float = 5.0


@dataclass(frozen=True, slots=True)
class Call:
    """A request to send."""

    method: str
    path: str
    query: Mapping[str, str] | Sequence[tuple[str, str]] | None = None
    body: bytes | None = None
    content_type: str = "application/json"
    accept: str = "application/json"
    # Whether a 409 is a race that a retry can win, as for an apply without a resourceVersion.
    conflict_passes: bool = False

    @property
    def idempotent(self) -> bool:
        """Whether sending it twice is safe."""
        return self.method != "POST" and self.content_type != JSON_PATCH

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


class Requester:
    """Sends calls to one API server as one user."""

    def __init__(
        self, access: Access, pool: HttpPool, *, user_agent: str, retry: RetryPolicy, on_warning: WarningEmit | None
    ) -> None:
        self._access = access
        self._pool = pool
        self._credentials = pool.credentials(access)
        self._retry = retry
        self._on_warning = on_warning
        self._reached = False
        self._probed = False
        self._headers = [("User-Agent", user_agent)]
        if is_loopback(urlsplit(access.server).hostname or ""):
            # On a loopback connection, compression costs more than it saves.
            self._headers.append(("Accept-Encoding", "identity"))

    async def send(
        self,
        call: Call,
        *,
        attempt_seconds: float = 60.0,
        retry_seconds: float | None = None,
        on_warning: WarningEmit | None = None,
        text: bool = False,
    ) -> Any:
        """The decoded JSON answer (or its text), after as many attempts as the policy allows."""
        attempts = _Attempts(self._retry, retry_seconds)
        renewed = False
        while True:
            login = await self._credentials.current()
            try:
                async with self._exchange(call, login, attempt_seconds, stream=False) as response:
                    # sock_read never expires while single bytes keep arriving.
                    async with asyncio.timeout(BODY_SECONDS):
                        data = await response.read()
            except (aiohttp.ClientError, OSError) as error:
                failure = await self._look_into(classify(error, self._access, login), login)
                if not failure.passing or (failure.sent and not call.idempotent):
                    raise failure.error from error
                if not await attempts.again(reached=self._reached):
                    raise failure.error from error
                continue
            self._reached = True
            if 300 <= response.status < 400:
                raise self._no_api_server(response)
            if response.status < 400:
                _warn(response, on_warning or self._on_warning)
                return data.decode(errors="replace") if text else self._decode(data, response)
            refusal = self._refusal(response, data, call, login)
            if response.status == 401 and not renewed and await self._credentials.renew(login):
                renewed = True
                continue
            if not await attempts.again_after(refusal, call, response.headers.get("Retry-After")):
                raise refusal

    @asynccontextmanager
    async def stream(self, call: Call, *, idle_seconds: float | None) -> AsyncIterator[aiohttp.ClientResponse]:
        """An open response, to be read as it arrives. One attempt, except when credentials are renewed."""
        login = await self._credentials.current()
        for last in (False, True):
            try:
                async with self._exchange(call, login, idle_seconds, stream=True) as response:
                    self._reached = True
                    if response.status < 400:
                        yield response
                        return
                    refusal = self._refusal(response, await response.read(), call, login)
            except (aiohttp.ClientError, OSError) as error:
                raise classify(error, self._access, login).error from error
            if last or refusal.status != 401 or not await self._credentials.renew(login):
                raise refusal
            login = await self._credentials.current()

    @asynccontextmanager
    async def websocket(
        self, call: Call, protocols: Sequence[str], *, seconds: float = 30.0
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """An open WebSocket that speaks one of `protocols`. One attempt, except when credentials are renewed.

        `seconds` is the time limit of the handshake. Raises the classes of `errors`.
        """
        session, socket = await self._upgrade(call, protocols, seconds)
        async with session, socket:
            yield socket

    async def _upgrade(
        self, call: Call, protocols: Sequence[str], seconds: float
    ) -> tuple[aiohttp.ClientSession, aiohttp.ClientWebSocketResponse]:
        login = await self._credentials.current()
        for last in (False, True):
            session = self._upgrading(call, login)
            try:
                async with asyncio.timeout(seconds):
                    socket = await session.ws_connect(
                        URL(self._access.server + call.target, encoded=True),
                        protocols=protocols,
                        headers=[*self._headers, *login.headers],
                        proxy=self._access.proxy_url or None,
                        server_hostname=self._access.tls_server_name or None,
                        heartbeat=_PING_SECONDS,
                        timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS),
                        max_msg_size=0,
                    )
                self._reached = True
                return session, socket
            except BaseException as error:
                await session.close()
                if isinstance(error, aiohttp.ClientError | OSError):
                    raise classify(error, self._access, login).error from error
                is_stale = isinstance(error, ApiError) and error.status == 401
                if last or not is_stale or not await self._credentials.renew(login):
                    raise
            login = await self._credentials.current()
        raise AssertionError("the second attempt returns or raises")

    def _upgrading(self, call: Call, login: Login) -> aiohttp.ClientSession:
        """A session that raises the server's refusal of a handshake; aiohttp itself would drop its text."""

        async def refuse(response: aiohttp.ClientResponse) -> None:
            if response.status >= 400:
                raise self._refusal(response, await response.read(), call, login)

        return aiohttp.ClientSession(
            connector=self._pool.sessions(self._access, login).streams.connector,
            connector_owner=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            raise_for_status=refuse,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        )

    @asynccontextmanager
    async def _exchange(
        self, call: Call, login: Login, seconds: float | None, *, stream: bool
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        access = self._access
        sessions = self._pool.sessions(access, login)
        headers = [*self._headers, ("Accept", call.accept), *login.headers]
        if call.body is not None:
            headers.append(("Content-Type", call.content_type))
        async with (sessions.streams if stream else sessions.requests).request(
            call.method,
            URL(access.server + call.target, encoded=True),
            data=call.body,
            headers=headers,
            proxy=access.proxy_url or None,
            server_hostname=access.tls_server_name or None,
            # No total timeout: with hundreds of concurrent calls it would include the time spent queueing for a
            # connection.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=seconds),
            allow_redirects=False,
        ) as response:
            yield response

    async def _look_into(self, failure: Failure, login: Login) -> Failure:
        """Find the TLS alert behind a dropped connection, if the server has not answered this client yet."""
        access = self._access
        parts = urlsplit(access.server)
        first_drop = failure.error.why == "reset" and not self._reached and not self._probed
        if not first_drop or parts.scheme != "https" or access.proxy_url:
            return failure
        self._probed = True
        context = make_context(TlsMaterial(access.ca_data, access.insecure, login.cert, login.key))
        host = parts.hostname or ""
        name = access.tls_server_name or host
        alert = await asyncio.to_thread(handshake_alert, context, (host, parts.port or 443), name)
        if alert is not None:
            return classify(alert, access, login)
        expired = client_certificate_expired(failure.error, access, login)
        return Failure(expired, sent=True, passing=False) if expired is not None else failure

    def _decode(self, data: bytes, response: aiohttp.ClientResponse) -> Any:
        try:
            return json.loads(data) if data else {}
        except ValueError as error:
            raise self._no_api_server(response) from error

    def _no_api_server(self, response: aiohttp.ClientResponse) -> Unreachable:
        # A redirect leads to a sign-in page: API servers send none.
        location = response.headers.get("Location", "")
        to = f", redirects to {location}" if location else ""
        return no_api_server(self._access.server, f"status {response.status}, content type {response.content_type}{to}")

    def _refusal(self, response: aiohttp.ClientResponse, data: bytes, call: Call, login: Login) -> ApiError:
        try:
            body = json.loads(data)
        except ValueError:
            body = data.decode(errors="replace")
        if not isinstance(body, dict):
            body = str(body)
        error = from_status(response.status, body, what=f"{call.method} {call.path}", server=self._access.server)
        if isinstance(error, Unauthorized):
            return self._unauthorized(error, login)
        return error

    def _unauthorized(self, error: Unauthorized, login: Login) -> Unauthorized:
        expired = expired_on(login.cert)
        if expired is not None:
            error.message = f"the client certificate expired on {expired:%Y-%m-%d %H:%M} UTC"
            error.resolution = "fetch the cluster's kubeconfig again, or renew its client certificate"
        else:
            # Without a body from the API, the message would only repeat the server.
            why = f": {error.message}" if error.body else ""
            error.message = f"{self._access.server} does not accept these credentials{why}"
            error.resolution = "check the user of the kubeconfig's context, or fetch the kubeconfig again"
        error.args = (error.message,)
        return error


class _Attempts:
    """The retry budget of one call."""

    def __init__(self, policy: RetryPolicy, total: float | None) -> None:
        self._policy = policy
        self._total = policy.total_seconds if total is None else total
        self._began = time.monotonic()
        self._delay = policy.first_delay
        self._internal_errors = 0
        self._conflicts = 0

    async def again(self, *, reached: bool, after: float = 0.0) -> bool:
        """Sleep before the next attempt. Returns False when the budget is used up."""
        limit = self._total if reached else min(self._total, self._policy.first_contact_seconds)
        # Random jitter: hundreds of calls that were rejected together must not return together.
        pause = max(self._delay, after) * random.uniform(1.0, 1.25)  # noqa: S311 - not for secrets
        if time.monotonic() - self._began + pause > limit:
            return False
        await asyncio.sleep(pause)
        self._delay = min(self._delay * 2, self._policy.max_delay)
        return True

    async def again_after(self, error: ApiError, call: Call, header: str | None) -> bool:
        """Like `again`, after an error of the API server. Returns False if that error is not retried."""
        asked = float(header) if header and header.isdigit() else error.retry_after
        if not self._passing(error, call, asked is not None):
            return False
        return await self.again(reached=True, after=asked or 0.0)

    def _passing(self, error: ApiError, call: Call, asked: bool) -> bool:
        if error.status == 409:
            self._conflicts += 1
            if isinstance(error, Conflict) and error.conflicts:
                return False
            # A quota's counter can conflict inside the server, whatever the call.
            return (call.conflict_passes or error.kind == "resourcequotas") and self._conflicts < _CONFLICT_TRIES
        if error.status == 429:
            # 429 on an eviction comes from a disruption budget; it is not throttling.
            return not call.path.endswith("/eviction")
        if error.status == 500:
            self._internal_errors += 1
            return call.idempotent and self._internal_errors < _INTERNAL_ERROR_TRIES
        if error.status in (502, 503, 504):
            return call.idempotent or (error.status == 503 and asked)
        return False


def _warn(response: aiohttp.ClientResponse, emit: WarningEmit | None) -> None:
    if emit is None or "Warning" not in response.headers:
        return
    for header in response.headers.getall("Warning"):
        for text in _WARNING.findall(header):
            emit(re.sub(r"\\(.)", r"\1", text))
