"""Finds pods that are otherwise than the template of their owner: a pod is made from it once and can be changed since.

Candidates are told by metadata alone, so that only those pods, and their owners, are read. What is compared is what the
API server lets be changed on a pod and what its template states; containers that admission adds are additions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from wecityctl.drift import classify, fieldset
from wecityctl.drift.kinds import POD
from wecityctl.kube.client import KubeClient
from wecityctl.kube.errors import Forbidden, KindNotFound, NotFound
from wecityctl.kube.resource import Object, ResourceType
from wecityctl.model.findings import FieldDrift, Finding
from wecityctl.provider.equality import same_amount

# What makes pods from a template and writes nothing to them afterwards but metadata.
OWNERS: Final = frozenset({"ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController"})
_CONTROLLERS: Final = ("kube-controller-manager", "kube-scheduler")
# A pod that was never changed since it was made, as its binding to a node does not count.
_FIRST_GENERATION: Final = 1
_REVISION: Final = ResourceType("apps", "v1", "ControllerRevision", "controllerrevisions", True)
_LISTS: Final = ("containers", "initContainers")
_SCALARS: Final = ("activeDeadlineSeconds", "terminationGracePeriodSeconds")


def may_differ(pod: Object) -> bool:
    """Whether somebody may have changed the pod's spec since it was made, by its metadata.

    API servers count the changes from 1.33 on, whoever makes them. Older ones tell only what is written under a name
    that is no controller's.
    """
    generation = pod["metadata"].get("generation")
    if isinstance(generation, int) and generation > 0:
        return generation > _FIRST_GENERATION
    return any(
        "f:spec" in (entry.get("fieldsV1") or {})
        for entry in classify.entries(pod)
        if str(entry.get("manager")) not in _CONTROLLERS and entry.get("subresource") != "status"
    )


async def compare(client: KubeClient, pods: Iterable[Object]) -> list[tuple[Object, list[FieldDrift]]]:
    """The pods that are otherwise than the template of the controller that owns them, whole, with what differs.

    Pods without such an owner, and those that are gone or may not be read, are left out. Raises the client's errors.
    """
    found = await asyncio.gather(*(_compare(client, pod) for pod in pods))
    return [item for item in found if item is not None]


async def _compare(client: KubeClient, pod: Object) -> tuple[Object, list[FieldDrift]] | None:
    meta = pod["metadata"]
    owner = next((ref for ref in meta.get("ownerReferences") or () if ref.get("controller")), None)
    if owner is None or owner.get("kind") not in OWNERS:
        return None
    try:
        of = await client.resource(str(owner.get("apiVersion")), str(owner["kind"]))
        made_from = await client.get(of, str(owner.get("name")), meta["namespace"])
        live = await client.get(POD, meta["name"], meta["namespace"])
    except (NotFound, KindNotFound, Forbidden):
        return None
    is_leaving = live["metadata"].get("deletionTimestamp") and not live["metadata"].get("finalizers")
    if made_from["metadata"]["uid"] != owner.get("uid") or is_leaving:
        return None
    fields = list(differences(live.get("spec") or {}, _template(made_from.get("spec"))))
    if fields and (revision := await _revision(client, live, made_from)) is not None:
        # It was made from an earlier template, whose turn to be replaced has not come.
        fields = list(differences(live.get("spec") or {}, _template((revision.get("data") or {}).get("spec"))))
    return (live, fields) if fields else None


async def _revision(client: KubeClient, pod: Object, owner: Object) -> Object | None:
    """The record of the template that the pod was made from, where its owner keeps such records."""
    label = (pod["metadata"].get("labels") or {}).get("controller-revision-hash")
    if not label or owner["kind"] not in ("StatefulSet", "DaemonSet"):
        return None
    # A DaemonSet's pods have only the digest in their label.
    name = label if owner["kind"] == "StatefulSet" else f"{owner['metadata']['name']}-{label}"
    try:
        found = await client.get(_REVISION, name, pod["metadata"]["namespace"])
    except (NotFound, Forbidden):
        return None
    owners = found["metadata"].get("ownerReferences") or ()
    return found if any(ref.get("uid") == owner["metadata"]["uid"] for ref in owners) else None


def _template(spec: Any) -> Mapping[str, Any]:
    return ((spec or {}).get("template") or {}).get("spec") or {}


def differences(spec: Mapping[str, Any], template: Mapping[str, Any]) -> Iterator[FieldDrift]:
    """What of a pod's spec is otherwise than its template states, and the containers that were added to debug it."""
    for name in _LISTS:
        live = {str(item.get("name")): item for item in spec.get(name) or ()}
        for wanted in template.get(name) or ():
            there = live.get(str(wanted.get("name")))
            if there is None:
                continue
            path = f"spec.{name}[name={wanted.get('name')}]"
            if wanted.get("image") and there.get("image") != wanted["image"]:
                yield FieldDrift(f"{path}.image", there.get("image"), wanted["image"])
            yield from _resources(there.get("resources") or {}, wanted.get("resources") or {}, f"{path}.resources")
    for item in spec.get("ephemeralContainers") or ():
        yield FieldDrift(f"spec.ephemeralContainers[name={item.get('name')}].image", item.get("image"), None)
    for name in _SCALARS:
        if template.get(name) is not None and spec.get(name) != template[name]:
            yield FieldDrift(f"spec.{name}", spec.get(name), template[name])


def _resources(live: Mapping[str, Any], wanted: Mapping[str, Any], path: str) -> Iterator[FieldDrift]:
    for side in ("requests", "limits"):
        for name, amount in (wanted.get(side) or {}).items():
            there = (live.get(side) or {}).get(name)
            if there != amount and not same_amount(there, amount):
                yield FieldDrift(f"{path}.{side}.{name}", there, amount)


def finding(pod: Object, fields: Sequence[FieldDrift], stack: str = "") -> Finding:
    """What is told of a pod with these differences."""
    meta = pod["metadata"]
    who = _managers_of(pod, fields)
    return Finding(
        stack, "", "v1", "Pod", meta["namespace"], meta["name"], "altered", who, tuple(fields), uid=meta["uid"]
    )


def _managers_of(pod: Object, fields: Sequence[FieldDrift]) -> tuple[str, ...]:
    """Who has written the fields that differ: controllers only where nobody else has."""
    names: list[str] = []
    for entry in classify.entries(pod):
        spec = (entry.get("fieldsV1") or {}).get("f:spec") or {}
        texts = [fieldset.text(("f:spec", *path)) for path in fieldset.paths(spec)]
        names += [str(entry.get("manager"))] if any(_is_of(text, fields) for text in texts) else []
    others = [name for name in dict.fromkeys(names) if name not in _CONTROLLERS]
    return tuple(others or dict.fromkeys(names))


def _is_of(text: str, fields: Sequence[FieldDrift]) -> bool:
    return any(text.startswith(item.path) or item.path.startswith(text) for item in fields)
