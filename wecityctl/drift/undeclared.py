"""Finds undeclared objects in a city's namespaces, with one list per kind, mostly of metadata only.

Only `remove` changes anything. The caller says what is declared; the city's namespaces are read here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from wecityctl.drift import classify, clusterwide, pods
from wecityctl.drift.endpoints import Services, are_kept
from wecityctl.drift.kinds import (
    ALL,
    BINDING,
    ENDPOINT_SLICE,
    ENDPOINTS,
    LABELLED,
    NAMESPACE,
    POD,
    RBAC,
    ROLE,
    SERVICE,
    STATEFUL,
    extensions,
    is_whole,
)
from wecityctl.kube.client import KubeClient
from wecityctl.kube.errors import Conflict, Forbidden, KindNotFound, NotFound
from wecityctl.kube.resource import Object, Objects, ResourceType
from wecityctl.model.city import City, Expected
from wecityctl.model.findings import Finding, being_deleted
from wecityctl.model.kinds import TRAFFIC, gives_or_opens, is_traffic
from wecityctl.model.naming import CITY_LABEL, RETAINED_FOR
from wecityctl.model.security import CLOSING_KINDS, group_of, only_closes

# Created by the API server and its controllers in every namespace.
_DEFAULTS: Final = frozenset({("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")})
# Objects that other controllers create in every namespace are recognised by being in this one too.
_FIRST_NAMESPACE: Final = "default"
_TOKEN: Final = re.compile(r"default-token-[a-z0-9]{5}")
_TOKEN_OF: Final = "kubernetes.io/service-account.name"  # noqa: S105
_MOST_OWNERS: Final = 5
_LOOKS, _PAUSE = 3, 0.5
# Seconds. A pod with a longer grace period is reported while it is being deleted. PostgreSQL's is 60.
_GRACE: Final = 120
# More concurrent lists cost more for new connections than they save.
_SIDE_BY_SIDE: Final = 6

# API group, kind, namespace and name: identifies an object in any API version.
Place = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Stranger:
    """An undeclared object: its finding, its type, and the resource version that was seen."""

    finding: Finding
    type: ResourceType
    version: str


@dataclass(frozen=True, slots=True)
class Found:
    """Undeclared objects and changed pods; `expected` are undeclared objects that the cloud's owner puts there.

    `unseen` are kinds that this identity may not list. `silent` are API groups of extensions that can open network
    access and whose API server does not answer, so that their objects are unknown.
    """

    strangers: tuple[Stranger, ...] = ()
    unseen: tuple[str, ...] = ()
    expected: tuple[Finding, ...] = ()
    silent: tuple[str, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings about the undeclared objects."""
        return tuple(item.finding for item in self.strangers)


def place(api_version: str, kind: str, namespace: str, name: str) -> Place:
    """The identity of an object, from the apiVersion in which it was declared."""
    return group_of(api_version), kind, namespace, name


async def find(
    client: KubeClient,
    city: str,
    declared: Mapping[Place, str],
    *,
    kinds: Sequence[ResourceType] = ALL,
    home: str = "",
    expected: Sequence[Expected] = (),
    is_own: bool = False,
) -> Found:
    """Find undeclared objects in the city's namespaces, with the city's label, or with rights over the namespaces.

    `declared` has the stack of every object that a stack has on this cluster. The city's namespaces are those that are
    declared or have its label, without those that have another city's label. `home` is the stack to report for a
    namespace without one. `expected` is what the cloud's owner puts there. `is_own` means that the cluster is the
    city's alone; then subjects with full rights over the cluster are reported too. In addition to `kinds`, the kinds of
    extensions that the API server serves are searched. Raises the client's errors; kinds that may not be listed are in
    the result.
    """
    look = _Look(client, city, declared, home, tuple(expected), is_own)
    return await look.go(kinds)


async def find_on(
    client: KubeClient,
    city: City,
    cloud: str,
    declared: Mapping[Place, str],
    *,
    kinds: Sequence[ResourceType] = ALL,
    home: str = "",
) -> Found:
    """`find` on one of the city's clouds, with its owner's objects from the files. Embedded clouds are the city's
    alone.
    """
    of_files = city.cloud(cloud)
    return await find(
        client,
        city.name,
        declared,
        kinds=kinds,
        home=home,
        expected=of_files.expected,
        is_own=of_files.provider == "local",
    )


