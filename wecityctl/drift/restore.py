"""Restores objects on their cluster: security objects as a whole, and others' changes if they are taken over.

Every write is conditional on the version that was examined. Afterwards the resource's field manager is the only owner
of the declared fields, so that later applies do not conflict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from wecityctl.drift import classify, fieldset, stated
from wecityctl.drift.examine import REPLICAS_FIELD, Case, put, put_labels, put_replicas, served
from wecityctl.drift.mutators import Mutators
from wecityctl.drift.recorded_object import RecordedObject
from wecityctl.errors import DeploymentError
from wecityctl.kube.client import KubeClient
from wecityctl.kube.errors import Conflict, Invalid, NotFound
from wecityctl.kube.resource import Object
from wecityctl.model.findings import FieldDrift
from wecityctl.model.naming import FIELD_MANAGER
from wecityctl.model.security import is_security_label

_ATTEMPTS: Final = 5


async def restore(client: KubeClient, case: Case) -> Object | None:
    """Restore a security object, a namespace's security labels, or the replica count of a StatefulSet.

    Returns the object afterwards, or nothing if it had to be deleted or is gone and must be recreated. Raises the
    client's errors, and `DeploymentError` if the object still differs from the declared one.
    """
    recorded, live = case.recorded, case.live
    assert live is not None
    try:
        if case.remake:
            meta = live["metadata"]
            await client.delete(
                await served(client, recorded),
                recorded.name,
                recorded.namespace or None,
                uid=meta["uid"],
                resource_version=meta["resourceVersion"],
            )
            return None
        if recorded.is_namespace:
            return await _restore_labels(client, recorded, live)
        if recorded.keeps_its_number:
            await put_replicas(client, recorded, live)
            return await claim(client, recorded, REPLICAS_FIELD)
        return await _replace(client, recorded, live)
    except NotFound:
        return None


async def make_again(client: KubeClient, recorded: RecordedObject) -> bool:
    """Recreate a missing namespaced security object from the state, under its resource's own manager.

    Returns False if there is nothing to do: an object of that name exists, or the namespace is gone or being deleted.
    Raises the client's errors, and `DeploymentError` if the object still differs from the declared one.
    """
    try:
        space = await client.get(await client.resource("v1", "Namespace"), recorded.namespace)
    except NotFound:
        return False
    if space["metadata"].get("deletionTimestamp"):
        return False
    try:
        await _read(client, recorded)
    except NotFound:
        written = await client.apply(recorded.body, field_manager=recorded.manager)
        await _require(client, recorded, stated.unlike(recorded.body, written))
        return True
    return False


async def _replace(client: KubeClient, recorded: RecordedObject, live: Object) -> Object:
    for attempt in range(_ATTEMPTS):
        try:
            await put(client, recorded, live, dry_run=False)
            break
        except Conflict:
            if attempt == _ATTEMPTS - 1:
                raise
            live = await _read(client, recorded)
    # The replacement is owned as an update by its own name. The apply makes the resource's manager the owner.
    written = await client.apply(recorded.body, field_manager=recorded.manager, force=True)
    await _require(client, recorded, stated.unlike(recorded.body, written))
    return await _set_owners(client, recorded, lambda entries: [item for item in entries if _is_own(item, recorded)])


def _is_own(entry: Mapping[str, Any], recorded: RecordedObject) -> bool:
    return classify.is_ours(entry, recorded.manager) or entry.get("subresource") == "status"


async def _require(client: KubeClient, recorded: RecordedObject, otherwise: Sequence[FieldDrift]) -> None:
    """Raise `DeploymentError` if a write had a result other than its dry run."""
    if otherwise:
        causes = await Mutators(client).of(await served(client, recorded))
        found = classify.finding(recorded, "security", (), otherwise, admission=causes)
        raise DeploymentError(str(found), resolution=f"remove or narrow {' or '.join(causes)}, then run `up` again")


async def _restore_labels(client: KubeClient, recorded: RecordedObject, live: Object) -> Object:
    stated_labels = recorded.body["metadata"].get("labels") or {}
    if classify.namespace_labels(recorded, live):
        written = await put_labels(client, recorded, live, dry_run=False)
        await _require(client, recorded, classify.namespace_labels(recorded, written))
    names = [name for name in stated_labels if is_security_label(name)]
    return await claim(client, recorded, {"f:metadata": {"f:labels": {f"f:{name}": {} for name in names}}})


async def take_over(client: KubeClient, case: Case) -> Object:
    """Apply the declared object over others' changes, and remove their additions if the fields' types allow owning
    them.

    Returns the object afterwards. Raises the client's errors. A dry run comes first: if the API server rejects it,
    nothing is written, not even field ownership.
    """
    recorded, live = case.recorded, case.live
    assert live is not None
    await client.apply(recorded.body, field_manager=recorded.manager, force=True, dry_run=True)
    if any(fieldset.paths(case.added)):
        rest = fieldset.without(live, case.added)
        rt, place = await served(client, recorded), recorded.namespace or None
        with suppress(Conflict):  # written since it was read: the apply below reports what is wrong
            await client.replace(rt, recorded.name, place, rest, field_manager=FIELD_MANAGER, dry_run=True)
        # Fields that the manager owns and does not declare are removed by the next apply.
        await claim(client, recorded, case.added)
    live = await client.apply(recorded.body, field_manager=recorded.manager, force=True)
    return await claim(client, recorded, classify.owned(live, recorded.manager))


async def own_again(client: KubeClient, case: Case) -> Object:
    """Become the only owner of fields that have their declared values but were written by others.

    Changes no value. Returns the object afterwards.
    """
    recorded = case.recorded
    if recorded.is_security:
        return await _set_owners(
            client, recorded, lambda entries: [item for item in entries if _is_own(item, recorded)]
        )
    return await claim(client, recorded, case.lost)


async def claim(client: KubeClient, recorded: RecordedObject, fields: Mapping[str, Any]) -> Object:
    """Make the resource's manager the only owner of `fields`. Returns the object afterwards."""

    def claimed(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        result = []
        ours: dict[str, Any] | None = None
        for entry in entries:
            below = entry.get("fieldsV1") or {}
            if classify.is_ours(entry, recorded.manager):
                ours = {**entry, "fieldsV1": fieldset.union(below, fields)}
                result.append(ours)
            elif entry.get("subresource") == "status":
                result.append(entry)
            elif rest := fieldset.minus(below, fields):
                result.append({**entry, "fieldsV1": rest})
        if ours is None:
            result.append(
                {
                    "manager": recorded.manager,
                    "operation": "Apply",
                    "apiVersion": recorded.api_version,
                    "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                    "fieldsType": "FieldsV1",
                    "fieldsV1": dict(fields),
                }
            )
        return result

    return await _set_owners(client, recorded, claimed)


async def _set_owners(client: KubeClient, recorded: RecordedObject, change: Any) -> Object:
    """Rewrite all field ownership, only if nobody has written since. Returns the object afterwards."""
    rt = await served(client, recorded)
    for attempt in range(_ATTEMPTS):
        live = await _read(client, recorded)
        before = classify.entries(live)
        after = change(before)
        if after == before:
            return live
        patch = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
            {"op": "replace", "path": "/metadata/managedFields", "value": after},
        ]
        try:
            return await client.patch(
                rt, recorded.name, recorded.namespace or None, patch, field_manager=FIELD_MANAGER, patch_type="json"
            )
        except (Conflict, Invalid):
            # The resource version did not match: somebody has written in the meantime.
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("the last attempt returns or raises")


async def _read(client: KubeClient, recorded: RecordedObject) -> Object:
    return await client.get(await served(client, recorded), recorded.name, recorded.namespace or None)
