"""Refuses the gRPC calls of other users: what our own servers do where no guard stands before them, and beside it."""

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
    """Ends the calls of other users to a server on a loopback port, `port`, before their handler."""

    port: int = 0

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """The handler, with the check in front of it."""
        handler = continuation(handler_call_details)
        return handler and _wrapped(handler, self._checked)

    def _checked(self, behaviour: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def checked(request: Any, context: Any) -> Any:
            if not is_own(context.peer(), self.port):
                context.abort(grpc.StatusCode.PERMISSION_DENIED, _REFUSAL)
            return behaviour(request, context)

        return checked


class AsyncOwnCallers(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """The same for a server in an event loop."""

    port: int = 0

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        """The handler, with the check in front of it."""
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
    """Whether a gRPC peer (`ipv4:127.0.0.1:5000`), connected to our loopback `port`, is a process of our own user.

    True where the machine does not tell.
    """
    if not peers.can_tell():
        return True
    try:
        return peers.owner_of_peer(Address.of(_HOST, port), _address(peer.partition(":")[2])) == os.getuid()
    except ValueError:
        return False


def is_served_by(address: str, process: int) -> bool:
    """Whether `address` (`127.0.0.1:5000`) is where that process, of our own user, listens. True where nobody tells."""
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
