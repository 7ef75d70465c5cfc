"""Discovers the kinds that the cluster serves: by aggregated discovery where available, otherwise per group.

A group whose extension server does not answer is omitted and reported as silent; the others are not affected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from wecityctl.kube.errors import ApiError, KindNotFound, KindUnavailable, NotFound
from wecityctl.kube.requester import Call, Requester
from wecityctl.kube.resource import ResourceType

_AGGREGATED = ",".join(
    [
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        "application/json",
    ]
)
_EXTENSION_SECONDS = 2.0
_Key = tuple[str, str]


class Discovery:
    """A cache of the served types of one API server, refreshed when a kind is not in it."""

    def __init__(self, requester: Requester) -> None:
        self._requester = requester
        self._types: dict[_Key, ResourceType] = {}
        self._silent: set[str] = set()
        self._round = 0
        self._lock = asyncio.Lock()

    async def find(self, api_version: str, kind: str) -> ResourceType:
        """The type of that kind. Raises `KindNotFound`."""
        key = (api_version, kind)
        found = self._types.get(key)
        if found is not None:
            return found
        seen = self._round
        async with self._lock:
            # Another task may have refreshed while this one waited. A refresh that began before the miss does not
            # count.
            if self._round <= seen:
                await self._refresh()
            found = self._types.get(key)
            if found is None:
                found = await self._ask_group_version(api_version, kind)
        if found is None and self._types and not any("/" not in version for version, _ in self._types):
            # Every API server has kinds in the core group: an answer without them is incomplete.
            raise KindUnavailable(api_version, kind, "the API server has not listed all its kinds yet")
        if found is None:
            raise KindNotFound(
                api_version,
                kind,
                resolution="install the CustomResourceDefinition or the extension that serves it first, "
                "or check apiVersion and kind",
            )
        return found

    async def serves(self, api_version: str, kind: str) -> bool:
        """Whether the server serves the kind now, according to the group version's own document."""
        try:
            return await self._ask_group_version(api_version, kind) is not None
        except KindUnavailable:
            return False

    async def all(self, *, refresh: bool) -> list[ResourceType]:
        """Every served type."""
        async with self._lock:
            if refresh or not self._round:
                await self._refresh()
        return list(self._types.values())

    @property
    def silent(self) -> frozenset[str]:
        """The groups whose server did not answer the last refresh: their kinds are unknown."""
        return frozenset(self._silent)

    async def _refresh(self) -> None:
        self._silent.clear()
        core, groups = await asyncio.gather(self._read("/api"), self._read("/apis"))
        self._types = {(t.api_version, t.kind): t for t in (*core, *groups)}
        self._round += 1

    async def _read(self, path: str) -> list[ResourceType]:
        answer = await self._requester.send(Call("GET", path, accept=_AGGREGATED))
        if answer.get("kind") == "APIGroupDiscoveryList":
            self._silent |= set(_stale(answer))
            return list(_aggregated(answer))
        if answer.get("kind") == "APIVersions":
            versions = [str(v) for v in answer.get("versions") or ()]
        else:
            versions = [str(v.get("groupVersion")) for g in answer.get("groups") or () for v in g.get("versions") or ()]
        found = await asyncio.gather(*(self._read_group_version(v) for v in versions))
        return [t for part in found for t in part]

    async def _read_group_version(self, api_version: str) -> list[ResourceType]:
        path = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        try:
            return list(_classic(await self._requester.send(Call("GET", path), retry_seconds=0)))
        except ApiError:
            self._silent.add(api_version.rpartition("/")[0])
            return []

    async def _ask_group_version(self, api_version: str, kind: str) -> ResourceType | None:
        # The aggregated document lags behind a new CustomResourceDefinition, and omits a group while its server is
        # slow. The group version's own document is always up to date.
        if "/" not in api_version:
            return None
        try:
            # A shorter limit than for other calls: an extension server that is gone for good answers 503 forever.
            answer = await self._requester.send(Call("GET", f"/apis/{api_version}"), retry_seconds=_EXTENSION_SECONDS)
        except NotFound:
            return None
        except ApiError as error:
            # This differs from a kind that is not served: its objects may exist.
            raise KindUnavailable(api_version, kind, error.message) from error
        served = {(t.api_version, t.kind): t for t in _classic(answer)}
        self._types.update(served)
        return served.get((api_version, kind))


def _stale(answer: dict[str, Any]) -> Iterable[str]:
    for group in answer.get("items") or ():
        if any(version.get("freshness") == "Stale" for version in group.get("versions") or ()):
            yield str((group.get("metadata") or {}).get("name") or "")


def _aggregated(answer: dict[str, Any]) -> Iterable[ResourceType]:
    for group in answer.get("items") or ():
        group_name = str((group.get("metadata") or {}).get("name") or "")
        for version in group.get("versions") or ():
            version_name = str(version.get("version") or "")
            for item in version.get("resources") or ():
                kind = item.get("responseKind") or {}
                if not kind.get("kind"):
                    continue
                yield ResourceType(
                    group=group_name,
                    version=version_name,
                    kind=str(kind["kind"]),
                    plural=str(item["resource"]),
                    namespaced=item.get("scope") == "Namespaced",
                    verbs=frozenset(item.get("verbs") or ()),
                    singular=str(item.get("singularResource") or ""),
                    short_names=tuple(item.get("shortNames") or ()),
                    subresources=frozenset(str(s.get("subresource")) for s in item.get("subresources") or ()),
                )


def _classic(answer: dict[str, Any]) -> Iterable[ResourceType]:
    group, _, version = str(answer.get("groupVersion") or "").rpartition("/")
    items = answer.get("resources") or []
    subresources: dict[str, set[str]] = {}
    for item in items:
        plural, _, sub = str(item.get("name")).partition("/")
        if sub:
            subresources.setdefault(plural, set()).add(sub)
    for item in items:
        plural = str(item.get("name"))
        if "/" in plural:
            continue
        yield ResourceType(
            group=group,
            version=version,
            kind=str(item["kind"]),
            plural=plural,
            namespaced=bool(item.get("namespaced")),
            verbs=frozenset(item.get("verbs") or ()),
            singular=str(item.get("singularName") or ""),
            short_names=tuple(item.get("shortNames") or ()),
            subresources=frozenset(subresources.get(plural, ())),
        )
