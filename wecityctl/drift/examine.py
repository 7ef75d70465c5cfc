"""Examines recorded objects on their cluster: reads them, asks the API server where in doubt, changes nothing.

What is found is a case for each object: its findings, and whether its fields must be claimed again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from wecityctl.drift import classify, fieldset
from wecityctl.drift.recorded import Recorded
from wecityctl.kube.client import KubeClient
from wecityctl.kube.errors import Conflict, Forbidden, Invalid, KindNotFound, NotFound
from wecityctl.kube.resource import Object, ResourceType
from wecityctl.model.findings import FieldDrift, Finding
from wecityctl.model.naming import FIELD_MANAGER

_ATTEMPTS: Final = 5
Live = Mapping[tuple[str, str, str, str], Object]


@dataclass(frozen=True, slots=True)
class Case:
    """One examined object. `live` is `None` where it is gone; `lost` are fields that others own though they stand as
    stated, such as a number of replicas that was changed and changed back; `added` are others' additions. `remake`: it
    differs where nothing can be changed back."""

    recorded: Recorded
    live: Object | None = field(repr=False)
    findings: tuple[Finding, ...] = ()
    lost: Mapping[str, Any] = field(default_factory=dict)
    added: Mapping[str, Any] = field(default_factory=dict)
    remake: bool = False


async def examine(client: KubeClient, selector: str, objects: Sequence[Recorded]) -> tuple[Case, ...]:
    """The cases of all `objects`; those that `selector` (labels) finds are read with one list for each kind.

    Raises the client's errors. Without the right to write, security objects are compared with what was recorded.
    """
    live = await read(client, selector, objects)
    return tuple(await asyncio.gather(*(_case(client, item, live.get(item.key)) for item in objects)))


async def read(client: KubeClient, selector: str, objects: Sequence[Recorded]) -> Live:
    """The live objects that are there and not being deleted."""
    kinds = sorted({(item.api_version, item.kind) for item in objects})
    lists = await asyncio.gather(*(_list(client, *kind, selector) for kind in kinds))
    found = {key: item for items in lists for key, item in items.items()}
    # Labels are a field like any other: an object that has lost them is still there.
    rest = [item for item in objects if item.key not in found]
    for item, there in zip(rest, await asyncio.gather(*(_get(client, item) for item in rest)), strict=True):
        if there is not None:
            found[item.key] = there
    return {key: item for key, item in found.items() if not item["metadata"].get("deletionTimestamp")}


async def _list(client: KubeClient, api_version: str, kind: str, selector: str) -> dict[Any, Object]:
    try:
        served = await client.resource(api_version, kind)
        items = await client.list(served, label_selector=selector)
    except (KindNotFound, NotFound, Forbidden):
        # Who may not list a kind everywhere may still read the objects one by one.
        return {}
    return {
        (api_version, kind, item["metadata"].get("namespace") or "", item["metadata"]["name"]): item for item in items
    }


async def _get(client: KubeClient, recorded: Recorded) -> Object | None:
    try:
        return await client.get(await served(client, recorded), recorded.name, recorded.namespace or None)
    except (KindNotFound, NotFound):
        return None


async def served(client: KubeClient, recorded: Recorded) -> ResourceType:
    """The object's kind as the cluster serves it."""
    return await client.resource(recorded.api_version, recorded.kind)


async def _case(client: KubeClient, recorded: Recorded, live: Object | None) -> Case:
    if live is None:
        return Case(recorded, None, (classify.finding(recorded, "missing"),))
    if recorded.is_security:
        return await _security(client, recorded, live)
    return await _ordinary(client, recorded, live)


