"""The parts of the engine's service protocol shared by the service of one run and the state server for teams.

Protocol: pulumi/pkg backend/httpstate/client and sdk apitype, v3.259.0. Authorisation, and when an update begins and
ends, is left to the two services: `service` and `engine.serve`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from wecityctl.engine.process.outcome import describe
from wecityctl.engine.secrets.sealing import Seal
from wecityctl.engine.state.engine_lock import LockedError
from wecityctl.engine.state.integrity import UNSOUND
from wecityctl.engine.state.store_file import disk_error
from wecityctl.engine.state_service.updates import KINDS, About, OpenStack, Update
from wecityctl.errors import NoSuchStackError, WecityError
from wecityctl.journal.replay import require_known, whole
from wecityctl.model.naming import PROJECT

# The only organization in Pulumi's self-managed layout.
ORGANIZATION: Final = "organization"
STACK_PATH: Final = "/api/stacks/{organization}/{project}/{stack}"
UPDATE_PATH: Final = STACK_PATH + "/{kind:" + "|".join(KINDS) + "}"
# Enables journaling in the engine.
JOURNAL_VERSION: Final = 1
# Limits for a body: its nesting levels, and the size in bytes up to which it is parsed without a thread.
_DEEPEST: Final = 250
_AT_ONCE: Final = 1 << 20
# The minimum rate of a body in bytes per second at the server for teams, after a grace period.
PACE: Final = 32 << 10
GRACE_SECONDS: Final = 10.0
_EVENTS: Final = "/events/batch"
_SUMMARY: Final = b'"summaryEvent"'
# After a failure of one of these requests, the update accepts no more of them.
_KEPT: Final = ("/journalentries", "/checkpoint")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Session:
    """A stack that the engine has opened.

    `update_token` grants access to the current update; `turn` serialises requests that change the stack.
    """

    item: OpenStack
    update_token: str = field(default="", repr=False)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


SESSION = web.RequestKey("session", Session)
BODY = web.RequestKey("body", dict[str, Any])


async def answered(request: web.Request, handle: Handler) -> web.StreamResponse:
    """Return the response of `handle`, or its failure in the format that the engine shows."""
    try:
        return await handle(request)
    except web.HTTPException as error:
        answer = failure(error.status, error.text or error.reason)
        for name in ("Retry-After", "WWW-Authenticate"):
            if name in error.headers:
                answer.headers[name] = error.headers[name]
        return answer
    except LockedError as error:
        return failure(409, describe(error))
    except NoSuchStackError as error:
        return failure(404, describe(error))
    except WecityError as error:
        # Not a status of 500 or above, because the engine would retry five times.
        return failure(400, describe(error))
    except OSError as error:
        return failure(400, describe(disk_error(error, Path(str(error.filename or "")))))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, web.RequestPayloadError) as error:
        return failure(400, f"{type(error).__name__}: {error}")


async def in_session(
    request: web.Request, handler: Handler, limit: int, seconds: float | None = None
) -> web.StreamResponse:
    """Read the body, of at most `limit` bytes and within `seconds`, and handle the request.

    If a journal batch cannot be stored, the update accepts no later one either.
    """
    try:
        try:
            async with asyncio.timeout(seconds):
                request[BODY] = await read_body(request, limit, pace=PACE if seconds is not None else 0)
        except TimeoutError:
            text = f"the body was not there within {seconds:.0f} s, or came at less than {PACE >> 10} KiB/s"
            raise web.HTTPRequestTimeout(text=text) from None
        return await handler(request)
    except BaseException as error:
        session = request.get(SESSION)
        # The engine sends these again before any later batch: one that is too large in halves, one whose connection
        # broke unchanged. Source: httpstate/journal, `sendBatch` and `sendBatches`.
        comes_again = isinstance(error, web.HTTPRequestEntityTooLarge) or request.transport is None
        if request.path.endswith(_KEPT) and not comes_again and session is not None and session.item.update is not None:
            session.item.update.refuse()
        raise


async def read_body(request: web.Request, limit: int, pace: int = 0) -> dict[str, Any]:
    """Return the parsed body of a request, decompressed; empty for none. Raises aiohttp's exceptions for 400 or 413.

    Raises `TimeoutError` if it arrives at fewer than `pace` bytes per second after the grace period; 0 allows any rate.
    """
    if not request.body_exists:
        return {}
    data = bytearray()
    begun = time.monotonic()
    while not request.content.at_eof():
        # The time by which more data must arrive to keep the rate.
        until = begun + GRACE_SECONDS + len(data) / pace if pace else None
        async with asyncio.timeout(until - time.monotonic() if until is not None else None):
            data += await request.content.readany()
        if len(data) > limit:
            raise web.HTTPRequestEntityTooLarge(limit, len(data), text=f"the body is larger than {limit:,} bytes")
    if not pace and request.path.endswith(_EVENTS) and _SUMMARY not in data:
        # From the run's own engine. Each step is in one of these bodies, in full, and nothing of it is stored.
        return {}
    try:
        # Parsing a large body here would delay all other requests.
        found = await asyncio.to_thread(_parsed, bytes(data)) if len(data) > _AT_ONCE else _parsed(bytes(data))
    except (ValueError, RecursionError) as error:
        raise web.HTTPBadRequest(text=f"the body is no JSON: {str(error)[:200]}") from None
    return found


def _parsed(data: bytes) -> dict[str, Any]:
    """Return the JSON object in a body. Raises `ValueError` for other values, NaN and infinities, and excessive
    nesting.
    """

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no number")

    found = json.loads(data, parse_constant=refuse) if data else None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ValueError("it is no object")
    level: list[Any] = [found]
    depth = 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            raise ValueError(f"it is more than {_DEEPEST} levels deep")
        below = (each.values() if isinstance(each, dict) else each for each in level)
        level = [item for items in below for item in items if isinstance(item, dict | list)]
    return found


def failure(status: int, message: str) -> web.Response:
    """Return a failure in the engine's format: the apitype's `ErrorResponse`."""
    return web.json_response({"code": status, "message": message}, status=status)


def about(kind: str, body: dict[str, Any], **environment: str) -> About:
    """Return the description in a request for an update. `environment` takes precedence over what the engine sends."""
    metadata: Mapping[str, Any] = body.get("metadata") or {}
    sent = {str(key): str(value) for key, value in (metadata.get("environment") or {}).items()}
    known = next(each for each in KINDS if each == kind)
    return About(known, str(metadata.get("message") or ""), {**sent, **environment})


def names_of(stack: str, project: str = PROJECT) -> dict[str, Any]:
    """Return the names of a stack in the engine's format."""
    return {"orgName": ORGANIZATION, "projectName": project, "stackName": stack}


