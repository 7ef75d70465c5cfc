"""Finds what nobody declared in a city's namespaces: one list for each kind, nearly all of metadata only.

Changes nothing but in `remove`. What is declared is told by the caller; which namespaces are the city's is read here.
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

# What the API server and the controllers put into every namespace.
_DEFAULTS: Final = frozenset({("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")})
# What other controllers put into every namespace they put into this one too.
_FIRST_NAMESPACE: Final = "default"
_TOKEN: Final = re.compile(r"default-token-[a-z0-9]{5}")
_TOKEN_OF: Final = "kubernetes.io/service-account.name"  # noqa: S105
_MOST_OWNERS: Final = 5
_LOOKS, _PAUSE = 3, 0.5
# Seconds that a pod that is being deleted may take without being told: PostgreSQL's takes 60.
_GRACE: Final = 120
# More lists side by side cost more in new connections than they save.
_SIDE_BY_SIDE: Final = 6

# API group, kind, namespace and name: the same object whatever version it was asked for in.
Place = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Stranger:
    """An object that nobody declared: its finding, its type, and the version that was seen."""

    finding: Finding
    type: ResourceType
    version: str


@dataclass(frozen=True, slots=True)
class Found:
    """What nobody declared, and pods that were changed; `expected` is what the cloud's owner is said to put there.

    `unseen` are kinds that this identity may not list; `silent` are API groups of extensions that let traffic through
    and whose API server does not answer: nothing is known of what they hold.
    """

    strangers: tuple[Stranger, ...] = ()
    unseen: tuple[str, ...] = ()
    expected: tuple[Finding, ...] = ()
    silent: tuple[str, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of the strangers."""
        return tuple(item.finding for item in self.strangers)


