"""Checks whether a stack's objects on the cluster are unchanged since its last run, with one list request per kind.

Compares the UID and a mark that changes with every relevant write (see `mark`). Requests only metadata where possible.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from wecityctl.drift import controllers
from wecityctl.engine.state.checkpoint import StackState
from wecityctl.model.naming import CITY_LABEL, MANAGED_BY, MANAGED_BY_LABEL

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient


class Seen(NamedTuple):
    """An object at one moment: its UID, its mark (see `mark`), and a digest of the writes by anyone but controllers."""

    uid: str
    mark: str
    writes: str = ""


Objects = dict[str, Seen]
SEPARATOR = "|"
_VERSION = "version "
# Metadata that `generation` does not cover.
_TOLD = ("labels", "annotations", "finalizers", "ownerReferences")
# Kinds with a status for which the API server does not maintain `generation`: their content is compared.
_WITHOUT_GENERATION = frozenset(
    {
        ("v1", "Namespace"),
        ("v1", "PersistentVolume"),
        ("v1", "PersistentVolumeClaim"),
        ("v1", "ResourceQuota"),
        ("v1", "Service"),
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
    }
)


def selector(city: str) -> str:
    """Return the label selector that matches a city's objects."""
    return f"{MANAGED_BY_LABEL}={MANAGED_BY},{CITY_LABEL}={city}"


def keys_of(state: StackState) -> tuple[str, ...]:
    """Return the keys of the stack's Kubernetes objects: apiVersion, kind, namespace and name joined by `SEPARATOR`."""
    found = []
    for resource in state.resources:
        meta = resource.outputs.get("metadata") if resource.type.startswith("kubernetes:") else None
        if isinstance(meta, Mapping):
            parts = (
                resource.outputs.get("apiVersion"),
                resource.outputs.get("kind"),
                meta.get("namespace") or "",
                meta.get("name"),
            )
            found.append(SEPARATOR.join(str(part) for part in parts))
    return tuple(found)


def kinds_in(keys: Iterable[str]) -> set[tuple[str, str]]:
    """Return apiVersion and kind of the objects."""
    return {(key.split(SEPARATOR)[0], key.split(SEPARATOR)[1]) for key in keys}


async def look(client: KubeClient, city: str, kinds: Collection[tuple[str, str]]) -> Objects:
    """Return every object of the city of these kinds, by key. Kinds that the cluster no longer serves have none."""
    found: Objects = {}
    for objects in await asyncio.gather(*(_look_at(client, city, *kind) for kind in sorted(kinds))):
        found |= objects
    return found


async def _look_at(client: KubeClient, city: str, api_version: str, kind: str) -> Objects:
    from wecityctl.kube.errors import KindNotFound

    try:
        served = await client.resource(api_version, kind)
    except KindNotFound:
        return {}
    has_status = "status" in served.subresources
    whole = has_status and (api_version, kind) in _WITHOUT_GENERATION
    items = await client.list(served, label_selector=selector(city), metadata_only=not whole)
    if has_status and not whole and any(not item["metadata"].get("generation") for item in items):
        items = await client.list(served, label_selector=selector(city))
    found: Objects = {}
    for item in items:
        meta = item["metadata"]
        key = SEPARATOR.join((api_version, kind, meta.get("namespace", ""), meta["name"]))
        # An object that is being deleted counts as gone.
        if "deletionTimestamp" not in meta:
            found[key] = Seen(meta["uid"], mark(item, has_status=has_status), writes(meta, kind))
    return found


def as_seen(obj: Mapping[str, Any]) -> Seen:
    """Return the `Seen` of a complete object, as read or as returned by a write, for comparison by `is_still`.

    Its mark is its resourceVersion, as for a kind without generation and status, where every write counts. The mark is
    empty for objects whose content a controller aggregates.
    """
    meta = obj["metadata"]
    version = "" if obj.get("aggregationRule") else f"{_VERSION}{meta.get('resourceVersion')}"
    return Seen(str(meta.get("uid")), version, writes(meta, str(obj.get("kind"))))


def is_still(before: Seen, now: Seen) -> bool:
    """Whether nobody but controllers, within their own fields, has written to an object between two observations."""
    versions = before.mark == now.mark or not before.mark or not now.mark.startswith(_VERSION)
    return before.uid == now.uid and before.writes == now.writes and versions


def mark(obj: Mapping[str, Any], *, has_status: bool = True) -> str:
    """Return a string that changes when the object changes, but not when only its status does.

    `generation` does not cover labels, annotations and the like, so those are added together with the managed fields.
    Managed fields can be rewritten, so kinds without `generation` are compared by content. Kinds that have no status
    either (`has_status`) use the resourceVersion, which changes with every write.
    """
    meta = obj["metadata"]
    owners = meta.get("managedFields") or ()
    generation = meta.get("generation")
    if not generation and not has_status:
        return f"{_VERSION}{meta.get('resourceVersion')}"
    writes = [item for item in owners if item.get("subresource") != "status"]
    content = {} if generation else {key: value for key, value in obj.items() if key not in ("metadata", "status")}
    told = (generation, *(meta.get(name) for name in _TOLD), writes, content)
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return f"fields {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def writes(meta: Mapping[str, Any], kind: str) -> str:
    """Return a digest of the managers and times of all writes, except those of controllers to their own fields.

    The field sets are left out: a state does not have them if only the resource itself has written.
    """
    told = [
        {key: value for key, value in item.items() if key not in ("fieldsV1", "fieldsType")}
        for item in meta.get("managedFields") or ()
        if not controllers.is_own(item, kind)
    ]
    texts = sorted(json.dumps(item, sort_keys=True, separators=(",", ":")) for item in told)
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def differs(noted: Mapping[str, tuple[str, str]], live: Mapping[str, Seen]) -> str:
    """Return the first difference between recorded and live objects, as text for users; empty for none."""
    for key, (uid, noted_mark, *_) in noted.items():
        name = key.rpartition(SEPARATOR)[2]
        kind = key.split(SEPARATOR)[1]
        if key not in live:
            return f"{kind} {name} is gone"
        if live[key].uid != uid:
            return f"{kind} {name} was made again"
        if live[key].mark != noted_mark:
            return f"{kind} {name} was changed"
    return ""
