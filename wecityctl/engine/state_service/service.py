"""Serves the engine's service protocol for the stacks of one run, so that the engine sends journal entries.

With a service back end the engine sends a small entry at the start and end of each operation, instead of writing the
whole state twice. Protocol: pulumi/pkg backend/httpstate/client and sdk apitype, v3.259.0.

Runs in a process of its own: `main` serves on a loopback port, with a token for each stack, until the run ends.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.connection import Connection

from aiohttp import web

from wecityctl.engine.process.ipc import CloseState, OpenState, StateClosed, StateOpened, adopt, incoming
from wecityctl.engine.process.outcome import describe
from wecityctl.engine.state.backend import open_states
from wecityctl.engine.state.integrity import UNSOUND
from wecityctl.engine.state.store import StateStore
from wecityctl.engine.state_service import service_protocol as protocol
from wecityctl.engine.state_service.service_protocol import (
    BODY,
    ORGANIZATION,
    SESSION,
    STACK_PATH,
    UPDATE_PATH,
    Handler,
    Session,
)
from wecityctl.engine.state_service.updates import OpenStack
from wecityctl.errors import WecityError
from wecityctl.model.naming import PROJECT

# The engine sends at most a hundred entries at once; one contains a resource's inputs and outputs.
MAX_BODY = 1 << 30
# Leases do not expire: an update ends with its run, which knows when the engine has ended.
_NO_EXPIRY = 4102444800


@dataclass(slots=True)
class _Served(Session):
    """A served stack. `token` grants access to it."""

    token: str = field(default="", repr=False)


_SERVED = web.AppKey("served", dict[str, _Served])


class StateService:
    """The service on a loopback port of its own; use it as an asynchronous context manager."""

    def __init__(self) -> None:
        self._served: dict[str, _Served] = {}
        application = web.Application(client_max_size=MAX_BODY, middlewares=[_answers])
        application[_SERVED] = self._served
        application.add_routes(_ROUTES)
        self._runner = web.AppRunner(application, access_log=None)
        self.url = ""

    async def __aenter__(self) -> StateService:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def open(self, item: OpenStack) -> str:
        """Serve a stack; return the token that grants access to this stack only."""
        token = secrets.token_urlsafe(32)
        self._served[item.stack] = _Served(item, token=token)
        return token

    async def close(self, stack: str) -> str:
        """Stop serving a stack, and end an update that its engine has left unfinished.

        Returns why the engine would reject the resulting state; empty if it would not.
        """
        served = self._served.pop(stack)
        async with served.turn:
            return await asyncio.to_thread(served.item.end, succeeded=False)


@web.middleware
async def _answers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Reject requests without a token, and return every failure in the format that the engine shows."""

    async def handle(request: web.Request) -> web.StreamResponse:
        request[SESSION] = _admitted(request)
        return await protocol.in_session(request, handler, MAX_BODY)

    return await protocol.answered(request, handle)


def _admitted(request: web.Request) -> _Served:
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    for served in request.app[_SERVED].values():
        wanted = served.update_token if kind == "update-token" else served.token if kind == "token" else ""
        if wanted and hmac.compare_digest(wanted.encode(), given.encode(errors="surrogateescape")):
            break
    else:
        raise web.HTTPUnauthorized(text="the token is none that this run has given out")
    names = request.match_info
    if names.get("project", PROJECT) != PROJECT or names.get("stack", served.item.stack) != served.item.stack:
        raise web.HTTPForbidden(text=f"the token is for {served.item.stack} alone")
    if "id" in names and (served.item.update is None or served.item.update.id != names["id"]):
        raise web.HTTPNotFound(text="there is no such update")
    return served


async def _user(request: web.Request) -> web.Response:
    return protocol.user(ORGANIZATION)


async def _capabilities(request: web.Request) -> web.Response:
    return web.json_response({"capabilities": [{"capability": "batch-encrypt", "version": 1}]})


async def _show(request: web.Request) -> web.Response:
    names = protocol.names_of(request[SESSION].item.stack)
    return web.json_response({**names, "tags": {}, "version": 0, "activeUpdate": ""})


async def _create(request: web.Request) -> web.Response:
    """Begin an update; the engine starts it with a separate request."""
    session = request[SESSION]
    about = protocol.about(request.match_info["kind"], request[BODY])
    async with session.turn:
        update = await asyncio.to_thread(session.item.begin, about)
        session.update_token = secrets.token_urlsafe(32)
    return web.json_response({"updateID": update.id, "requiredPolicies": []})


async def _start(request: web.Request) -> web.Response:
    return protocol.begun(request[SESSION].update_token, 1, _NO_EXPIRY)


async def _renew(request: web.Request) -> web.Response:
    return protocol.renewed(request[SESSION].update_token, _NO_EXPIRY)


async def _complete(request: web.Request) -> web.Response:
    session, succeeded = request[SESSION], request[BODY].get("status") == "succeeded"
    async with session.turn:
        return protocol.completed(await asyncio.to_thread(session.item.end, succeeded=succeeded))


_ROUTES = (
    protocol.JOURNAL_ROUTE,
    web.get("/api/user", _user),
    web.get("/api/capabilities", _capabilities),
    *protocol.STACK_ROUTES,
    web.get(STACK_PATH, _show),
    web.patch(STACK_PATH + "/tags", protocol.nothing),
    web.post(UPDATE_PATH, _create),
    web.post(UPDATE_PATH + "/{id}", _start),
    *protocol.UPDATE_ROUTES,
    web.post(UPDATE_PATH + "/{id}/renew_lease", _renew),
    web.post(UPDATE_PATH + "/{id}/complete", _complete),
)


def main(descriptor: int) -> None:
    """Serve until the other end of the connection is closed."""
    connection = adopt(descriptor)
    asyncio.run(_serve(connection))


async def _serve(connection: Connection) -> None:
    # One store for all stacks of a place, so that connections are reused.
    opened = cache(open_states)
    async with StateService() as service:
        async for order in incoming(connection):
            answer = await _obey(service, order, opened)
            # If the run has been killed, nobody waits for the answer.
            with suppress(OSError):
                connection.send(answer)


async def _obey(
    service: StateService, order: OpenState | CloseState, opened: Callable[[str], StateStore]
) -> StateOpened | StateClosed:
    try:
        if isinstance(order, OpenState):
            states = await asyncio.to_thread(opened, order.url)
            item = OpenStack(states, order.stack, order.shown, order.previews, order.seal)
            return StateOpened(service.url, service.open(item))
        flaw = await service.close(order.stack)
        return StateClosed(f"{UNSOUND}: {flaw}" if flaw else "")
    except WecityError as error:
        return StateClosed(describe(error))
    except Exception as error:
        return StateClosed(f"{type(error).__name__}: {error}")
