"""Compares recorded objects with their cluster: reads them, and makes dry runs where needed. Changes nothing.

The result is a `Case` for each object: its findings, and the fields that its manager must own again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from wecityctl.drift import classify, fieldset, stated, unrecorded
from wecityctl.drift.mutators import Mutators
from wecityctl.drift.recorded_object import RecordedObject
from wecityctl.kube.client import KubeClient
from wecityctl.kube.errors import (
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    Invalid,
    KindNotFound,
    NotFound,
    WebhookUnreachable,
)
from wecityctl.kube.resource import Object, ResourceType
from wecityctl.model.findings import FieldDrift, Finding
from wecityctl.model.naming import FIELD_MANAGER

_ATTEMPTS: Final = 5
REPLICAS: Final = "spec.replicas"
REPLICAS_FIELD: Final[fieldset.Fields] = {"f:spec": {"f:replicas": {}}}
# Errors that refuse a dry run. A webhook that does not answer blocks writes, but must not hide what can be read.
_REFUSED: Final = (BadRequest, Forbidden, Invalid, WebhookUnreachable)
Live = Mapping[tuple[str, str, str, str], Object]


@dataclass(frozen=True, slots=True)
class Case:
    """One compared object.

    `live` is `None` if the object is gone or being deleted. `lost` are fields that have their declared values but are
    owned by others, such as a replica count that was changed and changed back. `added` are fields that others have
    added. `remake`: a field differs that cannot be changed back, so the object must be recreated.
    """

    recorded: RecordedObject
    live: Object | None = field(repr=False)
    findings: tuple[Finding, ...] = ()
    lost: Mapping[str, Any] = field(default_factory=dict)
    added: Mapping[str, Any] = field(default_factory=dict)
    remake: bool = False


async def examine(client: KubeClient, selector: str, objects: Sequence[RecordedObject]) -> tuple[Case, ...]:
    """Compare all `objects` with the cluster. Those that match the label selector are read with one list per kind.

    Raises the client's errors. Where dry runs are refused, security objects are compared with their recorded and
    declared forms instead.
    """
    live, mutators = await _read(client, selector, objects), Mutators(client)
    return tuple(await asyncio.gather(*(_case(client, mutators, item, live.get(item.key)) for item in objects)))


async def _read(client: KubeClient, selector: str, objects: Sequence[RecordedObject]) -> Live:
    kinds = sorted({(item.api_version, item.kind) for item in objects})
    lists = await asyncio.gather(*(_list(client, *kind, selector) for kind in kinds))
    found = {key: item for items in lists for key, item in items.items()}
    # Labels can be removed like any other field: an object that has lost them may still exist.
    rest = [item for item in objects if item.key not in found]
    for item, there in zip(rest, await asyncio.gather(*(_get(client, item) for item in rest)), strict=True):
        if there is not None:
            found[item.key] = there
    return found


async def _list(client: KubeClient, api_version: str, kind: str, selector: str) -> dict[Any, Object]:
    try:
        served = await client.resource(api_version, kind)
        items = await client.list(served, label_selector=selector)
    except (KindNotFound, NotFound, Forbidden):
        # A user without permission to list a kind may still read the objects one by one.
        return {}
    return {
        (api_version, kind, item["metadata"].get("namespace") or "", item["metadata"]["name"]): item for item in items
    }


async def _get(client: KubeClient, recorded: RecordedObject) -> Object | None:
    try:
        return await client.get(await served(client, recorded), recorded.name, recorded.namespace or None)
    except (KindNotFound, NotFound):
        return None


async def served(client: KubeClient, recorded: RecordedObject) -> ResourceType:
    """The object's kind as the cluster serves it."""
    return await client.resource(recorded.api_version, recorded.kind)


async def _case(client: KubeClient, mutators: Mutators, recorded: RecordedObject, live: Object | None) -> Case:
    if live is None or live["metadata"].get("deletionTimestamp"):
        return Case(recorded, None, (classify.gone(recorded, live),))
    if recorded.is_security:
        return await _security(client, mutators, recorded, live)
    return await _ordinary(client, mutators, recorded, live)