async def remove(client: KubeClient, stranger: Stranger) -> str:
    """Delete exactly the object that was seen, unless it has changed, and wait until it is gone.

    Returns why it still exists; empty if it is gone. Raises other errors of the client.
    """
    found = stranger.finding
    assert found.is_removable
    try:
        await client.delete(
            stranger.type, found.name, found.namespace or None, uid=found.uid, resource_version=stranger.version
        )
    except NotFound:
        return ""
    except Conflict:
        return "it was changed in this very moment"
    for attempt in range(_LOOKS):
        try:
            left = await client.get(stranger.type, found.name, found.namespace or None)
        except NotFound:
            return ""
        if left["metadata"]["uid"] != found.uid:
            return "it was made again in this very moment"
        if attempt < _LOOKS - 1:
            await asyncio.sleep(_PAUSE)
    return f"it {being_deleted(_finalizers(left))}"


@dataclass(slots=True)
class _Look:
    client: KubeClient
    city: str
    declared: Mapping[Place, str]
    home: str
    expected: tuple[Expected, ...]
    is_own: bool
    # The city's namespaces with their labels.
    spaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    # The cluster's roles that give full control of a namespace; known only if `is_own`.
    commanding: frozenset[str] = frozenset()
    # By uid: all objects of the city that were seen, including possible owners of other objects.
    seen: dict[str, Object] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_SIDE_BY_SIDE))

    async def go(self, kinds: Sequence[ResourceType]) -> Found:
        namespaces, everything = await self._lists(kinds)
        own = self._own_namespaces(namespaces)
        self.commanding = frozenset(
            item["metadata"]["name"]
            for item in everything.get(ROLE) or ()
            if clusterwide.gives_command(item.get("rules") or ())
        )
        for rt, found in everything.items():
            if found is None:
                everything[rt] = await self._in_each(rt)
        spread = {
            (rt.kind, item["metadata"]["name"])
            for rt, found in everything.items()
            if rt.kind in ("ConfigMap", "ServiceAccount")
            for item in found or ()
            if item["metadata"].get("namespace") == _FIRST_NAMESPACE
        }
        kept = [(NAMESPACE, item) for item in own]
        for rt, found in everything.items():
            kept += [(rt, item) for item in found or () if self._concerns(rt, item)]
        services = {
            (item["metadata"]["namespace"], item["metadata"]["name"]): item for item in everything.get(SERVICE) or ()
        }
        # An object that is being deleted can still be an owner.
        self.seen = {item["metadata"]["uid"]: item for _, item in kept}
        doubtful = [
            (rt, item)
            for rt, item in kept
            if not _is_all_but_gone(item)
            and _place_of(item) not in self.declared
            and not self._is_expected(item, spread)
        ]
        await self._read_owners([item for rt, item in doubtful if not _opens(rt)])
        uids = {item["metadata"]["uid"] for _, item in doubtful}
        left = [(rt, item) for rt, item in doubtful if not self._is_excused(rt, item, uids, services)]
        left = await self._still_there(await self._without_kept_fences(left, own))
        told = [(rt, item) for rt, item in left if not self._is_owners(rt, item)]
        expected = tuple(self._finding(rt, item) for rt, item in left if self._is_owners(rt, item))
        altered = await self._altered(item for rt, item in kept if rt == POD and (rt, item) not in left)
        strangers = (*(self._stranger(rt, item) for rt, item in told), *altered)
        silent = tuple(sorted(self.client.silent_groups & TRAFFIC.keys()))
        return Found(strangers, tuple(self.unseen), expected, silent)

    async def _lists(self, kinds: Sequence[ResourceType]) -> tuple[Objects | None, dict[ResourceType, Objects | None]]:
        """The cluster's namespaces, and all objects of these kinds and those of extensions."""
        asked = (NAMESPACE, *kinds)
        served, lists = await asyncio.gather(
            self.client.resources(), asyncio.gather(*(self._everywhere(rt) for rt in asked))
        )
        more = extensions(served)
        lists += await asyncio.gather(*(self._everywhere(rt) for rt in more))
        found = dict(zip((*asked, *more), lists, strict=True))
        return found.pop(NAMESPACE), found

    async def _everywhere(self, rt: ResourceType) -> Objects | None:
        """All objects of a kind; `None` if they may not be listed."""
        whole = is_whole(rt) or (rt == ROLE and self.is_own)
        selector = f"{CITY_LABEL}={self.city}" if rt in LABELLED and not whole else ""
        try:
            async with self.turns:
                return await self.client.list(rt, label_selector=selector, metadata_only=not whole)
        except NotFound:
            return []
        except Forbidden:
            if not rt.namespaced:
                self.unseen.append(rt.kind)
            return None

    async def _in_each(self, rt: ResourceType) -> Objects:
        """The same, listed in each of the city's namespaces."""
        if not rt.namespaced:
            return []
        found: Objects = []
        for name in sorted(self.spaces):
            try:
                found += await self.client.list(rt, name, metadata_only=True)
            except NotFound:
                continue
            except Forbidden:
                self.unseen.append(rt.kind)
                break
        return found

    def _own_namespaces(self, listed: Objects | None) -> Objects:
        """The namespaces with the city's label. Sets `spaces` to the names of all namespaces of the city."""
        stated = frozenset(name for group, kind, _, name in self.declared if (group, kind) == ("", "Namespace"))
        if listed is None:
            self.spaces = {name: {} for name in stated}
            return []
        cities = {item["metadata"]["name"]: _label(item) for item in listed}
        labelled = {name for name, city in cities.items() if city == self.city}
        spaces = labelled | {name for name in stated & cities.keys() if cities[name] in ("", self.city)}
        labels = {item["metadata"]["name"]: item["metadata"].get("labels") or {} for item in listed}
        self.spaces = {name: labels[name] for name in spaces}
        return [item for item in listed if item["metadata"]["name"] in labelled]

    def _concerns(self, rt: ResourceType, item: Object) -> bool:
        if rt.namespaced:
            return item["metadata"].get("namespace") in self.spaces
        if _label(item) == self.city:
            return True
        if rt == BINDING:
            return self._is_ours_alone(item) or clusterwide.is_for_everybody(item) or self._gives_command(item)
        if _label(item):
            # Objects of another city are reported there.
            return False
        if is_whole(rt):
            return clusterwide.reaches(item, self.spaces.values())
        return is_traffic(rt.group, rt.kind)

    def _is_ours_alone(self, item: Object) -> bool:
        """Whether a binding refers to one of the city's own roles, or gives rights to its service accounts."""
        return (RBAC, "ClusterRole", "", clusterwide.role_of(item)) in self.declared or clusterwide.is_for_accounts_of(
            item, self.spaces
        )

    def _gives_command(self, item: Object) -> bool:
        """Whether a binding gives full control of a cluster that is the city's alone."""
        is_anothers = _label(item) not in ("", self.city)
        if is_anothers or not item.get("subjects"):
            return False
        return clusterwide.role_of(item) in self.commanding and not clusterwide.is_bootstrap(item)

    def _is_excused(self, rt: ResourceType, item: Object, doubtful: Collection[str], services: Services) -> bool:
        """Whether an undeclared object exists because of a declared one, or is covered by another finding."""
        if _opens(rt):
            return False
        if rt in (ENDPOINTS, ENDPOINT_SLICE) and not are_kept(item, services):
            return False
        return rt == ENDPOINTS or self._is_accounted_for(item, doubtful)

    def _is_owners(self, rt: ResourceType, item: Object) -> bool:
        """Whether the object is one that the cloud's owner puts there."""
        return any(each.matches(rt.group, rt.kind, item["metadata"]["name"]) for each in self.expected)

    async def _altered(self, found: Iterable[Object]) -> list[Stranger]:
        """The pods that were changed after their controllers created them."""
        doubtful = [item for item in found if not _is_all_but_gone(item) and pods.may_differ(item)]
        return [
            Stranger(
                pods.finding(item, fields, self._stack_of(item["metadata"]["namespace"])),
                POD,
                item["metadata"]["resourceVersion"],
            )
            for item, fields in await pods.compare(self.client, doubtful)
        ]

    def _stack_of(self, namespace: str) -> str:
        return self.declared.get(("", "Namespace", "", namespace), self.home)

    def _is_expected(self, item: Object, spread: Collection[tuple[str, str]]) -> bool:
        """Whether the cluster creates the object by itself, or the city keeps it outside its stacks."""
        meta, kind = item["metadata"], item["kind"]
        name, annotations = meta["name"], meta.get("annotations") or {}
        if (kind, name) in _DEFAULTS or (kind, name) in spread:
            return True
        if kind == "Secret":
            return bool(_TOKEN.fullmatch(name)) and annotations.get(_TOKEN_OF) == "default"
        if kind in ("Namespace", "PersistentVolumeClaim") and _is_kept(item):
            return True
        return kind == "PersistentVolumeClaim" and self._is_of_a_template(meta.get("namespace", ""), name)

    def _is_of_a_template(self, namespace: str, name: str) -> bool:
        """Whether a declared StatefulSet may have created the volume claim: `<template>-<name>-<ordinal>`."""
        base, _, ordinal = name.rpartition("-")
        sets = (item[3] for item in self.declared if item[:3] == (STATEFUL.group, STATEFUL.kind, namespace))
        return ordinal.isdigit() and any(base.endswith(f"-{each}") for each in sets)

    async def _read_owners(self, items: Sequence[Object]) -> None:
        """Read the owners that were not seen, kind by kind: of kinds that are not listed, or created just now."""
        asked: set[tuple[str, str]] = set()
        for _ in range(_MOST_OWNERS):
            lacking = {
                (str(ref.get("apiVersion")), str(ref.get("kind")))
                for item in (*items, *self.seen.values())
                if _place_of(item) not in self.declared
                for ref in _references(item)
                if ref.get("uid") not in self.seen
            } - asked
            if not lacking:
                return
            asked |= lacking
            for found in await asyncio.gather(*(self._owners(*kind) for kind in sorted(lacking))):
                self.seen |= {item["metadata"]["uid"]: item for item in found if not _is_leaving(item)}

    async def _owners(self, api_version: str, kind: str) -> Objects:
        try:
            rt = await self.client.resource(api_version, kind)
            found = await self.client.list(rt, metadata_only=True)
        except (KindNotFound, NotFound):
            return []
        except Forbidden:
            found = await self._in_each(rt)
        return [item for item in found if item["metadata"].get("namespace", "") in (*self.spaces, "")]

    def _owners_of(self, item: Object) -> Mapping[str, Object]:
        """By uid: the direct and indirect owners of the object, from valid owner references."""
        waiting, found = [item], dict[str, Object]()
        while waiting:
            each = waiting.pop()
            for ref in _references(each):
                owner = self.seen.get(str(ref.get("uid")))
                if owner is not None and owner["metadata"]["uid"] not in found and _is_owner(owner, ref, each):
                    found[owner["metadata"]["uid"]] = owner
                    waiting.append(owner)
        return found

    def _is_accounted_for(self, item: Object, doubtful: Collection[str]) -> bool:
        """Whether its owners lead to a declared object, or to an undeclared one that is reported instead."""
        for uid, owner in self._owners_of(item).items():
            if _place_of(owner) in self.declared:
                return True
            if uid in doubtful and item["metadata"]["uid"] not in self._owners_of(owner):
                return True
        return False

    async def _without_kept_fences(
        self, found: list[tuple[ResourceType, Object]], namespaces: Objects
    ) -> list[tuple[ResourceType, Object]]:
        """Remove the security objects that `destroy` left in a retained namespace to keep it closed.

        Anybody can set the retention annotation. So it counts only in a namespace that no stack has any more, and on a
        network policy only if that policy allows nothing.
        """
        spaces = {item["metadata"]["name"] for item in namespaces if _is_kept(item)}
        spaces -= {name for group, kind, _, name in self.declared if (group, kind) == ("", "Namespace")}
        rest = []
        for rt, item in found:
            is_kept = _is_kept(item) and item["metadata"].get("namespace") in spaces
            may_close = is_kept and (rt.api_version, rt.kind) in CLOSING_KINDS
            # Only a network policy must be read to learn whether it closes the namespace.
            if may_close and (rt.kind != "NetworkPolicy" or await self._only_closes(rt, item)):
                continue
            rest.append((rt, item))
        return rest

    async def _only_closes(self, rt: ResourceType, item: Object) -> bool:
        meta = item["metadata"]
        try:
            whole = await self.client.get(rt, meta["name"], meta["namespace"])
        except (NotFound, Forbidden):
            return False
        return only_closes(rt.api_version, rt.kind, whole)

    async def _still_there(self, found: list[tuple[ResourceType, Object]]) -> list[tuple[ResourceType, Object]]:
        """Remove objects that the cluster is deleting, because their owner is gone or they were deleted."""
        for _ in range(_LOOKS):
            doubtful = [
                (rt, item)
                for rt, item in found
                if _is_leaving(item) or (not _opens(rt) and (_references(item) or rt == ENDPOINTS))
            ]
            if not doubtful:
                break
            await asyncio.sleep(_PAUSE)
            there = await asyncio.gather(*(self._is_there(rt, item) for rt, item in doubtful))
            gone = {item["metadata"]["uid"] for (_, item), kept in zip(doubtful, there, strict=True) if not kept}
            found = [(rt, item) for rt, item in found if item["metadata"]["uid"] not in gone]
        return found

    async def _is_there(self, rt: ResourceType, item: Object) -> bool:
        meta = item["metadata"]
        try:
            now = await self.client.get(rt, meta["name"], meta.get("namespace"))
        except NotFound:
            return False
        except Forbidden:
            return True
        return bool(now["metadata"]["uid"] == meta["uid"]) and not _is_all_but_gone(now)

    def _stranger(self, rt: ResourceType, item: Object) -> Stranger:
        return Stranger(self._finding(rt, item), rt, item["metadata"]["resourceVersion"])

    def _finding(self, rt: ResourceType, item: Object) -> Finding:
        meta = item["metadata"]
        namespace = meta.get("namespace") or ""
        is_the_citys = rt.namespaced or _label(item) == self.city
        return Finding(
            self._stack_of(namespace),
            "",
            rt.api_version,
            rt.kind,
            namespace,
            meta["name"],
            "undeclared",
            classify.foreign_managers(item, ""),
            since=str(meta.get("creationTimestamp") or ""),
            uid=meta["uid"],
            deleting=_is_leaving(item),
            finalizers=_finalizers(item),
            shared=not is_the_citys
            and not (rt == BINDING and (self._is_ours_alone(item) or self._gives_command(item))),
        )


