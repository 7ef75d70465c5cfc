"""A small HTTP(S) server that answers as a test tells it: for what a healthy API server does not do on demand."""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from aiohttp import web

from tests.support.pki import Pair

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serve(handler: Handler, *, pair: Pair | None = None, client_ca: bytes | None = None) -> AsyncIterator[str]:
    """The URL of a server on loopback that gives every request to `handler`."""
    context = _context(pair, client_ca) if pair is not None else None
    runner = web.ServerRunner(web.Server(handler), handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    try:
        yield f"{'https' if pair else 'http'}://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


def _context(pair: Pair, client_ca: bytes | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "pair.pem"
        path.write_bytes(pair.cert + pair.key)
        context.load_cert_chain(path)
    if client_ca:
        context.load_verify_locations(cadata=client_ca.decode())
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def status(code: int, reason: str = "", message: str = "no", **details: object) -> web.Response:
    """A Kubernetes Status answer."""
    body = {"kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, "message": message}
    return web.json_response(body | ({"details": details} if details else {}), status=code)


@contextmanager
def refusing_server(pair: Pair, client_ca: bytes) -> Iterator[str]:
    """The URL of a TLS server that asks for client certificates and refuses with an alert, as Go's and nginx do."""
    context = _context(pair, client_ca)
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with suppress(OSError), context.wrap_socket(connection, server_side=True):
                raise AssertionError("the client certificate was accepted")

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


@asynccontextmanager
async def connect_proxy(*, refuse: bool = False, pair: Pair | None = None) -> AsyncIterator[tuple[str, list[str]]]:
    """An HTTP proxy (HTTPS with `pair`) that knows CONNECT; its URL and the targets it was asked for."""
    asked: list[str] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        asked.append(target)
        if refuse:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            writer.close()
            return
        host, _, port = target.rpartition(":")
        # The test's "cluster.example" lives on loopback.
        inner_reader, inner_writer = await asyncio.open_connection(
            "127.0.0.1" if host.endswith(".example") else host, int(port)
        )
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=_context(pair) if pair else None)
    try:
        yield f"http{'s' if pair else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        server.close()
