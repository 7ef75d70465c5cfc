"""The live probe: are a stack's objects the ones its last run left behind? One list per kind, of metadata if they do.

Compared are the uid and a mark that changes with every write that may concern us: see `mark`.
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
    """An object as it was seen at one moment; see `mark`, and `writes` for who but the controllers had written it."""

    uid: str
    mark: str
    writes: str = ""


Objects = dict[str, Seen]
SEPARATOR = "|"
_VERSION = "version "
# What of the metadata is no generation's to count.
_TOLD = ("labels", "annotations", "finalizers", "ownerReferences")
# Kinds with a status whose generation the API server does not count: their content is looked at.
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
    """The labels by which a city's objects are found."""
    return f"{MANAGED_BY_LABEL}={MANAGED_BY},{CITY_LABEL}={city}"


def keys_of(state: StackState) -> tuple[str, ...]:
    """The stack's Kubernetes objects: apiVersion, kind, namespace and name in one string each."""
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
    """apiVersion and kind of the objects."""
    return {(key.split(SEPARATOR)[0], key.split(SEPARATOR)[1]) for key in keys}


async def look(client: KubeClient, city: str, kinds: Collection[tuple[str, str]]) -> Objects:
    """Every object of the city of those kinds, with its uid and mark. Kinds no longer served have none."""
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
        # What is being deleted is as good as gone.
        if "deletionTimestamp" not in meta:
            found[key] = Seen(meta["uid"], mark(item, has_status=has_status), writes(meta, kind))
    return found


def as_seen(obj: Mapping[str, Any]) -> Seen:
    """A whole object, as it was read or as a write was answered, to be compared by `is_still`.

    Its mark is the one that it would have if its kind had neither a generation nor a status: then every write counts.
    It has none where a controller puts its content together.
    """
    meta = obj["metadata"]
    version = "" if obj.get("aggregationRule") else f"{_VERSION}{meta.get('resourceVersion')}"
    return Seen(str(meta.get("uid")), version, writes(meta, str(obj.get("kind"))))


def is_still(before: Seen, now: Seen) -> bool:
    """Whether nobody but controllers, in what is theirs, has written to an object between two looks at it."""
    versions = before.mark == now.mark or not before.mark or not now.mark.startswith(_VERSION)
    return before.uid == now.uid and before.writes == now.writes and versions


def mark(obj: Mapping[str, Any], *, has_status: bool = True) -> str:
    """What changes when somebody changes the object, and not when only its status does.

    A generation does not count labels, annotations and the like, so they are added with who last wrote what. Who wrote
    what can be rewritten: kinds without a generation are told by their content. Those that have no status either
    (`has_status`) change their version with every write.
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
    """A digest of who has written when, without the controllers in what is theirs to write.

    Which fields is not in it: a state does not have them where nobody but the resource has written.
    """
    told = [
        {key: value for key, value in item.items() if key not in ("fieldsV1", "fieldsType")}
        for item in meta.get("managedFields") or ()
        if not controllers.is_own(item, kind)
    ]
    texts = sorted(json.dumps(item, sort_keys=True, separators=(",", ":")) for item in told)
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def differs(noted: Mapping[str, tuple[str, str]], live: Mapping[str, Seen]) -> str:
    """The first difference between what was noted and what is there, for people; empty for none."""
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
