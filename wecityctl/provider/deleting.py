"""Delete: verify that the object belongs to the resource, delete it, and wait until it is gone.

A deletion that does not finish is reported with what blocks it.
"""

from __future__ import annotations

from typing import Any

from wecityctl.errors import DeploymentError, WecityError
from wecityctl.kube.client import Propagation
from wecityctl.kube.errors import Conflict, KindNotFound, NotFound
from wecityctl.kube.readiness import NotReady, wait_deleted
from wecityctl.kube.readiness.wait import gone_at_once
from wecityctl.kube.resource import ResourceType
from wecityctl.provider import state as states
from wecityctl.provider.adoption import applied_by, belongs_to_another, pulumi_managers
from wecityctl.provider.annotations import SKIP_AWAIT, is_true, propagation
from wecityctl.provider.cancellation import GRACE
from wecityctl.provider.connection import unreachable
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
    """Delete the object with that id. An object that is gone or belongs to somebody else by now counts as success."""
    kind = target.kind(states.live_of(state))
    namespace, name = states.split_id(identifier)
    try:
        rt = await provider.client.resource(kind.api_version, kind.name)
        place = (namespace or provider.default_namespace) if rt.namespaced else None
        asking = _ask(provider, target, rt, name, place, propagation(inputs, kind.name), state)
        uid = await provider.cancellation.run(asking, grace=GRACE)
    except KindNotFound:
        return  # without its definition, no custom resource exists any more
    except WecityError as error:
        if not unreachable(error) or provider.cancellation.thrown:
            raise
        _forget_unreachable(provider, target, error)
        return
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
    state: dict[str, Any],
) -> str:
    # The uid of the object that is being deleted; empty when this resource has none (any more).
    client = provider.client
    while True:
        try:
            live = await client.get(rt, name, place)
            if states.uid_of(state) != states.uid_of(live) in provider.memory.made:
                # Another resource of this run has made it under the same name: what the state had is gone.
                return ""
            whose = _left_alone(live, state)
            if whose:
                provider.log.warning(target.urn, f"{states.describe(live)} was left alone: {whose}")
                return ""
            answer = await client.delete(rt, name, place, propagation=policy, uid=states.uid_of(live))
        except NotFound:
            return ""
        except Conflict:
            continue  # recreated between the two requests
        return "" if gone_at_once(answer) else states.uid_of(answer) or states.uid_of(live)


def _left_alone(live: dict[str, Any], state: dict[str, Any]) -> str:
    # Why the object of that name is not the one in the state; empty when it is.
    recorded, manager = states.uid_of(state), state.get(states.FIELD_MANAGER)
    manager = manager if isinstance(manager, str) else ""
    if recorded and states.uid_of(live) != recorded:
        # It still belongs to this resource if a run recreated it and ended before it could record that.
        if manager not in applied_by(live):
            return "somebody else has made it anew since we made ours"
    elif manager and belongs_to_another(live, manager):
        return f"another resource owns it now, as {pulumi_managers(live)[-1]}"
    return ""


def _forget_unreachable(provider: Instance, target: Target, error: WecityError) -> None:
    if provider.settings.delete_unreachable:
        text = f"dropped from the state without being deleted, as deleteUnreachable says: {error.message}"
        provider.log.warning(target.urn, text)
        return
    raise DeploymentError(
        f"not deleted, because its cluster cannot be used: {error.message}",
        details=error.details,
        resolution=f"{error.resolution + '; ' if error.resolution else ''}if the cluster is gone for good, run again "
        "with PULUMI_K8S_DELETE_UNREACHABLE=true, which drops its resources from the state",
    ) from error
