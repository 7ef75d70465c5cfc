"""gRPC interceptors that reject calls from other users. They work with and without the guard."""

from __future__ import annotations

import inspect
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final
from urllib.parse import unquote

import grpc

from wecityctl.listeners import peers
from wecityctl.listeners.peers import Address

_HOST: Final = "127.0.0.1"
_REFUSAL: Final = "this server answers the processes of its own user only"
_KINDS: Final = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


class OwnCallers(grpc.ServerInterceptor):  # type: ignore[misc]
    """Rejects calls from other users to a server on the loopback port `port`, before the handler runs."""

    port: int = 0

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """The handler, preceded by the check."""
        handler = continuation(handler_call_details)
        return handler and _wrapped(handler, self._checked)

    def _checked(self, behaviour: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def checked(request: Any, context: Any) -> Any:
            if not is_own(context.peer(), self.port):
                context.abort(grpc.StatusCode.PERMISSION_DENIED, _REFUSAL)
            return behaviour(request, context)

        return checked


class AsyncOwnCallers(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """`OwnCallers` for a server in an asyncio event loop."""

    port: int = 0

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        """The handler, preceded by the check."""
        handler = await continuation(handler_call_details)
        return handler and _wrapped(handler, self._checked)

    def _checked(self, behaviour: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        async def answer(request: Any, context: Any) -> Any:
            await self._refuse_others(context)
            return await behaviour(request, context)

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            await self._refuse_others(context)
            async for each in behaviour(request, context):
                yield each

        return stream if inspect.isasyncgenfunction(behaviour) else answer

    async def _refuse_others(self, context: Any) -> None:
        if not is_own(context.peer(), self.port):
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, _REFUSAL)


def is_own(peer: str, port: int) -> bool:
    """Whether a gRPC peer (`ipv4:127.0.0.1:5000`) on the loopback port `port` is a process of the same user.

    True if the machine cannot tell.
    """
    if not peers.can_tell():
        return True
    try:
        return peers.owner_of_peer(Address.of(_HOST, port), _address(peer.partition(":")[2])) == os.getuid()
    except ValueError:
        return False


def is_served_by(address: str, process: int) -> bool:
    """Whether this process, which belongs to the same user, listens on `address` (`127.0.0.1:5000`).

    True if the machine cannot tell.
    """
    if not peers.can_tell():
        return True
    try:
        found = peers.listener(_address(address))
    except ValueError:
        return False
    return found is not None and found.uid == os.getuid() and peers.holds(process, found.inode)


def _wrapped(handler: Any, wrap: Callable[[Any], Any]) -> Any:
    return handler._replace(**{kind: wrap(found) for kind in _KINDS if (found := getattr(handler, kind))})


def _address(text: str) -> Address:
    host, _, port = unquote(text).rpartition(":")
    return Address.of(host.strip("[]"), int(port))
