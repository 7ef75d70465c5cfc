"""The state server for teams: authorises requests, and serves the engine's service protocol over TLS.

`service_protocol` implements the requests, `leases` begins and ends updates, `stacks` stores the data. The server never
has a passphrase: each stack keeps its own secrets provider.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from wecityctl.engine.process.outcome import describe
from wecityctl.engine.serve.leases import LEASE_SECONDS, Lease, Leases
from wecityctl.engine.serve.log import Failures, ServerLog
from wecityctl.engine.serve.shares import Admission
from wecityctl.engine.serve.stacks import (
    HAS_RESOURCES,
    StackHasResourcesError,
    Stacks,
    apart,
    checked_tags,
    named,
    require_name,
)
from wecityctl.engine.serve.tokens import Role, Token, TokenFile
from wecityctl.engine.serve.unserved import unserved
from wecityctl.engine.state.engine_lock import LockedError
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
from wecityctl.errors import ConfigurationError, WecityError

# Maximum size of a request body: with a state or journal entries, and of any other.
LARGE_BODY: Final = 256 << 20
SMALL_BODY: Final = 4 << 20
MAX_REQUESTS: Final = 64
BODY_SECONDS: Final = 60.0
REQUEST_SECONDS: Final = 120.0
_QUEUE_SECONDS: Final = 10.0
_PAGE: Final = 100
# The log's name for requests that are not served.
_UNKNOWN: Final = "unknown"
# Stands in place of an update's id for a lock that this server did not take.
_FOREIGN: Final = "foreign-lock"


@dataclass(frozen=True, slots=True)
class _Rule:
    """A request's name in the log, the role that it needs, its maximum size, and whether it uses an update's token."""

    name: str
    role: Role = Role.PREVIEW
    limit: int = SMALL_BODY
    of_update: bool = False


@dataclass(slots=True)
class _Entry:
    """The fields that the log gets for a request."""

    who: str = ""
    role: str = ""
    error: str = ""
    is_logged: bool = True


_WHO = web.RequestKey("who", Token)
_LEASE = web.RequestKey("lease", Lease)
_ENTRY = web.RequestKey("entry", _Entry)


@dataclass(slots=True)
class StateServer:
    """Serves the stacks of one place. `clock` returns monotonic seconds."""

    stacks: Stacks
    tokens: TokenFile
    log: ServerLog
    clock: Callable[[], float] = time.monotonic
    leases: Leases = field(init=False)
    _failures: Failures = field(init=False)
    _admission: Admission = field(init=False)
    _tasks: set[asyncio.Task[web.StreamResponse]] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self.leases = Leases(self.stacks, self._ended, self.clock)
        self._failures = Failures(self.clock)
        self._admission = Admission(MAX_REQUESTS)

    def application(self, seen: Callable[[Any], None]) -> web.Application:
        """Return the web application; `seen` is called with the connection of each request."""

        @web.middleware
        async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
            seen(request.protocol)
            return await self._gate(request, handler)

        application = web.Application(client_max_size=LARGE_BODY, middlewares=[gate])
        application.add_routes(self._routes())
        return application

    # -- the gate

    async def _gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        started, entry = self.clock(), _Entry()
        request[_ENTRY] = entry
        rule = _RULES.get(getattr(handler, "__func__", handler), _Rule(_UNKNOWN))
        try:
            answer = await protocol.answered(request, partial(self._admit, rule, handler))
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            # The error's text may contain anything, including secrets.
            entry.error = f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno}"
            answer = protocol.failure(500, "internal error; the server's log says where")
        if entry.is_logged:
            self._note(request, rule, answer.status, self.clock() - started)
        return answer

    def _note(self, request: web.Request, rule: _Rule, status: int, seconds: float) -> None:
        entry, names = request[_ENTRY], request.match_info
        stack = _stack(request) if "stack" in names else ""
        self.log.write(
            "request",
            address=request.remote,
            who=entry.who,
            role=entry.role,
            what=rule.name,
            kind=names.get("kind", ""),
            # Only for authenticated requests: the path of any other could contain a token.
            stack=stack if entry.who else "",
            update=names.get("id", "") if entry.who else "",
            status=status,
            ms=round(seconds * 1000),
            error=entry.error,
        )

    async def _admit(self, rule: _Rule, handler: Handler, request: web.Request) -> web.StreamResponse:
        """Authenticate the request, wait for its turn, and handle it."""
        self._authenticate(request, rule)
        try:
            place = await self._admission.take(request.remote or "", _sender(request), _QUEUE_SECONDS)
        except TimeoutError:
            raise web.HTTPServiceUnavailable(text="too many requests at once", headers={"Retry-After": "5"}) from None
        # In a task of its own: work that a thread has begun is awaited even if the client disconnects.
        task = asyncio.ensure_future(self._handle(rule, handler, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: place.give())
        done, _ = await asyncio.wait({task}, timeout=BODY_SECONDS + REQUEST_SECONDS)
        if not done:
            task.add_done_callback(lambda late: late.cancelled() or late.exception())
            raise web.HTTPServiceUnavailable(text="the place of the states does not answer")
        return task.result()

    async def _handle(self, rule: _Rule, handler: Handler, request: web.Request) -> web.StreamResponse:
        if not rule.of_update and rule.name != _UNKNOWN and "stack" in request.match_info:
            stack = _stack(request)
            if request.method != "HEAD" and rule.name != "create-stack":
                await asyncio.to_thread(self.stacks.require, stack)
            request[SESSION] = Session(self.stacks.open(stack))
        if rule.name == _UNKNOWN:
            raise web.HTTPNotFound(text=unserved(request.path))
        limit = rule.limit
        if rule.of_update and request[_LEASE].previews:
            # Only changing updates send a journal or a state.
            limit = min(limit, SMALL_BODY)
        return await protocol.in_session(request, handler, limit, BODY_SECONDS)

    def _authenticate(self, request: web.Request, rule: _Rule) -> None:
        """Authenticate and authorise the request. Raises the exceptions for 401, 403, 404, 429 or 503."""
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        if rule.of_update:
            self._authenticate_update(request, given if kind == "update-token" else "")
            return
        try:
            token = self.tokens.find(given) if kind == "token" else None
        except ConfigurationError:
            raise web.HTTPServiceUnavailable(text="the server's file of tokens cannot be used") from None
        if token is None:
            raise self._refused(request, web.HTTPUnauthorized, "the token is unknown or has expired")
        self._check(request, token)
        request[_WHO] = token
        self._require_role(token, rule.role, rule.name)

    def _authenticate_update(self, request: web.Request, given: str) -> None:
        lease = self.leases.with_token(given) if given else None
        if lease is None or lease.holder is None:
            text = "there is no such update: it has ended, or the server was started again"
            raise self._refused(request, web.HTTPForbidden, text)
        if lease.id != request.match_info["id"] or lease.stack != _stack(request):
            raise web.HTTPForbidden(text=f"the token is for an update of {lease.stack} alone")
        self._check(request, lease.holder)
        if not self.tokens.holds(lease.holder):
            raise web.HTTPForbidden(text=f"the token of {lease.who} was removed")
        request[SESSION] = request[_LEASE] = lease

    def _check(self, request: web.Request, token: Token) -> None:
        """Record the token's owner, and check that the token allows the stack in the path."""
        entry, names = request[_ENTRY], request.match_info
        entry.who, entry.role = token.name, token.role
        if names.get("organization", ORGANIZATION) != ORGANIZATION:
            raise web.HTTPNotFound(text=f"this server has one organization, which is called {ORGANIZATION}")
        if "stack" in names:
            self._require_stack(token, _stack(request))

    @staticmethod
    def _require_stack(token: Token, stack: str) -> None:
        require_name(stack)
        if not token.allows(stack):
            raise web.HTTPForbidden(text=f"{token.name} may not see {stack}: only {', '.join(token.stacks)}")

    @staticmethod
    def _require_role(token: Token, role: Role, what: str) -> None:
        if not token.role.includes(role):
            raise web.HTTPForbidden(
                text=f"{token.name} has the role {token.role.value} and may not do this: {what} needs {role.value}"
            )

    def _refused(self, request: web.Request, kind: type[web.HTTPError], text: str) -> web.HTTPError:
        seconds, is_logged = self._failures.add(request.remote or "")
        request[_ENTRY].is_logged = is_logged
        if seconds:
            return web.HTTPTooManyRequests(text="too many failed attempts", headers={"Retry-After": str(seconds)})
        return kind(text=text)

    # -- users and stacks

    async def _user(self, request: web.Request) -> web.Response:
        return protocol.user(request[_WHO].name)

    async def _capabilities(self, request: web.Request) -> web.Response:
        return web.json_response({"capabilities": []})

    async def _list(self, request: web.Request) -> web.Response:
        token, query = request[_WHO], request.query
        ours, project = query.get("organization", ORGANIZATION) == ORGANIZATION, query.get("project")
        names = await asyncio.to_thread(self.stacks.names) if ours else []
        after = query.get("continuationToken", "")
        if project is not None:
            names = [name for name in names if apart(name)[0] == project]
        wanted = [name for name in names if name > after and token.allows(name)]
        if "tagName" in query:
            wanted = await asyncio.to_thread(
                self.stacks.with_tag, wanted, query["tagName"], query.get("tagValue"), _PAGE + 1
            )
        found = []
        for name in wanted[:_PAGE]:
            try:
                found.append(await asyncio.to_thread(self.stacks.summary, name))
            except WecityError:
                # A damaged stack is reported when it is opened, and must not hide the others.
                continue
        items = [
            {
                **_names_of(item.stack),
                "resourceCount": item.resources,
                **({"lastUpdate": item.updated} if item.updated is not None else {}),
            }
            for item in found
        ]
        more = {"continuationToken": wanted[_PAGE - 1]} if len(wanted) > _PAGE else {}
        return web.json_response({"stacks": items, **more})

    async def _project(self, request: web.Request) -> web.Response:
        names = await asyncio.to_thread(self.stacks.names)
        project = request.match_info["project"]
        is_there = any(apart(name)[0] == project and request[_WHO].allows(name) for name in names)
        return web.Response(status=200 if is_there else 404)

    async def _create_stack(self, request: web.Request) -> web.Response:
        token, body = request[_WHO], request[BODY]
        stack = named(request.match_info["project"], str(body.get("stackName") or ""))
        self._require_stack(token, stack)
        if body.get("config"):
            raise web.HTTPBadRequest(text="this server keeps no configuration of stacks: it belongs beside the program")
        # `pulumi stack init` sends a state without resources that names the secrets provider.
        state = (body.get("state") or {}).get("deployment") or {}
        _refuse_own_secrets(state.get("secrets_providers"))
        tags = checked_tags(body.get("tags") or {})
        if state.get("resources") or state.get("pending_operations"):
            self._require_role(token, Role.ADMIN, "importing a state")
        if not state.get("secrets_providers"):
            # Reported now instead of at the stack's first secret.
            raise web.HTTPBadRequest(text=protocol.NO_SECRETS)
        async with self.leases.turn_of(stack):
            await asyncio.to_thread(self.stacks.create, stack)
            await asyncio.to_thread(self.stacks.replace, stack, state, "", token.name)
            await asyncio.to_thread(self.stacks.set_tags, stack, tags)
        return web.json_response({})

    async def _show(self, request: web.Request) -> web.Response:
        stack = _stack(request)
        lease = self.leases.changing(stack)
        found: dict[str, Any] = {**_names_of(stack), "tags": {}, "version": 0, "activeUpdate": ""}
        if lease is not None:
            found["activeUpdate"] = lease.id
            found["currentOperation"] = {"kind": lease.about.kind, "author": lease.who, "started": lease.started}
        elif await asyncio.to_thread(self.stacks.locks, stack):
            found["activeUpdate"] = _FOREIGN
        found["tags"] = await asyncio.to_thread(self.stacks.tags, stack)
        found["version"] = await asyncio.to_thread(self.stacks.next_version, stack) - 1
        return web.json_response(found)

    async def _tags(self, request: web.Request) -> web.Response:
        """Replace the stack's tags with those in the body."""
        stack, tags = _stack(request), checked_tags(request[BODY])
        await asyncio.to_thread(self.stacks.set_tags, stack, tags)
        return web.json_response({})

    async def _remove(self, request: web.Request) -> web.Response:
        stack, force = _stack(request), request.query.get("force") == "true"
        async with self.leases.turn_of(stack):
            await self.leases.make_room(stack)
            try:
                await asyncio.to_thread(partial(self.stacks.remove, stack, force=force))
            except StackHasResourcesError:
                return protocol.failure(400, HAS_RESOURCES)
        return web.Response(status=204)

    async def _import(self, request: web.Request) -> web.Response:
        stack, who = _stack(request), request[_WHO].name
        deployment = request[BODY]["deployment"]
        _refuse_own_secrets(deployment.get("secrets_providers"))
        async with self.leases.turn_of(stack):
            await self.leases.make_room(stack)
            await asyncio.to_thread(self.stacks.replace, stack, deployment, "", who)
            await asyncio.to_thread(self.stacks.prune, stack)
        # The engine polls this update's status next.
        return web.json_response({"updateId": "imported"})

    async def _history(self, request: web.Request) -> web.Response:
        found = await asyncio.to_thread(self.stacks.history, _stack(request))
        size, page = (int(request.query.get(name) or 0) for name in ("pageSize", "page"))
        if size > 0:
            first = size * (max(page, 1) - 1)
            found = found[first : first + size]
        return web.json_response({"updates": found})

    async def _latest(self, request: web.Request) -> web.Response:
        found = await asyncio.to_thread(self.stacks.history, _stack(request))
        if not found:
            raise web.HTTPNotFound(text="the stack has never been updated")
        return web.json_response({"info": found[0]})

    # -- updates

    async def _create(self, request: web.Request) -> web.Response:
        """Register an update and return its id; a separate request starts it."""
        token, body, kind = request[_WHO], request[BODY], request.match_info["kind"]
        previews = kind == "preview" or bool((body.get("options") or {}).get("dryRun"))
        if not previews:
            self._require_role(token, Role.UPDATE, kind)
        about = protocol.about(kind, body)
        lease = self.leases.request(_stack(request), about, token, previews=previews)
        return web.json_response({"updateID": lease.id, "requiredPolicies": []})

    async def _start(self, request: web.Request) -> web.Response:
        lease = self._own_lease(request)
        await self.leases.start(lease)
        return protocol.begun(lease.update_token, lease.about.version, self.leases.expiry(lease))

    async def _status(self, request: web.Request) -> web.Response:
        """Return the status of an update. The CLI asks for it after an import, which has ended by then."""
        lease = self.leases.find(request.match_info["id"])
        status = "succeeded"
        if lease is not None and lease.stack == _stack(request):
            status = "running" if not lease.over else "succeeded" if lease.succeeded else "failed"
        elif request.match_info["id"] != "imported":
            raise web.HTTPNotFound(text="there is no such update")
        return web.json_response({"status": status, "events": []})

    def _own_lease(self, request: web.Request) -> Lease:
        token = request[_WHO]
        lease = self.leases.find(request.match_info["id"])
        if lease is None or lease.stack != _stack(request) or lease.holder is None:
            raise web.HTTPNotFound(text="there is no such update")
        if lease.holder.id != token.id:
            raise web.HTTPForbidden(text=f"it is an update of {lease.who}")
        return lease

    async def _renew(self, request: web.Request) -> web.Response:
        lease = self._going_on(request)
        seconds = request[BODY].get("duration")
        return protocol.renewed(
            lease.update_token, self.leases.renew(lease, seconds if isinstance(seconds, int) else LEASE_SECONDS)
        )

    async def _append(self, request: web.Request) -> web.StreamResponse:
        lease = self._going_on(request)
        if lease.refusal:
            # The engine sends several batches at once, and shows the last answer.
            raise web.HTTPBadRequest(text=lease.refusal)
        try:
            return await self._keep(request)
        except web.HTTPError as error:
            lease.refusal = error.text or error.reason
            raise
        except WecityError as error:
            lease.refusal = describe(error)
            raise

    async def _keep(self, request: web.Request) -> web.StreamResponse:
        for entry in request[BODY].get("entries") or ():
            if isinstance(entry, dict):
                _refuse_own_secrets(entry.get("secretsProvider"))
        return await protocol.append(request)

    async def _checkpoint(self, request: web.Request) -> web.StreamResponse:
        self._going_on(request)
        _refuse_own_secrets((request[BODY].get("deployment") or {}).get("secrets_providers"))
        return await protocol.checkpoint(request)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        self._going_on(request)
        return await protocol.events(request)

    async def _complete(self, request: web.Request) -> web.Response:
        lease = request[_LEASE]
        if not lease.is_completed:
            self._going_on(request)
        succeeded = request[BODY].get("status") == "succeeded"
        return protocol.completed(await self.leases.complete(lease, succeeded=succeeded))

    @staticmethod
    def _going_on(request: web.Request) -> Lease:
        """Return the request's update. Raises the exception that ends the engine's run if the update is over."""
        lease = request[_LEASE]
        if lease.over:
            raise web.HTTPForbidden(text=f"nothing more is taken for this update of {lease.stack}: {lease.over}")
        return lease

    async def _cancel(self, request: web.Request) -> web.Response:
        token, names, stack = request[_WHO], request.match_info, _stack(request)
        if names["id"] == _FOREIGN:
            self._require_role(token, Role.ADMIN, "releasing a lock")
            async with self.leases.turn_of(stack):
                if self.leases.changing(stack) is not None:
                    raise LockedError(f"{stack} is being changed")
                await asyncio.to_thread(self.stacks.unlock, stack)
            return web.json_response({})
        lease = self.leases.find(names["id"])
        if lease is None or lease.stack != stack or lease.holder is None:
            raise web.HTTPNotFound(text="there is no such update")
        if lease.holder.id != token.id:
            self._require_role(token, Role.ADMIN, f"cancelling an update of {lease.who}")
        await self.leases.cancel(lease, token.name)
        return web.json_response({})

    def _ended(self, lease: Lease, why: str) -> None:
        self.log.write(
            "update-ended",
            who=lease.who,
            stack=lease.stack,
            update=lease.id,
            kind=lease.about.kind,
            result="succeeded" if lease.succeeded else "failed",
            reason=why,
        )

    def adopt(self) -> None:
        """Continue the updates of a previous server. Blocks; call it before clients are accepted."""
        for kept in self.stacks.kept_leases():
            holder, why = self.tokens.with_id(kept.holder), "its token was removed"
            if holder is not None:
                try:
                    lease = self.leases.adopt(kept, holder)
                except (WecityError, OSError, TypeError) as error:
                    why = describe(error) if isinstance(error, WecityError) else type(error).__name__
                else:
                    self.log.write(
                        "update-adopted", who=lease.who, stack=lease.stack, update=lease.id, kind=lease.about.kind
                    )
                    continue
            self.log.write("update-adopted", stack=kept.stack, update=kept.id, result="refused", reason=why)
            self.stacks.drop_lease(kept.stack)

    async def close(self, *, end: bool) -> list[str]:
        """Accept no more requests and, with `end`, end the running updates; return those that could not be ended."""
        failed = await self.leases.close(end=end)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=REQUEST_SECONDS)
        return failed

    def _routes(self) -> list[web.RouteDef]:
        project = "/api/stacks/{organization}/{project}"
        update = UPDATE_PATH + "/{id}"
        return [
            web.patch(update + "/journalentries", self._append),
            web.get("/api/user", self._user),
            web.get("/api/capabilities", self._capabilities),
            web.get("/api/user/stacks", self._list),
            web.head(project, self._project),
            web.post(project, self._create_stack),
            *protocol.STACK_ROUTES,
            web.get(STACK_PATH, self._show),
            web.delete(STACK_PATH, self._remove),
            web.post(STACK_PATH + "/import", self._import),
            web.patch(STACK_PATH + "/tags", self._tags),
            web.get(STACK_PATH + "/updates", self._history),
            web.get(STACK_PATH + "/updates/latest", self._latest),
            web.post(UPDATE_PATH, self._create),
            web.post(update, self._start),
            web.get(update, self._status),
            web.patch(update + "/checkpoint", self._checkpoint),
            web.post(update + "/events/batch", self._events),
            web.post(update + "/renew_lease", self._renew),
            web.post(update + "/complete", self._complete),
            web.post(update + "/cancel", self._cancel),
        ]


