"""Messages to the engine, with the URN they are about. A lost message never fails an operation."""

from __future__ import annotations

import asyncio
from typing import Final

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

_PATIENCE: Final = 5.0


class EngineLog:
    """The engine's Log service; silent until the engine has said where it listens."""

    def __init__(self) -> None:
        self._address = ""
        self._channel: grpc.aio.Channel | None = None
        self._stub: engine_pb2_grpc.EngineStub | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._said: set[str] = set()

    def attach(self, address: str) -> None:
        """Talk to the engine at `address` from now on."""
        if address and address != self._address:
            self._address = address
            self._channel = grpc.aio.insecure_channel(address)
            self._stub = engine_pb2_grpc.EngineStub(self._channel)

    def info(self, urn: str, message: str) -> None:
        """Something worth keeping in the run's output."""
        self._send(engine_pb2.INFO, urn, message, ephemeral=False)

    def warning(self, urn: str, message: str) -> None:
        """Something that may need the user's attention."""
        self._send(engine_pb2.WARNING, urn, message, ephemeral=False)

    def status(self, urn: str, message: str) -> None:
        """What is going on right now; replaced by the next one."""
        self._send(engine_pb2.INFO, urn, message, ephemeral=True)

    def once(self, message: str, urn: str = "") -> None:
        """Like `info`, for what many resources have in common: said once."""
        if message not in self._said:
            self._said.add(message)
            self.info(urn, message)

    @property
    def waiting(self) -> bool:
        """Whether something that was said has not arrived yet."""
        return bool(self._sending)

    async def flush(self) -> None:
        """Wait (not for long) until what was said has arrived."""
        if self._sending:
            await asyncio.wait(set(self._sending), timeout=_PATIENCE)

    async def aclose(self) -> None:
        """Send the rest and hang up."""
        await self.flush()
        if self._channel is not None:
            await self._channel.close()
            self._channel = None
            self._stub = None

    def _send(self, severity: engine_pb2.LogSeverity.ValueType, urn: str, message: str, *, ephemeral: bool) -> None:
        if self._stub is None:
            return
        request = engine_pb2.LogRequest(severity=severity, urn=urn, message=message, ephemeral=ephemeral)
        task = asyncio.create_task(self._deliver(self._stub, request))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _deliver(self, stub: engine_pb2_grpc.EngineStub, request: engine_pb2.LogRequest) -> None:
        try:
            await stub.Log(request, timeout=_PATIENCE)
        except grpc.RpcError:
            # The engine is gone or going: nobody is left to tell.
            return