async def _security(client: KubeClient, mutators: Mutators, recorded: RecordedObject, live: Object) -> Case:
    overruled: list[FieldDrift] = []
    for _ in range(_ATTEMPTS):
        try:
            wanted = await put(client, recorded, live, dry_run=True)
            overruled = stated.unlike(recorded.body, wanted)
            break
        except NotFound:
            return Case(recorded, None, (classify.gone(recorded, None),))
        except _REFUSED as error:
            if fields := _fixed_fields(error):
                # Such as the role of a binding, which is immutable: the object must be recreated.
                who = classify.foreign_managers(live, recorded.manager)
                found = [FieldDrift(name) for name in fields]
                return Case(recorded, live, (classify.finding(recorded, "security", who, found),), remake=True)
            wanted = dict(recorded.outputs)
            break
        except Conflict:
            # Somebody has written it since it was read.
            live = await client.get(await served(client, recorded), recorded.name, recorded.namespace or None)
    else:
        raise Conflict(409, "Conflict", f"{recorded.kind} {recorded.name} changes too fast to be compared")
    others = classify.foreign_managers(live, recorded.manager)
    there = stated.unlike(recorded.body, live)
    if overruled:
        causes = await mutators.of(await served(client, recorded))
        told = classify.finding(recorded, "security", others, there or overruled, admission=causes)
        return Case(recorded, live, (told,))
    wanted = classify.without_additions(recorded, live, wanted)
    found = classify.differences(classify.meaningful(live), classify.meaningful(wanted)) or there
    if not found:
        # The controller that aggregates a role owns its rules.
        claims = others and not recorded.inputs.get("aggregationRule")
        return Case(recorded, live, (), {"f:metadata": {}} if claims else {})
    return Case(recorded, live, (classify.finding(recorded, "security", others, found),))


async def put(client: KubeClient, recorded: RecordedObject, live: Object, *, dry_run: bool) -> Object:
    """Replace the object by its declared form, unless it has changed since it was read."""
    body = recorded.body
    body["metadata"] = {**body["metadata"], "resourceVersion": live["metadata"]["resourceVersion"]}
    if body.get("aggregationRule"):
        body["rules"] = live.get("rules")
    rt = await served(client, recorded)
    place = recorded.namespace or None
    return await client.replace(rt, recorded.name, place, body, field_manager=FIELD_MANAGER, dry_run=dry_run)


async def _ordinary(client: KubeClient, mutators: Mutators, recorded: RecordedObject, live: Object) -> Case:
    findings: list[Finding] = []
    ours = classify.owned(live, recorded.manager)
    lost: Mapping[str, Any] = {}
    labels = classify.namespace_labels(recorded, live) if recorded.is_namespace else []
    label_paths = {item.path for item in labels}
    if labels:
        paths: dict[str, Any] = {"f:metadata": {"f:labels": {f"f:{_label(item.path)}": {} for item in labels}}}
        who = classify.managers_of(live, recorded.manager, paths)
        causes = await _label_causes(client, mutators, recorded, live)
        findings.append(classify.finding(recorded, "security", who, labels, admission=causes))
    if classify.is_suspicious(recorded, live):
        try:
            answer = await _forced(client, recorded)
        except Invalid as error:
            who = classify.foreign_managers(live, recorded.manager)
            found = [FieldDrift(name) for name in _fixed_fields(error)]
            findings.append(classify.finding(recorded, "conflict", who, found))
            return Case(recorded, live, tuple(findings), remake=True)
        wanted = dict(recorded.outputs) if answer is None else answer
        if answer is None:
            ours = classify.owned_then(recorded, classify.owned_by_anybody(live))
        else:
            ours = classify.owned(answer, recorded.manager)
        missing = fieldset.minus(ours, classify.owned(live, recorded.manager))
        found = classify.differences(classify.meaningful(live), classify.meaningful(wanted))
        found = [item for item in found if item.path not in label_paths]
        number = [item for item in found if recorded.keeps_its_number and item.path == REPLICAS]
        if number:
            who = classify.managers_of(live, recorded.manager, REPLICAS_FIELD)
            findings.append(classify.finding(recorded, "security", who, number))
            found = [item for item in found if item not in number]
        if found:
            who = classify.managers_of(live, recorded.manager, missing)
            findings.append(classify.finding(recorded, "conflict", who, found))
        elif missing and not findings and classify.was_ours(recorded, missing):
            lost = missing
        altered = classify.altered(recorded, answer) if answer is not None else []
        if altered := [item for item in altered if item.path not in label_paths]:
            causes = await mutators.of(await served(client, recorded))
            findings.append(classify.finding(recorded, "conflict", (), altered, admission=causes))
    if not findings:
        lost = fieldset.union(lost, classify.shared(live, recorded.manager))
    added = classify.additions(live, recorded.manager, ours)
    added = fieldset.union(added, classify.switched_off(live, ours))
    told = {item.path for found in findings for item in found.fields}
    nobodys = fieldset.paths(await _unrecorded(client, recorded, live, ours))
    added = fieldset.union(added, fieldset.of(path for path in nobodys if fieldset.text(path) not in told))
    if labels:
        added = fieldset.minus(added, paths)
    if any(fieldset.paths(added)):
        who = classify.managers_of(live, recorded.manager, added)
        fields = [FieldDrift(fieldset.text(path), fieldset.value_at(live, path)) for path in fieldset.paths(added)]
        findings.append(classify.finding(recorded, "addition", who, fields))
    return Case(recorded, live, tuple(findings), lost, added)