async def _security(client: KubeClient, recorded: Recorded, live: Object) -> Case:
    for _ in range(_ATTEMPTS):
        try:
            wanted = await put(client, recorded, live, dry_run=True)
            break
        except NotFound:
            return Case(recorded, None, (classify.finding(recorded, "missing"),))
        except (Forbidden, Invalid) as error:
            if fields := _fixed_fields(error):
                # As the role of a binding: the object has to be made anew.
                who = classify.foreign_managers(live, recorded.manager)
                found = [FieldDrift(name) for name in fields]
                return Case(recorded, live, (classify.finding(recorded, "security", who, found),), remake=True)
            wanted = dict(recorded.outputs)
            break
        except Conflict:
            # Written in this very moment.
            live = await client.get(await served(client, recorded), recorded.name, recorded.namespace or None)
    else:
        raise Conflict(409, "Conflict", f"{recorded.kind} {recorded.name} changes too fast to be compared")
    found = classify.differences(classify.meaningful(live), classify.meaningful(wanted))
    others = classify.foreign_managers(live, recorded.manager)
    if not found:
        # The controller that puts a role together from others owns its rules.
        claims = others and not recorded.inputs.get("aggregationRule")
        return Case(recorded, live, (), {"f:metadata": {}} if claims else {})
    return Case(recorded, live, (classify.finding(recorded, "security", others, found),))


async def put(client: KubeClient, recorded: Recorded, live: Object, *, dry_run: bool) -> Object:
    """Replace the object by what was stated, provided that it is still the one that was read."""
    body = recorded.body
    body["metadata"] = {**body["metadata"], "resourceVersion": live["metadata"]["resourceVersion"]}
    if body.get("aggregationRule"):
        body["rules"] = live.get("rules")
    rt = await served(client, recorded)
    place = recorded.namespace or None
    return await client.replace(rt, recorded.name, place, body, field_manager=FIELD_MANAGER, dry_run=dry_run)


async def _ordinary(client: KubeClient, recorded: Recorded, live: Object) -> Case:
    findings: list[Finding] = []
    stated = classify.owned(live, recorded.manager)
    lost: Mapping[str, Any] = {}
    labels = classify.namespace_labels(recorded, live) if recorded.is_namespace else []
    if labels:
        paths: dict[str, Any] = {"f:metadata": {"f:labels": {f"f:{_label(item.path)}": {} for item in labels}}}
        who = classify.managers_of(live, recorded.manager, paths)
        findings.append(classify.finding(recorded, "security", who, labels))
    if classify.is_suspicious(recorded, live):
        try:
            wanted = await _forced(client, recorded)
        except Invalid as error:
            who = classify.foreign_managers(live, recorded.manager)
            found = [FieldDrift(name) for name in _fixed_fields(error)]
            findings.append(classify.finding(recorded, "conflict", who, found))
            return Case(recorded, live, tuple(findings), remake=True)
        stated = classify.owned(wanted, recorded.manager)
        missing = fieldset.minus(stated, classify.owned(live, recorded.manager))
        found = classify.differences(classify.meaningful(live), classify.meaningful(wanted))
        found = [item for item in found if item.path not in {label.path for label in labels}]
        if found:
            who = classify.managers_of(live, recorded.manager, missing)
            findings.append(classify.finding(recorded, "conflict", who, found))
        elif missing and not labels and classify.was_ours(recorded, missing):
            lost = missing
    if not findings:
        lost = fieldset.union(lost, classify.shared(live, recorded.manager))
    added = classify.additions(live, recorded.manager, stated)
    if labels:
        added = fieldset.minus(added, paths)
    if any(fieldset.paths(added)):
        who = classify.managers_of(live, recorded.manager, added)
        fields = [FieldDrift(fieldset.text(path)) for path in fieldset.paths(added)]
        findings.append(classify.finding(recorded, "addition", who, fields))
    return Case(recorded, live, tuple(findings), lost, added)


async def _forced(client: KubeClient, recorded: Recorded) -> Object:
    """What the object would be if what was stated were applied over everybody's changes. Raises `Invalid` for fields
    that cannot be changed back."""
    try:
        return await client.apply(
            recorded.body, field_manager=recorded.manager, force=True, dry_run=True, field_validation="Ignore"
        )
    except (Forbidden, Invalid) as error:
        if _fixed_fields(error):
            raise
        return dict(recorded.outputs)


def _fixed_fields(error: Forbidden | Invalid) -> list[str]:
    """The fields that an answer refuses to change; none where the write as a whole was refused, as by a policy."""
    return [name for name, _ in error.causes if name] if isinstance(error, Invalid) else []


def _label(path: str) -> str:
    inner = path.removeprefix("metadata.labels")
    return inner[1:-1] if inner.startswith("[") else inner.removeprefix(".")
