"""Serves providers on loopback: one port per stack run, with one pool of connections to the API servers."""

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
# Requests contain whole objects of the state, so only memory limits their size.
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
)


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """`connections`: how many concurrent requests may go to one API server."""

    connections: int = 32


class ProviderServer:
    """The providers of a process, as an async context manager with one `open` and one `close` per stack run."""

    def __init__(self, pool_settings: PoolSettings | None = None, *, environ: Mapping[str, str] | None = None) -> None:
        self._settings = pool_settings or PoolSettings()
        self._environ = os.environ if environ is None else environ
        self._pool: HttpPool | None = None
        self._connections: Connections | None = None
        self._ports: dict[int, tuple[grpc.aio.Server, PortServicer]] = {}
        self._opened: set[str] = set()

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
        """Start to serve a stack run and return its port, which goes into PULUMI_DEBUG_PROVIDERS.

        `name` is the stack's name in messages. With `replace_data` the run may replace objects that hold data, such as
        namespaces and volumes. With `take_over` its previews and adoptions overwrite other managers' changes; for
        objects that are in a state, the run takes those over beforehand. `kubeconfigs` are the digests
        (`settings.digest`) of the kubeconfigs that it may be configured with; `None` allows any.
        """
        if self._connections is None:
            raise RuntimeError("the server has not been entered")
        if name in self._opened:
            # A run opens each stack once.
            self._opened.clear()
            self._connections.forget_made()
        self._opened.add(name)
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
        """Cancel the operations of a port, as the engine's Cancel does. The port keeps answering."""
        self._ports[port][1].cancel()

    async def close(self, port: int) -> None:
        """Stop serving a stack run. Running operations are cancelled; the engine's state keeps what they created."""
        server, servicer = self._ports.pop(port)
        servicer.cancel()
        await server.stop(grace=1.0)
        await servicer.aclose()


def _allow_deep_messages() -> None:
    # Protobuf's C parser rejects messages with more than 100 levels of nesting. The schema in a
    # CustomResourceDefinition easily exceeds that, as a Struct takes three levels for one.
    if api_implementation.Type() == "upb":
        from google._upb import _message

        message: Any = _message
        message.SetAllowOversizeProtos(True)