async def _unrecorded(
    client: KubeClient, recorded: RecordedObject, live: Object, ours: fieldset.Fields
) -> dict[str, Any]:
    """Additions without an owner. The API server is asked only if there may be any."""
    doubtful = unrecorded.doubtful(live, recorded.body, recorded.outputs, ours)
    if not doubtful:
        return {}
    body = recorded.body
    # The maximum length of a name that every kind accepts.
    body["metadata"] = {**body["metadata"], "name": f"{recorded.name[:50].rstrip('-.')}-as-stated"}
    try:
        fresh = await _tried(client, body, recorded.manager)
    except (*_REFUSED, Conflict, NotFound):
        fresh = dict(recorded.outputs)
    return unrecorded.added(live, doubtful, fresh)


async def _label_causes(
    client: KubeClient, mutators: Mutators, recorded: RecordedObject, live: Object
) -> tuple[str, ...]:
    """The admission plug-ins that change a namespace's security labels when they are written as declared."""
    try:
        answer = await put_labels(client, recorded, live, dry_run=True)
    except (*_REFUSED, Conflict, NotFound):
        return ()
    return await mutators.of(await served(client, recorded)) if classify.namespace_labels(recorded, answer) else ()


async def put_labels(client: KubeClient, recorded: RecordedObject, live: Object, *, dry_run: bool) -> Object:
    """Set a namespace's security labels to the declared values, unless it has changed since it was read."""
    stated_labels = recorded.body["metadata"].get("labels") or {}
    names = classify.security_labels(recorded, live)
    patch = {
        "metadata": {
            "labels": {name: stated_labels.get(name) for name in names},
            "resourceVersion": live["metadata"]["resourceVersion"],
        }
    }
    rt = await served(client, recorded)
    return await client.patch(rt, recorded.name, None, patch, field_manager=FIELD_MANAGER, dry_run=dry_run)


async def _forced(client: KubeClient, recorded: RecordedObject) -> Object | None:
    """A dry run of applying the declared object over everybody's changes; `None` where that is refused.

    Raises `Invalid` for fields that cannot be changed back.
    """
    try:
        return await _tried(client, recorded.body, recorded.manager)
    except _REFUSED as error:
        if _fixed_fields(error):
            raise
        return None


async def _tried(client: KubeClient, body: Object, manager: str) -> Object:
    """A dry run of a forced apply by `manager`."""
    return await client.apply(body, field_manager=manager, force=True, dry_run=True, field_validation="Ignore")


async def put_replicas(client: KubeClient, recorded: RecordedObject, live: Object) -> Object:
    """Set the replica count to the declared number, unless the object has changed since it was read."""
    patch = {
        "metadata": {"resourceVersion": live["metadata"]["resourceVersion"]},
        "spec": {"replicas": recorded.body["spec"]["replicas"]},
    }
    rt = await served(client, recorded)
    return await client.patch(rt, recorded.name, recorded.namespace or None, patch, field_manager=FIELD_MANAGER)


def _fixed_fields(error: ApiError) -> list[str]:
    """The fields that an error calls immutable; none if the write as a whole was rejected, as by a policy."""
    return [name for name, _ in error.causes if name] if isinstance(error, Invalid) else []


def _label(path: str) -> str:
    inner = path.removeprefix("metadata.labels")
    return inner[1:-1] if inner.startswith("[") else inner.removeprefix(".")
