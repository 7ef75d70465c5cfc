"""Commands and forwarded ports over WebSockets: what a server on loopback is asked for, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from tests.kube.fake_server import Handler, serve, status
from wecityctl.errors import DeploymentError
from wecityctl.kube.client import KubeClient
from wecityctl.kube.config import Access
from wecityctl.kube.errors import BadRequest, Forbidden, Unreachable
from wecityctl.kube.remote import code_of
from wecityctl.kube.transport import HttpPool

SUCCESS = {"status": "Success"}


def failure(code: int) -> dict[str, Any]:
    causes = [{"reason": "ExitCode", "message": str(code)}]
    return {"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": causes}, "code": 500}


@asynccontextmanager
async def client_of(handler: Handler) -> AsyncIterator[KubeClient]:
    async with serve(handler) as url, HttpPool() as pool, KubeClient(Access(server=url), pool) as client:
        yield client


async def echo(request: web.Request) -> web.WebSocketResponse:
    """Write what comes in, louder, until stdin ends; then end with 3."""
    socket = web.WebSocketResponse(protocols=("v5.channel.k8s.io",))
    await socket.prepare(request)
    asked = json.dumps([request.path, request.query.getall("command"), dict(request.query)])
    await socket.send_bytes(b"\x01")
    await socket.send_bytes(b"\x02" + asked.encode())
    async for message in socket:
        if message.data == b"\xff\x00":
            break
        if message.data[0] == 4:
            await socket.send_bytes(b"\x02" + message.data[1:])
        else:
            await socket.send_bytes(b"\x01" + message.data[1:].upper())
    await socket.send_bytes(b"\x03" + json.dumps(failure(3)).encode())
    await socket.close()
    return socket


async def test_a_command_gets_its_words_its_input_and_its_exit_code() -> None:
    async with (
        client_of(echo) as client,
        client.exec("parks", "web-1", "web", ["sh", "-c", "a b&c"], stdin=True) as command,
    ):
        assert command.can_end_stdin
        await command.write(b"oak" * 50_000)
        await command.resize(80, 24)
        await command.end_stdin()
        found = [item async for item in command.output()]
        assert command.exit_code() == 3
    path, words, query = json.loads(found[0].data)
    assert (path, words) == ("/api/v1/namespaces/parks/pods/web-1/exec", ["sh", "-c", "a b&c"])
    assert {key: query[key] for key in ("container", "stdin", "stdout", "stderr")} == {
        "container": "web",
        "stdin": "true",
        "stdout": "true",
        "stderr": "true",
    }
    assert "tty" not in query
    assert b"".join(item.data for item in found if item.stream == "stdout") == b"OAK" * 50_000
    assert json.loads(found[-1].data) == {"Width": 80, "Height": 24}


async def test_a_refused_command_tells_why() -> None:
    async def refuse(request: web.Request) -> web.Response:
        return status(403, "Forbidden", "parks-ci cannot create pods/exec")

    async with client_of(refuse) as client:
        with pytest.raises(Forbidden, match="parks-ci cannot create pods/exec"):
            async with client.exec("parks", "web-1", "web", ["ls"]):
                pass


async def test_a_connection_that_breaks_is_no_success() -> None:
    async def drop(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await socket.prepare(request)
        await socket.close()
        return socket

    async with client_of(drop) as client, client.exec("parks", "web-1", "web", ["ls"]) as command:
        assert not command.can_end_stdin
        assert [item async for item in command.output()] == []
        with pytest.raises(DeploymentError, match="the connection broke before the command ended"):
            command.exit_code()


async def test_something_else_answers() -> None:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    async with client_of(hello) as client:
        with pytest.raises(Unreachable):
            async with client.exec("parks", "web-1", "web", ["ls"]):
                pass


def test_the_status_that_ends_a_command() -> None:
    assert (code_of(SUCCESS, "x"), code_of(failure(137), "x")) == (0, 137)
    with pytest.raises(BadRequest, match="no such file"):
        code_of({"status": "Failure", "reason": "BadRequest", "message": "no such file", "code": 400}, "x")


async def test_a_forwarded_connection_skips_the_ports_in_its_channels() -> None:
    async def port(request: web.Request) -> web.WebSocketResponse:
        assert (request.path, request.query["ports"]) == ("/api/v1/namespaces/parks/pods/web-1/portforward", "8080")
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await socket.prepare(request)
        number = (8080).to_bytes(2, "little")
        await socket.send_bytes(b"\x00" + number)
        await socket.send_bytes(b"\x01" + number)
        message = await socket.receive()
        assert message.type is WSMsgType.BINARY
        await socket.send_bytes(message.data.upper())
        if b"fail" in message.data:
            await socket.send_bytes(b"\x01connection refused")
        await socket.close()
        return socket

    async with client_of(port) as client:
        async with client.port_forward("parks", "web-1", 8080) as connection:
            await connection.write(b"oak")
            assert [data async for data in connection.output()] == [b"OAK"]
        async with client.port_forward("parks", "web-1", 8080) as connection:
            await connection.write(b"fail")
            with pytest.raises(DeploymentError, match="does not accept a connection on port 8080") as caught:
                async for _ in connection.output():
                    pass
            assert caught.value.details == "connection refused"