def _refuse_own_secrets(provider: object) -> None:
    """Raise the exception for 400 if a state names this server as its secrets provider.

    The server has no key, so neither plain `pulumi` nor wecityctl could decrypt the secrets.
    """
    if isinstance(provider, dict) and provider.get("type") == "service":
        raise web.HTTPBadRequest(text=protocol.NO_SECRETS)


def _stack(request: web.Request) -> str:
    """Return the server's name of the stack in a request's path."""
    return named(request.match_info["project"], request.match_info["stack"])


def _names_of(stack: str) -> dict[str, Any]:
    project, name = apart(stack)
    return protocol.names_of(name, project)


def _sender(request: web.Request) -> str:
    """Return the id of the token with which a request was sent."""
    found = request.get(_WHO)
    holder = found if found is not None else request[_LEASE].holder
    return holder.id if holder is not None else ""


_RULES: Final[dict[Any, _Rule]] = {
    protocol.organization: _Rule("user"),
    protocol.export: _Rule("export"),
    protocol.encrypt: _Rule("encrypt"),
    protocol.decrypt: _Rule("decrypt"),
    protocol.encrypt_all: _Rule("encrypt"),
    protocol.decrypt_all: _Rule("decrypt"),
    protocol.nothing: _Rule("notice"),
    StateServer._tags: _Rule("tag", Role.UPDATE),
    StateServer._user: _Rule("user"),
    StateServer._capabilities: _Rule("capabilities"),
    StateServer._list: _Rule("list"),
    StateServer._project: _Rule("project"),
    StateServer._create_stack: _Rule("create-stack", Role.UPDATE, LARGE_BODY),
    StateServer._show: _Rule("show"),
    StateServer._remove: _Rule("remove-stack", Role.ADMIN),
    StateServer._import: _Rule("import", Role.ADMIN, LARGE_BODY),
    StateServer._history: _Rule("history"),
    StateServer._latest: _Rule("history"),
    # The role that the kind of update needs is checked after the body is read.
    StateServer._create: _Rule("request-update"),
    StateServer._start: _Rule("start-update"),
    StateServer._status: _Rule("update-status"),
    StateServer._append: _Rule("journal", limit=LARGE_BODY, of_update=True),
    StateServer._checkpoint: _Rule("checkpoint", limit=LARGE_BODY, of_update=True),
    StateServer._events: _Rule("events", limit=LARGE_BODY, of_update=True),
    StateServer._renew: _Rule("renew-lease", of_update=True),
    StateServer._complete: _Rule("complete", of_update=True),
    StateServer._cancel: _Rule("cancel"),
}
