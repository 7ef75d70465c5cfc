"""The agent's copy of the cluster's objects, updated by watches and returned as an immutable `State`.

When a watch fails, the copy is kept until a new list replaces it in one step.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wecityctl.errors import WecityError
from wecityctl.kube.client import KubeClient
from wecityctl.kube.errors import Gone
from wecityctl.kube.resource import Object, ResourceType, meta
from wecityctl.local.netpol import parse
from wecityctl.local.netpol.model import Key, State
from wecityctl.local.netpol.records import Records

_log = logging.getLogger(__name__)
_WATCH_SECONDS = 120
_PAUSE_SECONDS = 0.5
_PAGE = 500


@dataclass(frozen=True, slots=True)
class _Source:
    """A watched kind, and the function that reads what is kept of an object (`None`: nothing)."""

    type: ResourceType
    read: Callable[[Object], Any]


def _warn(text: str) -> None:
    _log.warning("%s", text)


_SOURCES = {
    "namespaces": _Source(ResourceType("", "v1", "Namespace", "namespaces", False), parse.labels),
    "pods": _Source(ResourceType("", "v1", "Pod", "pods", True), parse.pod),
    "policies": _Source(
        ResourceType("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", True),
        lambda obj: parse.policy(obj, _warn),
    ),
}


class Store:
    """The copy of the cluster. `changed` is called after every change that may affect the rules."""

    def __init__(self, pod_cidr: str, records: Records | None, changed: Callable[[], None]) -> None:
        self._pod_cidr = pod_cidr
        self._records = records
        self._changed = changed
        self._objects: dict[str, dict[Key, Any]] = {}

    @property
    def complete(self) -> bool:
        """Whether every kind was listed at least once; before that the copy is incomplete."""
        return self._objects.keys() == _SOURCES.keys()

    def state(self) -> State:
        """An immutable snapshot."""
        namespaces = {name: labels for (_, name), labels in self._objects["namespaces"].items()}
        return State(
            pod_cidr=self._pod_cidr,
            namespaces=namespaces,
            pods=dict(self._objects["pods"]),
            policies=dict(self._objects["policies"]),
            records=None if self._records is None else self._records.all,
        )

    async def follow(self, client: KubeClient) -> None:
        """Update the copy until cancelled; survives failures of the API server."""
        async with asyncio.TaskGroup() as group:
            for name in _SOURCES:
                group.create_task(self._follow(client, name))

    async def _follow(self, client: KubeClient, name: str) -> None:
        said = ""
        while True:
            try:
                version = await self._list(client, name)
                said = ""
                await self._watch(client, name, version)
            except Gone:
                continue
            except WecityError as error:
                if error.message != said:
                    said = error.message
                    _log.warning("%s are not followed at the moment; the rules stay as they are: %s", name, said)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _list(self, client: KubeClient, name: str) -> str:
        source = _SOURCES[name]
        found: dict[Key, Any] = {}
        token, version = "", ""
        while True:
            page = await client.list_page(source.type, limit=_PAGE, token=token)
            for item in page.items:
                _take(found, _key(item), source.read(item))
            token, version = page.next_token, page.resource_version
            if not token:
                break
        if self._objects.get(name) != found:
            self._objects[name] = found
            self._changed()
        return version

    async def _watch(self, client: KubeClient, name: str, version: str) -> None:
        """Watch from resource version `version`. Raises what `client.watch` raises; a new list is needed then."""
        source, objects = _SOURCES[name], self._objects[name]
        while True:
            began = asyncio.get_running_loop().time()
            async for event in client.watch(source.type, resource_version=version, timeout_seconds=_WATCH_SECONDS):
                version = str(meta(event.object).get("resourceVersion") or version)
                if event.type == "BOOKMARK":
                    continue
                key = _key(event.object)
                before = objects.get(key)
                _take(objects, key, None if event.type == "DELETED" else source.read(event.object))
                if objects.get(key) != before:
                    self._changed()
            if asyncio.get_running_loop().time() - began < 1:
                await asyncio.sleep(_PAUSE_SECONDS)


def _key(obj: Object) -> Key:
    metadata = meta(obj)
    return str(metadata.get("namespace") or ""), str(metadata.get("name"))


def _take(objects: dict[Key, Any], key: Key, value: object) -> None:
    if value is None:
        objects.pop(key, None)
    else:
        objects[key] = value
