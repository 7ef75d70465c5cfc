"""The client of one API server as one user: objects, discovery, server-side apply, watch, logs.

Caches only discovery. `requester` retries; `readiness` waits for objects.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Literal, Self, overload

from wecityctl.kube.config import Access
from wecityctl.kube.discovery import Discovery
from wecityctl.kube.observer import Observer
from wecityctl.kube.openapi import Schema, Schemas
from wecityctl.kube.remote import ForwardedConnection, RemoteCommand, open_command, open_connection
from wecityctl.kube.requester import APPLY, JSON_PATCH, Call, Requester, RetryPolicy, WarningEmit
from wecityctl.kube.resource import Object, Objects, Page, ResourceType, WatchEvent, meta
from wecityctl.kube.streams import text_lines, watch_events
from wecityctl.kube.transport import HttpPool
from wecityctl.model.since import Since

Propagation = Literal["Background", "Foreground", "Orphan"]
PatchType = Literal["merge", "strategic", "json"]
FieldValidation = Literal["Strict", "Warn", "Ignore"]

_PATCHES: Mapping[PatchType, str] = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": JSON_PATCH,
}
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_EVENT = ResourceType("", "v1", "Event", "events", True)
_DOCUMENT_SECONDS = 5.0
_POD = ResourceType("", "v1", "Pod", "pods", True)


class KubeClient:
    """One API server as one user. Cheap to create; uses the pool's connections.

    `on_warning` receives every Warning header of the server, unless the call has its own `on_warning`.
    """

    def __init__(
        self,
        access: Access,
        pool: HttpPool,
        *,
        user_agent: str = "wecityctl",
        on_warning: WarningEmit | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        self.access = access
        self._requester = Requester(
            access, pool, user_agent=user_agent, retry=retry or RetryPolicy(), on_warning=on_warning
        )
        self._discovery = Discovery(self._requester)
        self._schemas = Schemas(access.server, self._document)
        self.observer = Observer(self)
        pool.on_close(self.observer.aclose)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End this client's shared watches. The pool stays open."""
        await self.observer.aclose()

    async def version(self) -> Object:
        """The server's /version: `gitVersion`, `major`, `minor` …"""
        return await self.request("GET", "/version")

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        accept: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - for each attempt, unlike asyncio.timeout around all of them
        retry_seconds: float | None = None,
        on_warning: WarningEmit | None = None,
    ) -> Object:
        """Send one JSON request. `timeout` limits each attempt (seconds without an answer), `retry_seconds` all of
        them.

        Retries on 429 (after Retry-After), on 5xx and broken connections if the method is safe to repeat, and while the
        connection is refused. Raises the classes of `errors`.
        """
        call = Call(method, path, params, _encode(body), content_type, accept or "application/json")
        return await self._object(call, on_warning, timeout=timeout, retry_seconds=retry_seconds)

    async def resource(self, api_version: str, kind: str) -> ResourceType:
        """The served type of that kind. Asks the server again if it is not cached, then raises `KindNotFound`."""
        return await self._discovery.find(api_version, kind)

    async def resources(self, *, refresh: bool = False) -> list[ResourceType]:
        """Every type that the cluster serves, in all versions, without the groups in `silent_groups`."""
        return await self._discovery.all(refresh=refresh)

    @property
    def silent_groups(self) -> frozenset[str]:
        """The API groups that `resources` omits because their extension server does not answer."""
        return self._discovery.silent

    async def serves(self, api_version: str, kind: str) -> bool:
        """Whether the kind is served right now; does not use the cache of discovery."""
        return await self._discovery.serves(api_version, kind)

    async def schema(self, api_version: str, kind: str) -> Schema:
        """The kind's list types, map keys and quantities; empty if the API server does not describe it."""
        return await self._schemas.find(api_version, kind)

    async def get(self, rt: ResourceType, name: str, namespace: str | None = None) -> Object:
        """One object. Raises `NotFound`."""
        return await self._object(Call("GET", self._path(rt, name, namespace)))

    async def list_page(
        self,
        rt: ResourceType,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        limit: int = 0,
        token: str = "",
    ) -> Page:
        """One page, with the resource version to watch from. With a `limit` of 0, everything in one page."""
        query = _filled(
            labelSelector=label_selector, fieldSelector=field_selector, limit=str(limit or ""), **{"continue": token}
        )
        accept = _METADATA_ONLY if metadata_only else "application/json"
        answer = await self._object(Call("GET", rt.path(None, namespace), query, accept=accept))
        items = answer.get("items") or []
        for item in items:
            # The items of a list have no apiVersion and kind of their own.
            item["apiVersion"], item["kind"] = rt.api_version, rt.kind
        metadata = meta(answer)
        return Page(items, str(metadata.get("resourceVersion") or ""), str(metadata.get("continue") or ""))

    async def list(
        self,
        rt: ResourceType,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        limit: int = 500,
    ) -> Objects:
        """All objects (every page) of a namespace, or of all namespaces when it is None."""
        items: Objects = []
        token = ""
        while True:
            page = await self.list_page(
                rt,
                namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                metadata_only=metadata_only,
                limit=limit,
                token=token,
            )
            items += page.items
            token = page.next_token
            if not token:
                return items

    def watch(
        self,
        rt: ResourceType,
        namespace: str | None = None,
        *,
        name: str | None = None,
        label_selector: str = "",
        resource_version: str = "",
        timeout_seconds: int = 300,
    ) -> AsyncIterator[WatchEvent]:
        """The changes since `resource_version` (empty: all existing objects, then the changes).

        Ends without an error at the server's timeout or when the connection breaks. Raises `Gone` if the version is too
        old.
        """
        query = _filled(
            watch="true",
            allowWatchBookmarks="true",
            labelSelector=label_selector,
            fieldSelector=f"metadata.name={name}" if name else "",
            resourceVersion=resource_version,
            timeoutSeconds=str(timeout_seconds),
        )
        return watch_events(
            self._requester, Call("GET", rt.path(None, namespace), query), timeout_seconds=timeout_seconds
        )

    async def apply(
        self,
        obj: Object,
        *,
        field_manager: str,
        force: bool = False,
        dry_run: bool = False,
        field_validation: FieldValidation = "Strict",
        subresource: str = "",
        on_warning: WarningEmit | None = None,
    ) -> Object:
        """Server-side apply; returns the object as stored. Raises `Conflict` when others own fields of `obj`.

        A namespaced object without a namespace goes to the access's namespace.
        """
        rt = await self.resource(str(obj.get("apiVersion")), str(obj.get("kind")))
        metadata = meta(obj)
        query = _filled(
            fieldManager=field_manager,
            force="true" if force else "false",
            dryRun="All" if dry_run else "",
            fieldValidation=field_validation,
        )
        call = Call(
            "PATCH",
            self._path(rt, str(metadata.get("name") or ""), metadata.get("namespace"), subresource),
            query,
            _encode(obj),
            APPLY,
            conflict_passes="resourceVersion" not in metadata,
        )
        return await self._object(call, on_warning)

    async def create(
        self,
        rt: ResourceType,
        namespace: str | None,
        obj: Object,
        *,
        field_manager: str,
        dry_run: bool = False,
        on_warning: WarningEmit | None = None,
    ) -> Object:
        """POST. Raises `AlreadyExists`."""
        path = rt.path(None, self._namespace(rt, namespace))
        return await self._object(Call("POST", path, _writing(field_manager, dry_run), _encode(obj)), on_warning)

    async def replace(
        self,
        rt: ResourceType,
        name: str,
        namespace: str | None,
        obj: Object,
        *,
        field_manager: str,
        dry_run: bool = False,
        subresource: str = "",
        on_warning: WarningEmit | None = None,
    ) -> Object:
        """PUT. With a resourceVersion in `obj`, raises `Conflict` when the object has changed meanwhile."""
        path = self._path(rt, name, namespace, subresource)
        return await self._object(Call("PUT", path, _writing(field_manager, dry_run), _encode(obj)), on_warning)

    async def patch(
        self,
        rt: ResourceType,
        name: str,
        namespace: str | None,
        patch: Any,
        *,
        field_manager: str,
        patch_type: PatchType = "merge",
        dry_run: bool = False,
        subresource: str = "",
        on_warning: WarningEmit | None = None,
    ) -> Object:
        """PATCH of one of the three classic types."""
        path = self._path(rt, name, namespace, subresource)
        call = Call("PATCH", path, _writing(field_manager, dry_run), _encode(patch), _PATCHES[patch_type])
        return await self._object(call, on_warning)

    async def delete(
        self,
        rt: ResourceType,
        name: str,
        namespace: str | None = None,
        *,
        propagation: Propagation = "Background",
        uid: str | None = None,
        resource_version: str | None = None,
        grace_seconds: int | None = None,
        dry_run: bool = False,
        on_warning: WarningEmit | None = None,
    ) -> Object:
        """Request deletion. With `uid`, only of exactly that object (`Conflict` otherwise). Raises `NotFound`."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        preconditions = _filled(uid=uid or "", resourceVersion=resource_version or "")
        if preconditions:
            options["preconditions"] = preconditions
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if dry_run:
            options["dryRun"] = ["All"]
        return await self._object(Call("DELETE", self._path(rt, name, namespace), body=_encode(options)), on_warning)

    @overload
    async def logs(
        self,
        namespace: str,
        pod: str,
        container: str = "",
        *,
        tail_lines: int | None = None,
        since: Since | None = None,
        previous: bool = False,
        follow: Literal[False] = False,
    ) -> str: ...

    @overload
    async def logs(
        self,
        namespace: str,
        pod: str,
        container: str = "",
        *,
        tail_lines: int | None = None,
        since: Since | None = None,
        previous: bool = False,
        follow: Literal[True],
    ) -> AsyncIterator[str]: ...

    async def logs(
        self,
        namespace: str,
        pod: str,
        container: str = "",
        *,
        tail_lines: int | None = None,
        since: Since | None = None,
        previous: bool = False,
        follow: bool = False,
    ) -> str | AsyncIterator[str]:
        """A container's log as text; with `follow`, line by line (without the newline) as it is written."""
        query = _filled(
            container=container,
            tailLines="" if tail_lines is None else str(tail_lines),
            sinceSeconds=str(since.seconds) if since is not None and since.seconds else "",
            sinceTime=since.time if since is not None else "",
            previous="true" if previous else "",
            follow="true" if follow else "",
        )
        call = Call("GET", _POD.path(pod, namespace, "log"), query, accept="*/*")
        if follow:
            return text_lines(self._requester, call)
        answer = await self._requester.send(call, retry_seconds=0, text=True)
        return str(answer)

    def exec(
        self,
        namespace: str,
        pod: str,
        container: str,
        command: Sequence[str],
        *,
        stdin: bool = False,
        terminal: bool = False,
    ) -> AbstractAsyncContextManager[RemoteCommand]:
        """Start a command in a container. With `terminal` it has one there, and no stream of errors of its own."""
        query = [("container", container), *(("command", word) for word in command)]
        query += [(name, "true") for name, on in (("stdin", stdin), ("stdout", True), ("tty", terminal)) if on]
        query += [("stderr", "true")] if not terminal else []
        return open_command(self._requester, _POD.path(pod, namespace, "exec"), query)

    def port_forward(self, namespace: str, pod: str, port: int) -> AbstractAsyncContextManager[ForwardedConnection]:
        """One connection to a TCP port of a pod, by way of the API server."""
        return open_connection(self._requester, _POD.path(pod, namespace, "portforward"), port)

    async def username(self) -> str:
        """The name of this user for the API server."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = await self.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=body)
        return str(((answer.get("status") or {}).get("userInfo") or {}).get("username") or "")

    async def events(self, namespace: str, uid: str) -> Objects:
        """The Events about the object of that uid, oldest first."""
        # Events about cluster-scoped objects are in the namespace "default".
        found = await self.list(_EVENT, namespace or "default", field_selector=f"involvedObject.uid={uid}")
        return sorted(found, key=event_time)

    async def _object(
        self,
        call: Call,
        on_warning: WarningEmit | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
        retry_seconds: float | None = None,
    ) -> Object:
        answer = await self._requester.send(
            call, attempt_seconds=timeout or 60.0, retry_seconds=retry_seconds, on_warning=on_warning
        )
        return answer if isinstance(answer, dict) else {"value": answer}

    async def _document(self, path: str, query: Mapping[str, str]) -> Object:
        return await self.request("GET", path, params=query, retry_seconds=_DOCUMENT_SECONDS)

    def _namespace(self, rt: ResourceType, namespace: str | None) -> str | None:
        return (namespace or self.access.namespace) if rt.namespaced else None

    def _path(self, rt: ResourceType, name: str, namespace: str | None, subresource: str = "") -> str:
        return rt.path(name, self._namespace(rt, namespace), subresource)


def event_time(event: Object) -> str:
    """The time of an Event's last occurrence, as sortable text."""
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or meta(event).get("creationTimestamp")
        or ""
    )


def _encode(body: Any) -> bytes | None:
    return None if body is None else json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def _filled(**values: str) -> dict[str, str]:
    return {k: v for k, v in values.items() if v}


def _writing(field_manager: str, dry_run: bool) -> dict[str, str]:
    return _filled(fieldManager=field_manager, dryRun="All" if dry_run else "")