def user(name: str) -> web.Response:
    """Return the response that describes the owner of a token."""
    organization = {"githubLogin": ORGANIZATION, "name": ORGANIZATION}
    found = {"id": name, "githubLogin": name, "name": name, "email": "", "organizations": [organization]}
    return web.json_response(found)


async def organization(request: web.Request) -> web.Response:
    """Return the name of the default organization."""
    return web.json_response({"GitHubLogin": ORGANIZATION})


async def nothing(request: web.Request) -> web.Response:
    """Accept data from the engine that is not stored."""
    return web.json_response({})


async def export(request: web.Request) -> web.Response:
    """Return the stack's deployment, from which the engine starts."""
    item = request[SESSION].item
    # The form in which the engine records a service's secrets provider.
    service = {
        "url": f"{request.scheme}://{request.host}",
        "owner": ORGANIZATION,
        "project": item.states.project,
        "stack": item.stack,
    }
    found = await asyncio.to_thread(item.checkpoint, service)
    answer: dict[str, Any] = {"version": found.version, "deployment": found.deployment}
    return web.json_response({**answer, "features": list(found.features)} if found.features else answer)


async def encrypt(request: web.Request) -> web.Response:
    """Encrypt a value of the stack."""
    seal = _seal(request)
    return web.json_response({"ciphertext": seal.encrypt(request[BODY]["plaintext"])})


async def decrypt(request: web.Request) -> web.Response:
    """Decrypt a value of the stack."""
    seal = _seal(request)
    return web.json_response({"plaintext": seal.decrypt(request[BODY]["ciphertext"])})


