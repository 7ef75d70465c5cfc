"""Sends messages to the engine, with the URN that they are about. A lost message never fails an operation."""

from __future__ import annotations

import asyncio
from typing import Final

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

_PATIENCE: Final = 5.0


class EngineLog:
    """Client of the engine's Log service. Drops messages until it knows the engine's address."""

    def __init__(self) -> None:
        self._address = ""
        self._channel: grpc.aio.Channel | None = None
        self._stub: engine_pb2_grpc.EngineStub | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._said: set[str] = set()

    def attach(self, address: str) -> None:
        """Send messages to the engine at `address` from now on."""
        if address and address != self._address:
            self._address = address
            self._channel = grpc.aio.insecure_channel(address)
            self._stub = engine_pb2_grpc.EngineStub(self._channel)

    def info(self, urn: str, message: str) -> None:
        """Log a message that the run's output keeps."""
        self._send(engine_pb2.INFO, urn, message, ephemeral=False)

    def warning(self, urn: str, message: str) -> None:
        """Log a message that may need the user's attention."""
        self._send(engine_pb2.WARNING, urn, message, ephemeral=False)

    def status(self, urn: str, message: str) -> None:
        """Show what is in progress; the next status replaces it."""
        self._send(engine_pb2.INFO, urn, message, ephemeral=True)

    def once(self, message: str, urn: str = "") -> None:
        """Like `info`, but logs the same message only once, for what many resources have in common."""
        if message not in self._said:
            self._said.add(message)
            self.info(urn, message)

    @property
    def waiting(self) -> bool:
        """Whether messages are still being delivered."""
        return bool(self._sending)

    async def flush(self) -> None:
        """Wait for a short time until messages are delivered."""
        if self._sending:
            await asyncio.wait(set(self._sending), timeout=_PATIENCE)

    async def aclose(self) -> None:
        """Deliver the remaining messages and close the connection."""
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
            # The engine has ended or is ending: nobody receives the message.
            return
