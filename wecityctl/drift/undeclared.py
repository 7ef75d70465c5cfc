"""Finds what nobody declared in a city's namespaces: one list for each kind, nearly all of metadata only.

Changes nothing but in `remove`. What is declared is told by the caller; which namespaces are the city's is read here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from wecityctl.drift import classify
from wecityctl.kube.client import KubeClient
from wecityctl.kube.errors import Conflict, Forbidden, KindNotFound, NotFound
from wecityctl.kube.resource import Object, Objects, ResourceType
from wecityctl.model.findings import Finding
from wecityctl.model.naming import LABEL_PREFIX
from wecityctl.model.security import CLOSING_KINDS, group_of, only_closes
from wecityctl.provider.adoption import RETAINED_FOR

CITY_LABEL: Final = f"{LABEL_PREFIX}/city"
_RBAC, _NETWORKING, _ADMISSION = "rbac.authorization.k8s.io", "networking.k8s.io", "admissionregistration.k8s.io"
NAMESPACE: Final = ResourceType("", "v1", "Namespace", "namespaces", False)
BINDING: Final = ResourceType(_RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", False)
# What gives rights, opens or limits: an owner reference excuses none of it.
SECURITY: Final = (
    ResourceType(_NETWORKING, "v1", "NetworkPolicy", "networkpolicies", True),
    ResourceType(_RBAC, "v1", "Role", "roles", True),
    ResourceType(_RBAC, "v1", "RoleBinding", "rolebindings", True),
    BINDING,
    ResourceType(_RBAC, "v1", "ClusterRole", "clusterroles", False),
    ResourceType(_ADMISSION, "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", False),
    ResourceType(_ADMISSION, "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", False),
    ResourceType("", "v1", "ResourceQuota", "resourcequotas", True),
    ResourceType("", "v1", "LimitRange", "limitranges", True),
)
_STATEFUL: Final = ResourceType("apps", "v1", "StatefulSet", "statefulsets", True)
_CLAIM: Final = ResourceType("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", True)
KINDS: Final = (
    *SECURITY,
    ResourceType("", "v1", "Pod", "pods", True),
    ResourceType("", "v1", "ReplicationController", "replicationcontrollers", True),
    ResourceType("apps", "v1", "ReplicaSet", "replicasets", True),
    ResourceType("apps", "v1", "Deployment", "deployments", True),
    _STATEFUL,
    ResourceType("apps", "v1", "DaemonSet", "daemonsets", True),
    ResourceType("batch", "v1", "Job", "jobs", True),
    ResourceType("batch", "v1", "CronJob", "cronjobs", True),
    ResourceType("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", True),
    ResourceType("", "v1", "Service", "services", True),
    ResourceType(_NETWORKING, "v1", "Ingress", "ingresses", True),
    ResourceType("", "v1", "ServiceAccount", "serviceaccounts", True),
    ResourceType("", "v1", "ConfigMap", "configmaps", True),
    ResourceType("", "v1", "Secret", "secrets", True),
    _CLAIM,
)
# What the API server and the controllers put into every namespace.
_DEFAULTS: Final = frozenset({("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")})
# Groups that every service account is in; the bindings to them that every API server makes, and their roles.
_EVERYBODY: Final = ("system:serviceaccounts", "system:authenticated", "system:unauthenticated")
_BOOTSTRAP: Final = frozenset(
    (name, name)
    for name in (
        "system:basic-user",
        "system:discovery",
        "system:public-info-viewer",
        "system:service-account-issuer-discovery",
    )
)
# What other controllers put into every namespace they put into this one too.
_FIRST_NAMESPACE: Final = "default"
_TOKEN: Final = re.compile(r"default-token-[a-z0-9]{5}")
_TOKEN_OF: Final = "kubernetes.io/service-account.name"  # noqa: S105
_MOST_OWNERS: Final = 5
_LOOKS, _PAUSE = 3, 0.5
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
    """What nobody declared; `unseen` are kinds that this identity may not list."""

    strangers: tuple[Stranger, ...] = ()
    unseen: tuple[str, ...] = ()


def place(api_version: str, kind: str, namespace: str, name: str) -> Place:
    """Where an object is, from the apiVersion that it was stated in."""
    return group_of(api_version), kind, namespace, name


async def find(
    client: KubeClient,
    city: str,
    declared: Mapping[Place, str],
    *,
    kinds: Sequence[ResourceType] = KINDS,
    home: str = "",
) -> Found:
    """What is in the city's namespaces, has the city's label or gives rights to its service accounts, undeclared.

    `declared` has the stack of every object that a stack has on this cluster. The city's namespaces are those that are
    declared and those with its label, but none with another city's. `home` is the stack that is named where the
    namespace has none. Raises the client's errors; kinds that may not be listed are named in what is returned.
    """
    look = _Look(client, city, declared, home)
    return await look.go(kinds)


async def remove(client: KubeClient, stranger: Stranger) -> bool:
    """Delete the very object that was seen, unless it was changed since; whether it is gone. Raises other errors."""
    found = stranger.finding
    assert found.is_removable
    try:
        await client.delete(
            stranger.type, found.name, found.namespace or None, uid=found.uid, resource_version=stranger.version
        )
    except NotFound:
        return True
    except Conflict:
        return False
    return True


@dataclass(slots=True)
class _Look:
    client: KubeClient
    city: str
    declared: Mapping[Place, str]
    home: str
    spaces: frozenset[str] = frozenset()
    # By uid: everything of the city's that was seen, among it what may own other objects.
    seen: dict[str, Object] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_SIDE_BY_SIDE))

    async def go(self, kinds: Sequence[ResourceType]) -> Found:
        lists = await asyncio.gather(*(self._everywhere(rt) for rt in (NAMESPACE, *kinds)))
        own = self._own_namespaces(lists[0])
        everything = dict(zip(kinds, lists[1:], strict=True))
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
        # What is on its way out owns things still.
        self.seen = {item["metadata"]["uid"]: item for _, item in kept}
        doubtful = [
            (rt, item)
            for rt, item in kept
            if not _is_leaving(item) and _place_of(item) not in self.declared and not self._is_expected(item, spread)
        ]
        await self._read_owners([item for rt, item in doubtful if rt not in SECURITY])
        uids = {item["metadata"]["uid"] for _, item in doubtful}
        left = [(rt, item) for rt, item in doubtful if rt in SECURITY or not self._is_accounted_for(item, uids)]
        left = await self._still_there(await self._without_kept_fences(left, own))
        return Found(tuple(self._stranger(rt, item) for rt, item in left), tuple(self.unseen))

    async def _everywhere(self, rt: ResourceType) -> Objects | None:
        """All objects of a kind; `None` where that may not be asked."""
        labelled = not rt.namespaced and rt not in (NAMESPACE, BINDING)
        selector = f"{CITY_LABEL}={self.city}" if labelled else ""
        try:
            async with self.turns:
                # Whom a binding binds is no metadata.
                return await self.client.list(rt, label_selector=selector, metadata_only=rt is not BINDING)
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
            self.spaces = stated
            return []
        cities = {item["metadata"]["name"]: _label(item) for item in listed if not _is_leaving(item)}
        labelled = {name for name, city in cities.items() if city == self.city}
        self.spaces = frozenset(labelled | {name for name in stated & cities.keys() if cities[name] in ("", self.city)})
        return [item for item in listed if item["metadata"]["name"] in labelled]

    def _concerns(self, rt: ResourceType, item: Object) -> bool:
        if rt.namespaced:
            return item["metadata"].get("namespace") in self.spaces
        if _label(item) == self.city:
            return True
        if rt is not BINDING:
            return False
        return self._is_ours_alone(item) or self._is_shared(item)

    def _is_ours_alone(self, item: Object) -> bool:
        """Whether a binding gives one of the city's own roles, or rights to its service accounts alone."""
        return (_RBAC, "ClusterRole", "", _role(item)) in self.declared or any(
            map(self._is_ours, item.get("subjects") or ())
        )

    def _is_shared(self, item: Object) -> bool:
        """Whether a binding gives rights to everybody, and so to the city's service accounts too."""
        if (item["metadata"]["name"], _role(item)) in _BOOTSTRAP:
            return False
        return any(
            subject.get("kind") == "Group" and subject.get("name") in _EVERYBODY
            for subject in item.get("subjects") or ()
        )

    def _is_ours(self, subject: Mapping[str, Any]) -> bool:
        """Whether the subject of a binding is, or has in it, a service account of the city's namespaces."""
        kind, name = subject.get("kind"), str(subject.get("name") or "")
        if kind == "ServiceAccount":
            return subject.get("namespace") in self.spaces
        prefix = {"Group": "system:serviceaccounts:", "User": "system:serviceaccount:"}.get(str(kind), "")
        return bool(prefix) and name.startswith(prefix) and name.removeprefix(prefix).split(":")[0] in self.spaces

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
        sets = (item[3] for item in self.declared if item[:3] == (_STATEFUL.group, _STATEFUL.kind, namespace))
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
        """Without what the cluster is just clearing away, because its owner has gone."""
        for _ in range(_LOOKS):
            doubtful = [(rt, item) for rt, item in found if rt not in SECURITY and _references(item)]
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
        return bool(now["metadata"]["uid"] == meta["uid"]) and not _is_leaving(now)

    def _stranger(self, rt: ResourceType, item: Object) -> Stranger:
        meta = item["metadata"]
        namespace = meta.get("namespace") or ""
        stack = self.declared.get(("", "Namespace", "", namespace), self.home)
        finding = Finding(
            stack,
            "",
            rt.api_version,
            rt.kind,
            namespace,
            meta["name"],
            "undeclared",
            classify.foreign_managers(item, ""),
            since=str(meta.get("creationTimestamp") or ""),
            uid=meta["uid"],
            shared=rt is BINDING and _label(item) != self.city and not self._is_ours_alone(item),
        )
        return Stranger(finding, rt, meta["resourceVersion"])


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


def _role(binding: Object) -> str:
    return str((binding.get("roleRef") or {}).get("name") or "")


def _is_kept(item: Object) -> bool:
    """Whether it has the mark of what `destroy` keeps."""
    return bool((item["metadata"].get("annotations") or {}).get(RETAINED_FOR))


def _is_leaving(item: Object) -> bool:
    return bool(item["metadata"].get("deletionTimestamp"))
