"""Speaks the engine's service protocol for the stacks of one run, so that the engine journals in place of rewriting.

With a service for its back end the engine sends one small entry for each beginning and end of an operation, where it
otherwise writes a stack's whole state twice. Protocol: pulumi/pkg backend/httpstate/client and sdk apitype, v3.259.0.

A process of its own: `main` serves on a loopback port, a token for each stack, until its run is over.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from aiohttp import web

from wecityctl.engine.backend import open_states
from wecityctl.engine.integrity import UNSOUND
from wecityctl.engine.lock import LockedError
from wecityctl.engine.outcome import describe
from wecityctl.engine.sealing import Seal
from wecityctl.engine.store import StateStore
from wecityctl.engine.store_file import disk_error
from wecityctl.engine.updates import KINDS, About, OpenStack, Update
from wecityctl.engine.wire import CloseState, OpenState, StateClosed, StateOpened, adopt, incoming
from wecityctl.errors import WecityError
from wecityctl.journal.replay import require_known, whole
from wecityctl.model.naming import PROJECT

ORGANIZATION = "organization"
# The engine sends at most a hundred entries at once; one holds a resource's inputs and outputs.
MAX_BODY = 1 << 30
# The engine renews its lease all the time; an update ends with its run, which knows when the engine is gone.
_NO_EXPIRY = 4102444800
_UPDATE = "/api/stacks/{organization}/{project}/{stack}/{kind:" + "|".join(KINDS) + "}"
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class _Served:
    """A stack that is served. `token` opens it, `update_token` the update that is under way."""

    item: OpenStack
    token: str
    update_token: str = ""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


_SERVED = web.AppKey("served", dict[str, _Served])
_STACK = web.RequestKey("stack", _Served)
_BODY = web.RequestKey("body", dict[str, Any])


class StateService:
    """`async with StateService() as service`: a port of its own on loopback."""

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
        """Serve a stack; the token that opens it, and no other."""
        token = secrets.token_urlsafe(32)
        self._served[item.stack] = _Served(item, token)
        return token

    async def close(self, stack: str) -> str:
        """Serve it no more. What an engine that is gone has left undone is brought to its end.

        Returns why the engine would refuse the state that it has left.
        """
        served = self._served.pop(stack)
        async with served.turn:
            return await asyncio.to_thread(served.item.end, succeeded=False)


@web.middleware
async def _answers(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Let nobody in without a token, and answer every failure in the form that the engine shows."""
    try:
        served = request[_STACK] = _admitted(request)
        try:
            request[_BODY] = await _body(request)
            return await handler(request)
        except BaseException:
            if handler in (_append, _checkpoint) and served.item.update is not None:
                served.item.update.refuse()
            raise
    except web.HTTPException as error:
        return _failure(error.status, error.text or error.reason)
    except LockedError as error:
        return _failure(409, describe(error))
    except WecityError as error:
        # Not a status of 500 and more: the engine would ask again, five times.
        return _failure(400, describe(error))
    except OSError as error:
        return _failure(400, describe(disk_error(error, Path(str(error.filename or "")))))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return _failure(400, f"{type(error).__name__}: {error}")


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


async def _body(request: web.Request) -> dict[str, Any]:
    found = await request.json() if request.body_exists else None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise web.HTTPBadRequest(text="the body is no object")
    return found


def _failure(status: int, message: str) -> web.Response:
    return web.json_response({"code": status, "message": message}, status=status)


async def _user(request: web.Request) -> web.Response:
    known = {"githubLogin": ORGANIZATION, "name": ORGANIZATION}
    return web.json_response({"id": ORGANIZATION, "email": "", "organizations": [known], **known})


async def _capabilities(request: web.Request) -> web.Response:
    return web.json_response({"capabilities": [{"capability": "batch-encrypt", "version": 1}]})


async def _organization(request: web.Request) -> web.Response:
    return web.json_response({"GitHubLogin": ORGANIZATION})


async def _show(request: web.Request) -> web.Response:
    stack = request[_STACK].item.stack
    names = {"orgName": ORGANIZATION, "projectName": PROJECT, "stackName": stack}
    return web.json_response({**names, "tags": {}, "version": 0, "activeUpdate": ""})


async def _export(request: web.Request) -> web.Response:
    item = request[_STACK].item
    # As the engine itself notes a service's secrets provider.
    service = {"url": f"http://{request.host}", "owner": ORGANIZATION, "project": PROJECT, "stack": item.stack}
    found = await asyncio.to_thread(item.checkpoint, service)
    answer: dict[str, Any] = {"version": found.version, "deployment": found.deployment}
    return web.json_response({**answer, "features": list(found.features)} if found.features else answer)


async def _encrypt(request: web.Request) -> web.Response:
    seal = _seal(request)
    return web.json_response({"ciphertext": seal.encrypt(request[_BODY]["plaintext"])})


async def _decrypt(request: web.Request) -> web.Response:
    seal = _seal(request)
    return web.json_response({"plaintext": seal.decrypt(request[_BODY]["ciphertext"])})


async def _encrypt_all(request: web.Request) -> web.Response:
    seal = _seal(request)
    return web.json_response({"ciphertexts": [seal.encrypt(item) for item in request[_BODY]["plaintexts"]]})