def place(api_version: str, kind: str, namespace: str, name: str) -> Place:
    """Where an object is, from the apiVersion that it was stated in."""
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
    """What is in the city's namespaces, has the city's label or gives rights over them, undeclared.

    `declared` has the stack of every object that a stack has on this cluster. The city's namespaces are those that are
    declared and those with its label, but none with another city's. `home` is the stack that is named where the
    namespace has none. `expected` is what the cloud's owner puts there. `is_own`: the cluster is the city's alone, so
    that whoever has rights over everything in it is told too. Beside `kinds`, those of extensions are looked for that
    the API server serves. Raises the client's errors; kinds that may not be listed are named in what is returned.
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
    """`find` on one of the city's clouds: the files say what its owner puts there; an embedded one is the city's."""
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
    """Delete the very object that was seen, unless it was changed since, and wait until it is gone.

    Returns why it is there still; empty where it is gone. Raises other errors of the client.
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
    # Of the cluster's roles, those that let somebody do everything in a namespace; known only where `is_own`.
    commanding: frozenset[str] = frozenset()
    # By uid: everything of the city's that was seen, among it what may own other objects.
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
        # What is on its way out owns things still.
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
        """The cluster's namespaces, and everything of these kinds and those of extensions."""
        asked = (NAMESPACE, *kinds)
        served, lists = await asyncio.gather(
            self.client.resources(), asyncio.gather(*(self._everywhere(rt) for rt in asked))
        )
        more = extensions(served)
        lists += await asyncio.gather(*(self._everywhere(rt) for rt in more))
        found = dict(zip((*asked, *more), lists, strict=True))
        return found.pop(NAMESPACE), found

    async def _everywhere(self, rt: ResourceType) -> Objects | None:
        """All objects of a kind; `None` where that may not be asked."""
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
        """The same, asked in each of the city's namespaces."""
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
        """Those with the city's label; sets `spaces` to the names of all that are the city's."""
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
            # Another city's own are that city's to look after.
            return False
        if is_whole(rt):
            return clusterwide.reaches(item, self.spaces.values())
        return is_traffic(rt.group, rt.kind)

    def _is_ours_alone(self, item: Object) -> bool:
        """Whether a binding gives one of the city's own roles, or rights to its service accounts."""
        return (RBAC, "ClusterRole", "", clusterwide.role_of(item)) in self.declared or clusterwide.is_for_accounts_of(
            item, self.spaces
        )

    def _gives_command(self, item: Object) -> bool:
        """Whether a binding lets somebody do everything in a cluster that is the city's alone."""
        is_anothers = _label(item) not in ("", self.city)
        if is_anothers or not item.get("subjects"):
            return False
        return clusterwide.role_of(item) in self.commanding and not clusterwide.is_bootstrap(item)

    def _is_excused(self, rt: ResourceType, item: Object, doubtful: Collection[str], services: Services) -> bool:
        """Whether an undeclared object is there because of a declared one, or is told by another."""
        if _opens(rt):
            return False
        if rt in (ENDPOINTS, ENDPOINT_SLICE) and not are_kept(item, services):
            return False
        return rt == ENDPOINTS or self._is_accounted_for(item, doubtful)

    def _is_owners(self, rt: ResourceType, item: Object) -> bool:
        """Whether the cloud's owner is said to put the object there."""
        return any(each.matches(rt.group, rt.kind, item["metadata"]["name"]) for each in self.expected)

    async def _altered(self, found: Iterable[Object]) -> list[Stranger]:
        """Those of the pods that were changed since their controllers made them."""
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
        """Whether the cluster makes it by itself, or the city keeps it beyond its stacks."""
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
        """Whether a declared StatefulSet may have made the volume: `<template>-<name>-<ordinal>`."""
        base, _, ordinal = name.rpartition("-")
        sets = (item[3] for item in self.declared if item[:3] == (STATEFUL.group, STATEFUL.kind, namespace))
        return ordinal.isdigit() and any(base.endswith(f"-{each}") for each in sets)

    async def _read_owners(self, items: Sequence[Object]) -> None:
        """Read, kind by kind, the owners that were not seen: of kinds not asked for, or made in this very moment."""
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
        """By uid: everything that owns the object by references that say the truth, directly or through others."""
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
        """Whether owners lead to a declared object, or to an undeclared one that is told in its stead."""
        for uid, owner in self._owners_of(item).items():
            if _place_of(owner) in self.declared:
                return True
            if uid in doubtful and item["metadata"]["uid"] not in self._owners_of(owner):
                return True
        return False

    async def _without_kept_fences(
        self, found: list[tuple[ResourceType, Object]], namespaces: Objects
    ) -> list[tuple[ResourceType, Object]]:
        """Without what `destroy` has left in a namespace that it kept, so that the namespace stays closed.

        Anybody may write its mark: only in a namespace that no stack has any more is it believed, and of a network
        policy only if that allows nothing.
        """
        spaces = {item["metadata"]["name"] for item in namespaces if _is_kept(item)}
        spaces -= {name for group, kind, _, name in self.declared if (group, kind) == ("", "Namespace")}
        rest = []
        for rt, item in found:
            is_kept = _is_kept(item) and item["metadata"].get("namespace") in spaces
            may_close = is_kept and (rt.api_version, rt.kind) in CLOSING_KINDS
            # Only of a network policy it has to be read whether it closes.
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
        """Without what the cluster is just clearing away, because its owner has gone or it was deleted."""
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
    """Whether objects of the kind give rights, open or limit: an owner reference excuses none of them."""
    return gives_or_opens(rt.group, rt.kind)


def _place_of(item: Object) -> Place:
    meta = item["metadata"]
    return place(item["apiVersion"], item["kind"], meta.get("namespace") or "", meta["name"])


def _references(item: Object) -> Sequence[Mapping[str, Any]]:
    return item["metadata"].get("ownerReferences") or ()


def _is_owner(owner: Object, ref: Mapping[str, Any], owned: Object) -> bool:
    """Whether a reference says the truth: by kind and name, in the same namespace or of the whole cluster."""
    group, kind, namespace, name = _place_of(owner)
    stated = place(str(ref.get("apiVersion")), str(ref.get("kind")), namespace, str(ref.get("name")))
    return stated == (group, kind, namespace, name) and namespace in ("", owned["metadata"].get("namespace"))


def _label(item: Object) -> str:
    return str((item["metadata"].get("labels") or {}).get(CITY_LABEL) or "")


def _is_kept(item: Object) -> bool:
    """Whether it has the mark of what `destroy` keeps."""
    return bool((item["metadata"].get("annotations") or {}).get(RETAINED_FOR))


def _is_leaving(item: Object) -> bool:
    return bool(item["metadata"].get("deletionTimestamp"))


def _finalizers(item: Object) -> tuple[str, ...]:
    return tuple(item["metadata"].get("finalizers") or ())


def _is_all_but_gone(item: Object) -> bool:
    """Whether it is being deleted, nothing holds it, and it has not asked for long to end.

    What a finalizer holds is in force until it is gone, for as long as somebody likes.
    """
    meta = item["metadata"]
    return _is_leaving(item) and not _finalizers(item) and int(meta.get("deletionGracePeriodSeconds") or 0) <= _GRACE
