"""The client of one API server as one user: requests with retries, discovery, server-side apply, watch, logs.

Keeps no copy of the cluster except discovery; waiting for objects is `readiness`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self, overload

from wecityctl.kube.config import Access
from wecityctl.kube.resource import Object, Page, ResourceType, WatchEvent
from wecityctl.kube.transport import HttpPool

WarningSink = Callable[[str], None]
Propagation = Literal["Background", "Foreground", "Orphan"]
PatchType = Literal["merge", "strategic", "json"]
FieldValidation = Literal["Strict", "Warn", "Ignore"]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long a request goes on trying while the API server throttles, restarts or cannot be reached.

    `first_contact_seconds` bounds it before the server has ever answered this client: a wrong address is told soon.
    """

    total_seconds: float = 60.0
    first_contact_seconds: float = 5.0
    first_delay: float = 0.1
    max_delay: float = 5.0


class KubeClient:
    """One API server as one user. Cheap to make; shares the pool's connections. `async with` or `aclose` ends its watches.

    `on_warning` gets every Warning header of the server; most calls take their own, which then gets them instead.
    """

    def __init__(
        self,
        access: Access,
        pool: HttpPool,
        *,
        user_agent: str = "wecityctl",
        on_warning: WarningSink | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        self.access = access

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End this client's shared watches. The pool stays open."""

    async def version(self) -> Object:
        """The server's /version: `gitVersion`, `major`, `minor` …"""
        raise NotImplementedError

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        accept: str | None = None,
        timeout: float | None = None,
        retry_seconds: float | None = None,
        on_warning: WarningSink | None = None,
    ) -> Object:
        """One JSON request. `timeout` (seconds, default 60) is for one attempt, `retry_seconds` for all of them.

        Tries again on 429 (after Retry-After), on 5xx and broken connections where the method allows it, and while the
        connection is refused. Raises the classes of `errors`.
        """
        raise NotImplementedError

    async def resource(self, api_version: str, kind: str) -> ResourceType:
        """The served type of that kind; asks again on a miss, then raises `KindNotFound`."""
        raise NotImplementedError

    async def resources(self, *, refresh: bool = False) -> list[ResourceType]:
        """Every type the cluster serves, in all versions; groups whose extension server does not answer are left out."""
        raise NotImplementedError

    async def get(self, rt: ResourceType, name: str, namespace: str | None = None) -> Object:
        """One object. Raises `NotFound`."""
        raise NotImplementedError

    async def list(
        self,
        rt: ResourceType,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        limit: int = 500,
    ) -> list[Object]:
        """All objects (every page) of a namespace, or of all namespaces when it is None."""
        raise NotImplementedError

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
        """One page, with the resource version to watch from. `limit` 0 means everything at once."""
        raise NotImplementedError

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
        """The changes since `resource_version` (empty: everything there now, then the changes).

        Ends quietly when the server's time is up or the connection breaks; raises `Gone` when the version is too old.
        """
        raise NotImplementedError

    async def apply(
        self,
        obj: Object,
        *,
        field_manager: str,
        force: bool = False,
        dry_run: bool = False,
        field_validation: FieldValidation = "Strict",
        subresource: str = "",
        on_warning: WarningSink | None = None,
    ) -> Object:
        """Server-side apply; the object as the server now has it. Raises `Conflict` when others own fields in it.

        A namespaced object without a namespace goes to the access's namespace.
        """
        raise NotImplementedError

    async def create(
        self,
        rt: ResourceType,
        namespace: str | None,
        obj: Object,
        *,
        field_manager: str,
        dry_run: bool = False,
        on_warning: WarningSink | None = None,
    ) -> Object:
        """POST. Raises `AlreadyExists`."""
        raise NotImplementedError

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
        on_warning: WarningSink | None = None,
    ) -> Object:
        """PUT. With a resourceVersion in `obj`, raises `Conflict` when the object has changed meanwhile."""
        raise NotImplementedError

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
        on_warning: WarningSink | None = None,
    ) -> Object:
        """PATCH of one of the three classic types."""
        raise NotImplementedError

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
        on_warning: WarningSink | None = None,
    ) -> Object:
        """Ask for deletion. With `uid`, only that very object (`Conflict` otherwise). Raises `NotFound`."""
        raise NotImplementedError

    @overload
    async def logs(
        self,
        namespace: str,
        pod: str,
        container: str = "",
        *,
        tail_lines: int | None = None,
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
        previous: bool = False,
        follow: bool = False,
    ) -> str | AsyncIterator[str]:
        """A container's log as text, or line by line (without the newline) as it grows with `follow`."""
        raise NotImplementedError

    async def events(self, namespace: str, uid: str) -> list[Object]:
        """The Events about the object of that uid, oldest first."""
        raise NotImplementedError
