"""Serves providers: one port per stack run, over one pool of connections to the API servers. Loopback only."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import grpc
from google.protobuf.internal import api_implementation
from pulumi.runtime.proto import provider_pb2_grpc

from wecityctl.kube.transport import HttpPool
from wecityctl.listeners.callers import AsyncOwnCallers
from wecityctl.provider.connection import Connections
from wecityctl.provider.servicer import PortServicer
from wecityctl.provider.settings import REPLACE_DATA, TAKE_OVER

_ADDRESS: Final = "127.0.0.1"
# States hold whole objects: no limit but memory.
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
)


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """`connections`: how many requests go to one API server at the same time."""

    connections: int = 32


class ProviderServer:
    """The providers of a process. `async with`; then one `open` and one `close` per stack run."""

    def __init__(self, pool_settings: PoolSettings | None = None, *, environ: Mapping[str, str] | None = None) -> None:
        self._settings = pool_settings or PoolSettings()
        self._environ = os.environ if environ is None else environ
        self._pool: HttpPool | None = None
        self._connections: Connections | None = None
        self._ports: dict[int, tuple[grpc.aio.Server, PortServicer]] = {}

    async def __aenter__(self) -> Self:
        _allow_deep_messages()
        self._pool = await HttpPool(limit=self._settings.connections).__aenter__()
        self._connections = Connections(self._pool)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for port in list(self._ports):
            await self.close(port)
        if self._pool is not None:
            await self._pool.aclose()

    async def open(
        self,
        name: str,
        *,
        replace_data: bool = False,
        take_over: bool = False,
        kubeconfigs: frozenset[str] | None = None,
    ) -> int:
        """Serve a stack run; `name` says whose it is in messages. The port goes into PULUMI_DEBUG_PROVIDERS.

        With `replace_data` it may replace namespaces, volumes and whatever else holds data; with `take_over` its
        previews and its adoptions apply over other managers' changes; what is in a state the run takes over before.
        `kubeconfigs` are the digests (`settings.digest`) of those that it may be configured with, `None` for any.
        """
        if self._connections is None:
            raise RuntimeError("the server has not been entered")
        allowed = {REPLACE_DATA: replace_data, TAKE_OVER: take_over}
        environ = {**self._environ, **{name: "true" for name, is_on in allowed.items() if is_on}}
        servicer = PortServicer(name, self._connections, environ, kubeconfigs)
        callers = AsyncOwnCallers()
        server = grpc.aio.server(options=_OPTIONS, interceptors=[callers])
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
        port: int = server.add_insecure_port(f"{_ADDRESS}:0")
        callers.port = port
        await server.start()
        self._ports[port] = (server, servicer)
        return port

    def cancel(self, port: int) -> None:
        """Stop what a port does, as the engine's Cancel does; it goes on answering."""
        self._ports[port][1].cancel()

    async def close(self, port: int) -> None:
        """End a stack run's port; what it still does is stopped, what it made is kept by the engine's state."""
        server, servicer = self._ports.pop(port)
        servicer.cancel()
        await server.stop(grace=1.0)
        await servicer.aclose()


def _allow_deep_messages() -> None:
    # Protobuf's C parser refuses messages nested over 100 deep; the schema in a definition easily is, as a Struct takes
    # three levels for one.
    if api_implementation.Type() == "upb":
        from google._upb import _message

        message: Any = _message
        message.SetAllowOversizeProtos(True)
