"""Commands in containers, and connections to ports of pods, each over a WebSocket of the API server.

The subprotocols are `v5.channel.k8s.io` and `v4.channel.k8s.io`: the first byte of each message is its channel. Only v5
can say that a channel has ended. Source: Kubernetes, k8s.io/apimachinery `pkg/util/remotecommand`, and k8s.io/kubelet
`pkg/cri/streaming/portforward/websocket.go`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import aiohttp

from wecityctl.errors import DeploymentError
from wecityctl.kube.errors import from_status
from wecityctl.kube.requester import Call, Requester

_V5, _V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
_STDIN, _STDOUT, _STDERR, _STATUS, _SIZE, _END = 0, 1, 2, 3, 4, 255
# Bytes of one message to the server.
_PIECE: Final = 32 * 1024
_ENDED = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)


@dataclass(frozen=True, slots=True)
class Output:
    """What a command wrote to one of its streams."""

    stream: Literal["stdout", "stderr"]
    data: bytes


class RemoteCommand:
    """A command that runs in a container."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, what: str) -> None:
        self._socket = socket
        self._what = what
        self._status: dict[str, Any] | None = None

    @property
    def can_end_stdin(self) -> bool:
        """Whether the server understands that its standard input has ended."""
        return self._socket.protocol == _V5

    async def output(self) -> AsyncIterator[Output]:
        """What it writes, until it ends."""
        async for channel, data in _messages(self._socket):
            if channel in (_STDOUT, _STDERR) and data:
                yield Output("stdout" if channel == _STDOUT else "stderr", data)
            elif channel == _STATUS and data:
                self._status = json.loads(data)

    async def write(self, data: bytes) -> None:
        """Write to its standard input."""
        for begin in range(0, len(data), _PIECE):
            await self._socket.send_bytes(bytes([_STDIN]) + data[begin : begin + _PIECE])

    async def end_stdin(self) -> None:
        """End its standard input."""
        if self.can_end_stdin:
            await self._socket.send_bytes(bytes([_END, _STDIN]))

    async def resize(self, columns: int, rows: int) -> None:
        """Tell its terminal the size."""
        await self._socket.send_bytes(bytes([_SIZE]) + json.dumps({"Width": columns, "Height": rows}).encode())

    def exit_code(self) -> int:
        """Its exit code, once `output` has ended. Raises the server's error if the command could not be started, and
        `DeploymentError` if the connection broke before it ended."""
        if self._status is None:
            raise DeploymentError(
                "the connection broke before the command ended", details=f"{self._what}: it may still run"
            )
        return code_of(self._status, self._what)


def code_of(status: dict[str, Any], what: str) -> int:
    """The exit code in the `Status` that ends a command. Raises `ApiError` if it never ran."""
    if status.get("status") == "Success":
        return 0
    if status.get("reason") == "NonZeroExitCode":
        causes = (status.get("details") or {}).get("causes") or ()
        for cause in causes:
            if cause.get("reason") == "ExitCode" and str(cause.get("message")).isdigit():
                return int(cause["message"])
    raise from_status(int(status.get("code") or 500), status, what=what)


class ForwardedConnection:
    """One connection to a port of a pod."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, port: int, what: str) -> None:
        self._socket = socket
        self._port = port
        self._what = what

    async def output(self) -> AsyncIterator[bytes]:
        """What the pod sends, until it ends the connection. Raises `DeploymentError` if nothing listens there."""
        greeted: set[int] = set()
        async for channel, data in _messages(self._socket):
            if channel not in greeted:
                # The first message of each channel is the port, in two bytes.
                greeted.add(channel)
                data = data[2:]
            if data and channel == 0:
                yield data
            elif data:
                told = data.decode(errors="replace").strip()
                raise DeploymentError(f"the pod does not accept a connection on port {self._port}", details=told)

    async def write(self, data: bytes) -> None:
        """Send to the pod."""
        for begin in range(0, len(data), _PIECE):
            await self._socket.send_bytes(b"\0" + data[begin : begin + _PIECE])


@asynccontextmanager
async def open_command(
    requester: Requester, path: str, query: Iterable[tuple[str, str]]
) -> AsyncIterator[RemoteCommand]:
    """Start the command that `query` names."""
    call = Call("GET", path, tuple(query))
    async with requester.websocket(call, (_V5, _V4)) as socket:
        yield RemoteCommand(socket, f"exec {path}")


@asynccontextmanager
async def open_connection(requester: Requester, path: str, port: int) -> AsyncIterator[ForwardedConnection]:
    """Connect to the port."""
    async with requester.websocket(Call("GET", path, (("ports", str(port)),)), (_V4,)) as socket:
        yield ForwardedConnection(socket, port, f"port-forward {path}")


async def _messages(socket: aiohttp.ClientWebSocketResponse) -> AsyncIterator[tuple[int, bytes]]:
    while True:
        message = await socket.receive()
        if message.type in _ENDED:
            return
        data = message.data.encode() if isinstance(message.data, str) else bytes(message.data or b"")
        if data and data[0] != _END:
            yield data[0], data[1:]
