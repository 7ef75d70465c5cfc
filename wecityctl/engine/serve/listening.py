"""The TLS port of the state server: limits connections, and reloads renewed certificates while it runs."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from wecityctl.engine.serve.log import ServerLog
from wecityctl.errors import ConfigurationError

MAX_CONNECTIONS: Final = 512
MAX_OF_ADDRESS: Final = 128
# A connection without a request for this long is closed.
IDLE_SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = 0.2
_HANDSHAKE_SECONDS: Final = 10.0
# From the end of the handshake to the end of the first request's headers.
_FIRST_REQUEST_SECONDS: Final = 20.0
_LOOK_SECONDS: Final = 5.0
_BACKLOG: Final = 128


def tls_context(cert: Path, key: Path) -> ssl.SSLContext:
    """Return the server's TLS settings, version 1.2 or later. Raises `ConfigurationError` for an unusable key pair."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # A key with a passphrase is rejected: OpenSSL would prompt for it on the terminal.
        context.load_cert_chain(cert, key, password=_refuse)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(
            "the certificate cannot be used",
            details=f"{cert}, {key}: {reason}",
            resolution="name PEM files that belong together, the key without a passphrase: --tls-cert, --tls-key",
        ) from error
    return context


def _refuse() -> str:
    raise ValueError("the key has a passphrase")


@dataclass(slots=True)
class _Connection:
    """A connection's client address, the time it was accepted (monotonic seconds), and whether it
    has sent a request.
    """

    address: str
    accepted: float
    has_asked: bool = False


class Listener:
    """Listens on one address and accepts TLS connections."""

    def __init__(self, address: tuple[str, int], cert: Path, key: Path, log: ServerLog) -> None:
        """Read the certificate and bind the port. Raises `ConfigurationError`."""
        self._cert, self._key, self._log = cert, key, log
        self._context = tls_context(cert, key)
        self._seen = self._look()
        self._socket = _opened(address)
        self._accepting: asyncio.Task[None] | None = None
        self._greetings: set[asyncio.Task[None]] = set()
        self._handle: web.Server | None = None
        self._connections: dict[web.RequestHandler, _Connection] = {}

    @property
    def url(self) -> str:
        """The URL at which it listens."""
        host, port = self._socket.getsockname()[:2]
        return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"

    async def open(self, handle: web.Server) -> None:
        """Start to accept connections."""
        self._handle = handle
        self._socket.listen(_BACKLOG)
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    async def _accept(self) -> None:
        """Accept connections; keeps trying while the process has no free file descriptors.

        The client address is known here, before the handshake, so that one client cannot use up all connections.
        """
        assert self._handle is not None
        loop = asyncio.get_running_loop()
        while True:
            # A connection that is available at once would be accepted without giving other tasks a turn.
            await asyncio.sleep(0)
            try:
                connection, where = await loop.sock_accept(self._socket)
            except OSError:
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            address, now = network_of(where[0]), time.monotonic()
            self._connections = {each: known for each, known in self._connections.items() if _is_open(each, known, now)}
            own = sum(1 for known in self._connections.values() if known.address == address)
            if len(self._connections) >= MAX_CONNECTIONS or own >= MAX_OF_ADDRESS:
                connection.close()
                continue
            handler = self._handle()
            self._connections[handler] = _Connection(address, now)
            greeting = loop.create_task(self._greet(connection, handler))
            self._greetings.add(greeting)
            greeting.add_done_callback(self._greetings.discard)

    async def _greet(self, connection: socket.socket, handler: web.RequestHandler) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                lambda: handler, connection, ssl=self._context, ssl_handshake_timeout=_HANDSHAKE_SECONDS
            )
        except OSError:
            # No TLS handshake, or no data. The connection is closed by then.
            self._connections.pop(handler, None)
        else:
            loop.call_later(_FIRST_REQUEST_SECONDS, self._drop_if_silent, handler)

    def note_request(self, handler: web.RequestHandler) -> None:
        """Record that a request has arrived over a connection."""
        if known := self._connections.get(handler):
            known.has_asked = True

    def _drop_if_silent(self, handler: web.RequestHandler) -> None:
        known = self._connections.get(handler)
        if known is not None and not known.has_asked and isinstance(handler.transport, asyncio.WriteTransport):
            handler.transport.abort()

    async def renew(self, *, force: bool = False) -> None:
        """Use the current certificate for new connections if it has changed.

        An unusable certificate is logged, and the previous one stays in use.
        """
        seen = self._look()
        if (seen == self._seen and not force) or self._accepting is None:
            return
        self._seen = seen
        try:
            self._context = await asyncio.to_thread(tls_context, self._cert, self._key)
        except ConfigurationError as error:
            self._log.write("certificate", result="refused", reason=f"{error.message}: {error.details}")
            return
        self._log.write("certificate", result="renewed")

    async def watch(self) -> None:
        """Check for a renewed certificate until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            with suppress(OSError):
                await self.renew()

    def close(self) -> None:
        """Accept no more connections; open ones stay."""
        if self._accepting is not None:
            self._accepting.cancel()
        self._socket.close()

    def _look(self) -> tuple[tuple[int, ...], ...]:
        found: list[tuple[int, ...]] = []
        for path in (self._cert, self._key):
            try:
                status = path.stat()
            except OSError:
                found.append(())
            else:
                found.append((status.st_mtime_ns, status.st_size, status.st_ino))
        return tuple(found)


def _is_open(handler: web.RequestHandler, known: _Connection, now: float) -> bool:
    """Whether a connection is open, or its handshake may still be in progress."""
    return handler.transport is not None or (not known.has_asked and now < known.accepted + _HANDSHAKE_SECONDS)


def network_of(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or the /64 network of an IPv6 address."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if found.version == 4:
        return str(found)
    mapped = found.ipv4_mapped
    return str(mapped) if mapped is not None else str(ipaddress.ip_network((found, 64), strict=False))


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT` or `[IPV6]:PORT`. Raises `ConfigurationError`."""
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ConfigurationError(
            f"{text!r} is no address to listen on", resolution="write HOST:PORT, such as 127.0.0.1:8470 or [::1]:8470"
        )
    return host, int(port)


def _opened(address: tuple[str, int]) -> socket.socket:
    try:
        family, kind, number, _, where = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, number)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.setblocking(False)
            found.bind(where)
        except BaseException:
            found.close()
            raise
    except OSError as error:
        raise ConfigurationError(
            f"{address[0]}:{address[1]} cannot be listened on",
            details=str(error.strerror or error),
            resolution="choose another address: --listen HOST:PORT",
        ) from error
    return found