async def encrypt_all(request: web.Request) -> web.Response:
    """Encrypt several values of the stack."""
    seal = _seal(request)
    return web.json_response({"ciphertexts": [seal.encrypt(item) for item in request[BODY]["plaintexts"]]})


async def decrypt_all(request: web.Request) -> web.Response:
    """Decrypt several values of the stack."""
    seal = _seal(request)
    return web.json_response({"plaintexts": {item: seal.decrypt(item) for item in request[BODY]["ciphertexts"]}})


def _seal(request: web.Request) -> Seal:
    seal = request[SESSION].item.seal
    if seal is None:
        raise web.HTTPBadRequest(text=NO_SECRETS)
    return seal


NO_SECRETS: Final = (
    "this service encrypts no secrets: the stack needs a secrets provider of its own, such as a passphrase"
    " (pulumi stack init --secrets-provider passphrase, or pulumi stack change-secrets-provider passphrase)"
)


def begun(token: str, version: int, expires: int) -> web.Response:
    """Return the response to the start of an update; `expires` is in seconds since 1970."""
    answer = {"version": version, "token": token, "tokenExpiration": expires, "journalVersion": JOURNAL_VERSION}
    return web.json_response(answer)


def renewed(token: str, expires: int) -> web.Response:
    """Return the response to the renewal of a lease; `expires` is in seconds since 1970."""
    return web.json_response({"token": token, "tokenExpiration": expires})


async def append(request: web.Request) -> web.Response:
    """Store a batch of journal entries."""
    entries = request[BODY].get("entries")
    if not isinstance(entries, list):
        raise web.HTTPBadRequest(text="the body has no list of entries")
    # An entry that cannot be replayed must not be acknowledged.
    for entry in entries:
        require_known(entry)
    return await _keep(request, entries)


async def checkpoint(request: web.Request) -> web.Response:
    """Store a complete state, from an engine that does not journal."""
    entry = whole(request[BODY]["deployment"])
    require_known(entry)
    return await _keep(request, [entry])


async def _keep(request: web.Request, entries: list[Mapping[str, Any]]) -> web.Response:
    session = request[SESSION]
    async with session.turn:
        await asyncio.to_thread(session.item.append, entries)
    return web.json_response({})


async def events(request: web.Request) -> web.Response:
    """Accept the engine's events; only the counts in the summary are stored."""
    for event in request[BODY].get("events") or ():
        summary = event.get("summaryEvent")
        if summary:
            counts = summary.get("resourceChanges") or {}
            if not isinstance(counts, dict) or not all(isinstance(count, int) for count in counts.values()):
                raise web.HTTPBadRequest(text="the counts of changes are no whole numbers")
            under_way(request[SESSION]).note_changes(counts)
    return web.json_response({})


def under_way(session: Session) -> Update:
    """Return the session's update. Raises the exception for 404 if there is none."""
    if session.item.update is None:
        raise web.HTTPNotFound(text="there is no such update")
    return session.item.update


def completed(flaw: str) -> web.Response:
    """Return the response to the end of an update; `flaw` says why the engine would reject the resulting state."""
    return failure(400, f"{UNSOUND}: {flaw}") if flaw else web.json_response({})


# Routes of both services that use the token of a stack.
STACK_ROUTES: Final = (
    web.get("/api/user/organizations/default", organization),
    web.get(STACK_PATH + "/export", export),
    web.post(STACK_PATH + "/encrypt", encrypt),
    web.post(STACK_PATH + "/decrypt", decrypt),
    web.post(STACK_PATH + "/batch-encrypt", encrypt_all),
    web.post(STACK_PATH + "/batch-decrypt", decrypt_all),
    web.post(STACK_PATH + "/decrypt/log-decryption", nothing),
    web.post(STACK_PATH + "/decrypt/log-batch-decryption", nothing),
)
# Used hundreds of times in a run, the others once or twice.
JOURNAL_ROUTE: Final = web.patch(UPDATE_PATH + "/{id}/journalentries", append)
# Routes of both services that use the token of an update.
UPDATE_ROUTES: Final = (
    web.patch(UPDATE_PATH + "/{id}/checkpoint", checkpoint),
    web.post(UPDATE_PATH + "/{id}" + _EVENTS, events),
)
