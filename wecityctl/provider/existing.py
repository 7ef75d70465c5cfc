"""Finds an existing object with the name of a resource that is to be created, and adopts the resource's own.

`adoption` decides to whom an object belongs. An object that is being deleted belongs to nobody: it is waited for.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Final

from wecityctl.kube.errors import KindNotFound, NotFound
from wecityctl.kube.resource import ResourceType
from wecityctl.model.naming import RETAINED_FOR, RETAINED_RECORD
from wecityctl.model.security import is_security_kind
from wecityctl.provider import adoption
from wecityctl.provider import state as states
from wecityctl.provider.adoption import Claimant
from wecityctl.provider.annotations import annotation
from wecityctl.provider.apply import Apply, ApplyConflictError, is_going, wait_gone
from wecityctl.provider.cancellation import GRACE
from wecityctl.provider.clientside import is_owned_by_kubectl, take_over_application
from wecityctl.provider.instance import Instance, Target
from wecityctl.provider.official import take_over_creation, was_created_officially

# Controllers create these in each new namespace, with no field manager that identifies them.
_OF_EACH_NAMESPACE: Final = frozenset({("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")})


async def find_own(provider: Instance, target: Target, body: dict[str, Any], *, seconds: float) -> dict[str, Any]:
    """The resource's own live object; empty when none exists.

    Waits up to `seconds` for an object that is being deleted. Raises `RefusedError` for somebody else's object,
    `DeploymentError` when the deletion does not finish, and the client's errors.
    """
    try:
        rt = await provider.client.resource(body["apiVersion"], body["kind"])
    except KindNotFound:
        return {}  # a kind that is not served has no objects; applying waits for it
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        live = await _get(provider, rt, body)
        if not is_going(live):
            return await _judged(provider, target, body, live)
        left = max(deadline - asyncio.get_running_loop().time(), 1.0)
        waiter = wait_gone(
            provider.client, live, timeout=left, report=lambda text: provider.log.status(target.urn, text)
        )
        await provider.cancellation.run(waiter)


def is_in_new_namespace(provider: Instance, body: dict[str, Any]) -> bool:
    """Whether an object goes into a namespace that this run has created, so that no older object can have its name.

    `require_made` finds what somebody else creates there in the meantime. False for objects that Kubernetes itself puts
    into each namespace, and false if the resource adopts any existing object.
    """
    own = (body["kind"], states.name_of(body)) in _OF_EACH_NAMESPACE
    return states.namespace_of(body) in provider.memory.made_namespaces and not (
        own or provider.settings.upsert_existing
    )


async def preview_own(provider: Instance, target: Target, body: dict[str, Any]) -> dict[str, Any]:
    """Like `find_own` without waiting: an object that is being deleted is returned, no matter to whom it belonged."""
    rt = await provider.client.resource(body["apiVersion"], body["kind"])
    live = await _get(provider, rt, body)
    return live if is_going(live) else await _judged(provider, target, body, live)


async def take_over(
    provider: Instance, target: Target, live: dict[str, Any], body: dict[str, Any], how: Apply
) -> dict[str, Any]:
    """Apply `body` to an existing object as the resource's only Pulumi manager; the live object afterwards.

    `how` names the new manager. An older state or another resource that knows the object under the former manager must
    not delete it any more. Raises `ApplyConflictError` for fields that others have changed, unless `is_taken_over`
    allows it.
    """
    if was_created_officially(live):
        await provider.cancellation.run(take_over_creation(provider.client, live, how.manager))
    former = [manager for manager in adoption.pulumi_managers(live) if manager != how.manager]
    # First under the former manager: a change under a new one would conflict with the fields that it owns.
    first = how.under(former[-1]) if former else how
    try:
        applied = await provider.cancellation.run(first.make(body), grace=GRACE)
    except ApplyConflictError as error:
        if not is_taken_over(provider, body, error):
            raise
        applied = await provider.cancellation.run(replace(first, force=True).make(body), grace=GRACE)
        fields, who = ", ".join(name.lstrip(".") for name in error.fields), ", ".join(error.managers)
        done = "restored" if _closes(body, error) else "changed back"
        provider.log.warning(target.urn, f"{states.describe(applied)}: changed by {who}: {fields}; {done}")
    if former:
        applied = await provider.cancellation.run(replace(how, former=frozenset(former)).make(body), grace=GRACE)
    for manager in former:
        applied = await release(provider, applied, manager)
    if is_owned_by_kubectl(applied):
        applied = await take_over_application(provider.client, applied, body, how.manager)
    if annotation(applied, RETAINED_FOR):
        rt = await provider.client.resource(body["apiVersion"], body["kind"])
        patch = {"metadata": {"annotations": dict.fromkeys((RETAINED_FOR, RETAINED_RECORD))}}
        place = states.namespace_of(applied) or None
        applied = await provider.client.patch(rt, states.name_of(applied), place, patch, field_manager=how.manager)
    provider.log.info(target.urn, f"{states.describe(applied)} existed already; this resource has adopted it")
    return applied


def is_taken_over(provider: Instance, body: dict[str, Any], error: ApplyConflictError) -> bool:
    """Whether an adoption overwrites fields that others have changed.

    It does for security objects, for a namespace's labels, and for every object if the run was told to take over.
    """
    return provider.settings.take_over or _closes(body, error)


def _closes(body: dict[str, Any], error: ApplyConflictError) -> bool:
    version, kind = str(body["apiVersion"]), str(body["kind"])
    labels = all(name.startswith(".metadata.labels.") for name in error.fields)
    return is_security_kind(version, kind) or ((version, kind) == ("v1", "Namespace") and labels)


async def require_made(
    provider: Instance, target: Target, body: dict[str, Any], live: dict[str, Any], manager: str
) -> None:
    """Reject an object that turns out to have existed when it was applied as new, and revert what the apply wrote.

    An object that was just created has no manager other than `manager`; another one means that it existed before.
    """
    entries = states.metadata_of(live).get("managedFields") or []
    if all(entry.get("manager") == manager or entry.get("subresource") for entry in entries):
        return
    claimant = await _claimant(provider, target, body)
    own = {*claimant.managers, manager}
    rest = [entry for entry in entries if entry.get("manager") not in own]
    if provider.settings.upsert_existing or not rest:
        return
    left = await release(provider, live, manager)
    if not adoption.is_own(left, claimant):
        raise adoption.refusal(left, claimant)


async def require_same(
    provider: Instance, target: Target, body: dict[str, Any], state: dict[str, Any], *, seconds: float
) -> bool:
    """Reject an update if somebody else has recreated the object under the resource's name.

    Returns whether the recorded object is still there; true if its uid is not known.
    """
    uid = states.uid_of(state)
    if not uid:
        return True
    rt = await provider.client.resource(body["apiVersion"], body["kind"])
    live = await _get(provider, rt, body)
    # Applied by the recorded manager: an update recreated it and was killed before it could record that.
    recorded = str(state.get(states.FIELD_MANAGER) or "")
    if live and states.uid_of(live) != uid and recorded not in adoption.applied_by(live):
        await find_own(provider, target, body, seconds=seconds)
    return bool(live) and states.uid_of(live) == uid


async def release(provider: Instance, live: dict[str, Any], manager: str) -> dict[str, Any]:
    """Give up all fields that a field manager owns of an object; the live object afterwards."""
    identity = {key: value for key, value in states.metadata_of(live).items() if key in ("name", "namespace")}
    empty = {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": identity}
    return await provider.client.apply(empty, field_manager=manager)


async def _judged(provider: Instance, target: Target, body: dict[str, Any], live: dict[str, Any]) -> dict[str, Any]:
    if not live:
        return {}
    claimant = await _claimant(provider, target, body)
    if provider.settings.upsert_existing or adoption.is_own(live, claimant):
        return live
    raise adoption.refusal(live, claimant)


async def _claimant(provider: Instance, target: Target, body: dict[str, Any]) -> Claimant:
    managers = await provider.derived_managers(target)
    return Claimant(target.urn, managers, adoption.city_of(body), data_of=adoption.data_owner(body))


async def _get(provider: Instance, rt: ResourceType, body: dict[str, Any]) -> dict[str, Any]:
    place = (states.namespace_of(body) or provider.default_namespace) if rt.namespaced else None
    try:
        return await provider.cancellation.run(provider.client.get(rt, states.name_of(body), place))
    except NotFound:
        return {}
