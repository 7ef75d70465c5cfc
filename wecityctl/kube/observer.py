"""Shared watches: one list and one watch per collection, however many callers wait for objects in it.

Keeps the latest state of the watched objects; `readiness` evaluates it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from wecityctl.errors import DeploymentError, WecityError
from wecityctl.kube.errors import ApiError, Gone, Unreachable
from wecityctl.kube.resource import Object, ResourceType, meta

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient

_LINGER_SECONDS = 3.0
_Key = tuple[ResourceType, str | None, str | None]


def version_of(obj: Object) -> int:
    """The resource version as a number (comparable since Kubernetes 1.35, and in practice always); 0 if it is none."""
    text = str(meta(obj).get("resourceVersion") or "")
    return int(text) if text.isdigit() else 0


class Feed:
    """The live state of a collection, or of the one object `name` in it.

    If the watch cannot continue (no permission, the kind is gone, no connection), `error` is set and every waiter is
    woken.
    """

    def __init__(self, client: KubeClient, rt: ResourceType, namespace: str | None, name: str | None) -> None:
        self.objects: dict[str, Object] = {}
        self.version = 0
        self.synced = False
        self.error: WecityError | None = None
        self.users = 0
        self._client = client
        self._rt = rt
        self._namespace = namespace
        self._name = name
        self._by_name: dict[str, set[asyncio.Event]] = {}
        self._by_rule: dict[asyncio.Event, Callable[[Object], bool]] = {}
        self.task = asyncio.create_task(self._run(), name=f"watch {rt.plural} {namespace or ''} {name or ''}")

    @contextmanager
    def wake_on_name(self, name: str, event: asyncio.Event) -> Iterator[None]:
        """Set `event` whenever the object of that name changes."""
        self._by_name.setdefault(name, set()).add(event)
        try:
            yield
        finally:
            self._by_name[name].discard(event)
            if not self._by_name[name]:
                del self._by_name[name]

    @contextmanager
    def wake_on(self, rule: Callable[[Object], bool], event: asyncio.Event) -> Iterator[None]:
        """Set `event` whenever an object changes for which `rule` is true."""
        self._by_rule[event] = rule
        try:
            yield
        finally:
            del self._by_rule[event]

    async def _run(self) -> None:
        failures = 0
        try:
            while True:
                version = await self._list()
                failures = 0 if await self._follow(version) else failures + 1
                if failures:
                    # A server that rejects or breaks every watch must not be asked in a busy loop.
                    await asyncio.sleep(min(0.1 * 2**failures, 5.0))
        except WecityError as error:
            self.error = error
        except Exception as error:  # a programming error must wake the waiters too
            self.error = DeploymentError(f"watching {self._rt.plural} failed: {error!r}")
            self.error.__cause__ = error
        self._wake_all()

    async def _list(self) -> str:
        selector = f"metadata.name={self._name}" if self._name else ""
        page = await self._client.list_page(self._rt, self._namespace, field_selector=selector)
        self.objects = {str(meta(item).get("name")): item for item in page.items}
        self.version = max(self.version, int(page.resource_version or 0) if page.resource_version.isdigit() else 0)
        self.synced = True
        self._wake_all()
        return page.resource_version

    async def _follow(self, version: str) -> bool:
        """Watch from `version` until a new list is needed; returns whether the watch ever worked."""
        worked = False
        while True:
            began = asyncio.get_running_loop().time()
            try:
                async for event in self._client.watch(
                    self._rt, self._namespace, name=self._name, resource_version=version
                ):
                    version = str(meta(event.object).get("resourceVersion") or version)
                    self._take(event.type, event.object)
                    worked = True
            except (Gone, Unreachable):
                return worked
            except ApiError as error:
                if error.status < 500 and error.status != 429:
                    raise
                return worked
            if asyncio.get_running_loop().time() - began < 1.0:
                return False
            worked = True

    def _take(self, kind: str, obj: Object) -> None:
        self.version = max(self.version, version_of(obj))
        if kind == "BOOKMARK":
            return
        name = str(meta(obj).get("name"))
        if kind == "DELETED":
            self.objects.pop(name, None)
        else:
            self.objects[name] = obj
        for event in self._by_name.get(name, ()):
            event.set()
        for event, rule in self._by_rule.items():
            if not event.is_set() and rule(obj):
                event.set()

    def _wake_all(self) -> None:
        for events in self._by_name.values():
            for event in events:
                event.set()
        for event in self._by_rule:
            event.set()


class Observer:
    """The feeds of one client. A feed ends a few seconds after its last user has left."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._feeds: dict[_Key, Feed] = {}

    @asynccontextmanager
    async def follow(self, rt: ResourceType, namespace: str | None, name: str | None = None) -> AsyncIterator[Feed]:
        """The feed of a collection, or with `name` of one object. Started if it has no user yet."""
        key = (rt, namespace, name)
        feed = self._feeds.get(key)
        if feed is None or feed.task.done():
            feed = self._feeds[key] = Feed(self._client, rt, namespace, name)
        feed.users += 1
        try:
            yield feed
        finally:
            feed.users -= 1
            if not feed.users:
                asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._end_unused, key, feed)

    async def aclose(self) -> None:
        """End every feed."""
        feeds, self._feeds = list(self._feeds.values()), {}
        for feed in feeds:
            feed.task.cancel()
        await asyncio.gather(*(feed.task for feed in feeds), return_exceptions=True)

    def _end_unused(self, key: _Key, feed: Feed) -> None:
        if feed.users:
            return
        feed.task.cancel()
        if self._feeds.get(key) is feed:
            del self._feeds[key]