def _opens(rt: ResourceType) -> bool:
    """Whether the kind grants rights, or opens or restricts access: such objects are reported in spite of owners."""
    return gives_or_opens(rt.group, rt.kind)


def _place_of(item: Object) -> Place:
    meta = item["metadata"]
    return place(item["apiVersion"], item["kind"], meta.get("namespace") or "", meta["name"])


def _references(item: Object) -> Sequence[Mapping[str, Any]]:
    return item["metadata"].get("ownerReferences") or ()


def _is_owner(owner: Object, ref: Mapping[str, Any], owned: Object) -> bool:
    """Whether a reference has its owner's kind and name, and the owner is cluster-scoped or in the same namespace."""
    group, kind, namespace, name = _place_of(owner)
    stated = place(str(ref.get("apiVersion")), str(ref.get("kind")), namespace, str(ref.get("name")))
    return stated == (group, kind, namespace, name) and namespace in ("", owned["metadata"].get("namespace"))


def _label(item: Object) -> str:
    return str((item["metadata"].get("labels") or {}).get(CITY_LABEL) or "")


def _is_kept(item: Object) -> bool:
    """Whether it has the annotation of objects that `destroy` retains."""
    return bool((item["metadata"].get("annotations") or {}).get(RETAINED_FOR))


def _is_leaving(item: Object) -> bool:
    return bool(item["metadata"].get("deletionTimestamp"))


def _finalizers(item: Object) -> tuple[str, ...]:
    return tuple(item["metadata"].get("finalizers") or ())


def _is_all_but_gone(item: Object) -> bool:
    """Whether it is being deleted with a short grace period and without finalizers.

    An object that a finalizer keeps stays in force until it is gone, possibly forever.
    """
    meta = item["metadata"]
    return _is_leaving(item) and not _finalizers(item) and int(meta.get("deletionGracePeriodSeconds") or 0) <= _GRACE
