"""Delete: ask for it, make sure it is our object, and wait until it is gone, naming what holds it."""

from __future__ import annotations

from typing import Any

from wecityctl.errors import DeploymentError
from wecityctl.kube.client import Propagation
from wecityctl.kube.errors import Conflict, KindNotFound, NotFound
from wecityctl.kube.readiness import NotReady, wait_deleted
from wecityctl.kube.readiness.wait import gone_at_once
from wecityctl.kube.resource import ResourceType
from wecityctl.provider import state as states
from wecityctl.provider.annotations import SKIP_AWAIT, is_true, propagation
from wecityctl.provider.cancellation import GRACE
from wecityctl.provider.instance import Instance, Target
from wecityctl.provider.waiting import timeout_of


async def delete(
    provider: Instance,
    target: Target,
    identifier: str,
    state: dict[str, Any],
    inputs: dict[str, Any],
    *,
    seconds: float,
) -> None:
    """Delete the object with that id. One that is gone, or is not ours any more, is success."""
    kind = target.kind(states.live_of(state))
    namespace, name = states.split_id(identifier)
    try:
        rt = await provider.client.resource(kind.api_version, kind.name)
    except KindNotFound:
        return  # without its definition no custom resource is left
    place = (namespace or provider.default_namespace) if rt.namespaced else None
    policy = propagation(inputs, kind.name)
    uid = await provider.cancellation.run(
        _ask(provider, target, rt, name, place, policy, states.uid_of(state), states.FIELD_MANAGER in state, state),
        grace=GRACE,
    )
    if not uid or is_true(inputs, SKIP_AWAIT):
        return
    waiter = wait_deleted(
        provider.client,
        rt,
        name,
        place,
        uid,
        timeout=timeout_of(inputs, seconds),
        report=lambda reason: provider.log.status(target.urn, reason),
    )
    try:
        await provider.cancellation.run(waiter)
    except NotReady as error:
        raise DeploymentError(
            f"{kind.name} {identifier} is being deleted, but is still there",
            details="\n".join((error.message, *error.reasons)),
        ) from error


async def _ask(
    provider: Instance,
    target: Target,
    rt: ResourceType,
    name: str,
    place: str | None,
    policy: Propagation,
    uid: str,
    managed: bool,
    state: dict[str, Any],
) -> str:
    # The uid of what is being deleted; empty when there is nothing (left) of ours.
    client = provider.client
    try:
        try:
            answer = await client.delete(rt, name, place, propagation=policy, uid=uid or None)
        except Conflict:
            live = await client.get(rt, name, place)
            if not managed or not _managed_by(live, str(state[states.FIELD_MANAGER])):
                provider.log.warning(
                    target.urn,
                    f"{states.describe(live)} was left alone: somebody else has made it anew since we made ours",
                )
                return ""
            # Ours all the same: made again by a run that could not write it down.
            uid = states.uid_of(live)
            answer = await client.delete(rt, name, place, propagation=policy, uid=uid)
        if gone_at_once(answer):
            return ""
        return states.uid_of(answer) or uid
    except NotFound:
        return ""


def _managed_by(live: dict[str, Any], manager: str) -> bool:
    entries = states.metadata_of(live).get("managedFields") or []
    return any(entry.get("manager") == manager for entry in entries if isinstance(entry, dict))
