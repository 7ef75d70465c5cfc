"""Finds pods that differ from the template of their owner because somebody changed them after their creation.

Candidates are selected by metadata, so that only those pods and their owners are read. Compared are the mutable fields
of a pod's spec that its template declares. Containers that were added count as differences too.
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

# Controllers that create pods from a template and later change only their metadata.
OWNERS: Final = frozenset({"ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController"})
_CONTROLLERS: Final = ("kube-controller-manager", "kube-scheduler")
# The generation of a pod that was never changed; binding it to a node does not count.
_FIRST_GENERATION: Final = 1
_REVISION: Final = ResourceType("apps", "v1", "ControllerRevision", "controllerrevisions", True)
_LISTS: Final = ("containers", "initContainers")
_SCALARS: Final = ("activeDeadlineSeconds", "terminationGracePeriodSeconds")


def may_differ(pod: Object) -> bool:
    """Whether the pod's metadata indicates that somebody changed its spec after its creation.

    API servers count all changes since 1.33. For older ones, only writes by managers other than controllers are
    visible.
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
    """The complete pods that differ from the template of their controller, with the differences.

    Omits pods without such a controller, and those that are gone or may not be read. Raises the client's errors.
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
        # It was created from an earlier template and has not been replaced yet.
        fields = list(differences(live.get("spec") or {}, _template((revision.get("data") or {}).get("spec"))))
    return (live, fields) if fields else None


async def _revision(client: KubeClient, pod: Object, owner: Object) -> Object | None:
    """The recorded template that the pod was created from, if its owner keeps such records."""
    label = (pod["metadata"].get("labels") or {}).get("controller-revision-hash")
    if not label or owner["kind"] not in ("StatefulSet", "DaemonSet"):
        return None
    # The label of a DaemonSet's pods has only the digest.
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
    """The differences between a pod's spec and its template, and the ephemeral debug containers."""
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
    """The finding about a pod with these differences."""
    meta = pod["metadata"]
    who = _managers_of(pod, fields)
    return Finding(
        stack, "", "v1", "Pod", meta["namespace"], meta["name"], "altered", who, tuple(fields), uid=meta["uid"]
    )


def _managers_of(pod: Object, fields: Sequence[FieldDrift]) -> tuple[str, ...]:
    """The managers that wrote the differing fields; controllers only if nobody else did."""
    names: list[str] = []
    for entry in classify.entries(pod):
        spec = (entry.get("fieldsV1") or {}).get("f:spec") or {}
        texts = [fieldset.text(("f:spec", *path)) for path in fieldset.paths(spec)]
        names += [str(entry.get("manager"))] if any(_is_of(text, fields) for text in texts) else []
    others = [name for name in dict.fromkeys(names) if name not in _CONTROLLERS]
    return tuple(others or dict.fromkeys(names))


def _is_of(text: str, fields: Sequence[FieldDrift]) -> bool:
    return any(text.startswith(item.path) or item.path.startswith(text) for item in fields)