async def _decrypt_all(request: web.Request) -> web.Response:
    seal = _seal(request)
    return web.json_response({"plaintexts": {item: seal.decrypt(item) for item in request[_BODY]["ciphertexts"]}})


def _seal(request: web.Request) -> Seal:
    seal = request[_STACK].item.seal
    if seal is None:
        raise web.HTTPBadRequest(
            text="this service keeps no secrets of the stack: it has a secrets provider of its own"
        )
    return seal


async def _create(request: web.Request) -> web.Response:
    """Ask for an update: it gets its number, and begins when it is started."""
    served, body = request[_STACK], request[_BODY]
    metadata: Mapping[str, Any] = body.get("metadata") or {}
    kind = next(kind for kind in KINDS if kind == request.match_info["kind"])
    about = About(kind, str(metadata.get("message") or ""), metadata.get("environment") or {})
    async with served.turn:
        update = await asyncio.to_thread(served.item.begin, about)
        served.update_token = secrets.token_urlsafe(32)
    return web.json_response({"updateID": update.id, "requiredPolicies": []})


async def _start(request: web.Request) -> web.Response:
    token = request[_STACK].update_token
    return web.json_response({"version": 1, "token": token, "tokenExpiration": _NO_EXPIRY, "journalVersion": 1})


async def _renew(request: web.Request) -> web.Response:
    return web.json_response({"token": request[_STACK].update_token, "tokenExpiration": _NO_EXPIRY})


async def _append(request: web.Request) -> web.Response:
    entries = request[_BODY].get("entries")
    if not isinstance(entries, list):
        raise web.HTTPBadRequest(text="the body has no list of entries")
    # What could not be replayed must not be acknowledged.
    for entry in entries:
        require_known(entry)
    return await _keep(request, entries)


async def _checkpoint(request: web.Request) -> web.Response:
    """Take a whole state, from an engine that does not journal."""
    return await _keep(request, [whole(request[_BODY]["deployment"])])


async def _keep(request: web.Request, entries: list[Mapping[str, Any]]) -> web.Response:
    served = request[_STACK]
    async with served.turn:
        await asyncio.to_thread(served.item.append, entries)
    return web.json_response({})


async def _events(request: web.Request) -> web.Response:
    for event in request[_BODY].get("events") or ():
        summary = event.get("summaryEvent")
        if summary:
            _under_way(request[_STACK]).note_changes(summary.get("resourceChanges") or {})
    return web.json_response({})


async def _complete(request: web.Request) -> web.Response:
    served, succeeded = request[_STACK], request[_BODY].get("status") == "succeeded"
    async with served.turn:
        flaw = await asyncio.to_thread(served.item.end, succeeded=succeeded)
    if flaw:
        return _failure(400, f"{UNSOUND}: {flaw}")
    return web.json_response({})


def _under_way(served: _Served) -> Update:
    if served.item.update is None:
        raise web.HTTPNotFound(text="there is no such update")
    return served.item.update


async def _nothing(request: web.Request) -> web.Response:
    """What the engine tells and nobody keeps."""
    return web.json_response({})


_ROUTES = (
    # Asked hundreds of times, the others once or twice.
    web.patch(_UPDATE + "/{id}/journalentries", _append),
    web.get("/api/user", _user),
    web.get("/api/capabilities", _capabilities),
    web.get("/api/user/organizations/default", _organization),
    web.get("/api/stacks/{organization}/{project}/{stack}", _show),
    web.get("/api/stacks/{organization}/{project}/{stack}/export", _export),
    web.patch("/api/stacks/{organization}/{project}/{stack}/tags", _nothing),
    web.post("/api/stacks/{organization}/{project}/{stack}/encrypt", _encrypt),
    web.post("/api/stacks/{organization}/{project}/{stack}/decrypt", _decrypt),
    web.post("/api/stacks/{organization}/{project}/{stack}/batch-encrypt", _encrypt_all),
    web.post("/api/stacks/{organization}/{project}/{stack}/batch-decrypt", _decrypt_all),
    web.post("/api/stacks/{organization}/{project}/{stack}/decrypt/log-decryption", _nothing),
    web.post("/api/stacks/{organization}/{project}/{stack}/decrypt/log-batch-decryption", _nothing),
    web.post(_UPDATE, _create),
    web.post(_UPDATE + "/{id}", _start),
    web.patch(_UPDATE + "/{id}/checkpoint", _checkpoint),
    web.post(_UPDATE + "/{id}/events/batch", _events),
    web.post(_UPDATE + "/{id}/renew_lease", _renew),
    web.post(_UPDATE + "/{id}/complete", _complete),
)


def main(descriptor: int) -> None:
    """Serve until the other end of the connection is closed."""
    connection = adopt(descriptor)
    asyncio.run(_serve(connection))


async def _serve(connection: Connection) -> None:
    # One store for all stacks of a place: it keeps its connections.
    opened = cache(open_states)
    async with StateService() as service:
        async for order in incoming(connection):
            answer = await _obey(service, order, opened)
            # Nobody waits for it any more where the run has been killed.
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
