"""Asks an HTTP server in a pod through the API server, with the credentials of the cluster and without a local port."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wecityctl.errors import DeploymentError

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient
    from wecityctl.kube.remote import ForwardedConnection

_PIECE = 32 * 1024
_LONGEST_ANSWER = 16 * 1024**2


@dataclass(frozen=True, slots=True)
class PodServer:
    """A server in a pod: its port, the name in its certificate with the authority that issued it (empty: the server
    speaks plain HTTP), and the account."""

    namespace: str
    pod: str
    port: int
    host: str
    authority: str
    user: str
    password: str


async def ask(client: KubeClient, server: PodServer, path: str) -> bytes:
    """The body of the answer to `GET path`.

    Raises `DeploymentError` for any answer but 200, one that is no HTTP, and a certificate of somebody else; and what
    the API server answers who may not forward ports.
    """
    async with (
        client.port_forward(server.namespace, server.pod, server.port) as remote,
        _stream(remote, server) as (reader, writer),
    ):
        account = base64.b64encode(f"{server.user}:{server.password}".encode()).decode()
        # In HTTP/1.0 the end of the connection is that of the answer.
        lines = (f"GET {path} HTTP/1.0", f"Host: {server.host}", f"Authorization: Basic {account}", "", "")
        writer.write("\r\n".join(lines).encode())
        await writer.drain()
        return _body(await _read(reader, server), server)


@asynccontextmanager
async def _stream(
    remote: ForwardedConnection, server: PodServer
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """The forwarded connection as a stream, encrypted if the server has a certificate."""
    context = ssl.create_default_context(cadata=server.authority) if server.authority else None
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=theirs)
    tasks = [asyncio.create_task(_send(reader, remote)), asyncio.create_task(_receive(remote, writer))]
    opened: asyncio.StreamWriter | None = None
    try:
        try:
            stream = await asyncio.open_connection(
                sock=ours, ssl=context, server_hostname=server.host if context is not None else None
            )
        except ssl.SSLError as error:
            raise DeploymentError(f"{server.host} shows no certificate of the city's", details=str(error)) from error
        except OSError as error:
            raise DeploymentError(f"{server.host} ends the connection", details=str(error)) from error
        opened = stream[1]
        yield stream
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for end in filter(None, (opened, writer)):
            end.close()


async def _send(reader: asyncio.StreamReader, remote: ForwardedConnection) -> None:
    while data := await reader.read(_PIECE):
        await remote.write(data)


async def _receive(remote: ForwardedConnection, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        try:
            async for data in remote.output():
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader, server: PodServer) -> bytes:
    found = bytearray()
    try:
        while data := await reader.read(_PIECE):
            found += data
            if len(found) > _LONGEST_ANSWER:
                raise DeploymentError(f"{server.host} answers with more than {_LONGEST_ANSWER} bytes")
    except ssl.SSLError:
        # The connection ended without the closing of TLS; what is missing shows in the content.
        pass
    except OSError as error:
        raise DeploymentError(f"{server.host} ends the connection", details=str(error)) from error
    return bytes(found)


def _body(answer: bytes, server: PodServer) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if len(status) < 2 or not status[0].startswith(b"HTTP/"):
        raise DeploymentError(f"{server.host} does not answer", details=head[:200].decode(errors="replace"))
    if status[1] != b"200":
        told = body[:300].decode(errors="replace").strip()
        raise DeploymentError(f"{server.host} answers {status[1].decode(errors='replace')}", details=told)
    return body
