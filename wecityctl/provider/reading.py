"""Read: refresh of a resource in the state, and import of an object that is not in it yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wecityctl.errors import WecityError
from wecityctl.kube.errors import KindNotFound, NotFound
from wecityctl.kube.readiness import assess, wait_plan
from wecityctl.provider import state as states
from wecityctl.provider.connection import unreachable
from wecityctl.provider.drift import refreshed_inputs
from wecityctl.provider.equality import same
from wecityctl.provider.instance import Instance, Target
from wecityctl.provider.ownership import imported_inputs
from wecityctl.provider.properties import mark_secrets, plain
from wecityctl.provider.waiting import PartialError


@dataclass(frozen=True, slots=True)
class Found:
    """What was read; an empty identifier means that the object does not exist."""

    identifier: str = ""
    outputs: dict[str, Any] | None = None
    inputs: dict[str, Any] | None = None


async def read(
    provider: Instance, target: Target, identifier: str, inputs: dict[str, Any], state: dict[str, Any]
) -> Found:
    """Read the object with that id. `inputs` and `state` are what the state records of it; both are empty on import."""
    try:
        live = await _live(provider, target, identifier, inputs, state)
    except WecityError as error:
        if not unreachable(error) or provider.cancellation.thrown:
            raise
        return _out_of_reach(provider, target, error, Found(identifier, state, inputs))
    if live is None:
        return Found()
    known = inputs or states.inputs_of(state)
    manager = await provider.manager(target, known, state)
    if _has_content(known):
        taken = mark_secrets(await _refreshed(provider, known, live, states.live_of(state)), known)
    else:
        taken = mark_secrets(imported_inputs(live, manager), None)
    version = states.initial_api_version(state, taken)
    outputs = states.build(live, taken, initial_api_version=version, field_manager=manager)
    if _has_content(known) and not wait_plan(plain(known)).skip:
        readiness = assess(live)
        if readiness.state == "failed":
            reason = f"{states.describe(live)} has failed: {readiness.reason}"
            raise PartialError(identifier, outputs, (reason,), inputs=taken)
    return Found(identifier, outputs, taken)


async def _live(
    provider: Instance, target: Target, identifier: str, inputs: dict[str, Any], state: dict[str, Any]
) -> dict[str, Any] | None:
    kind = target.kind(states.wire(inputs) or states.live_of(state))
    namespace, name = states.split_id(identifier)
    try:
        rt = await provider.client.resource(kind.api_version, kind.name)
        place = (namespace or provider.default_namespace) if rt.namespaced else None
        return await provider.cancellation.run(provider.client.get(rt, name, place))
    except (KindNotFound, NotFound):
        return None


async def _refreshed(
    provider: Instance, known: dict[str, Any], live: dict[str, Any], recorded: dict[str, Any]
) -> dict[str, Any]:
    found = refreshed_inputs(known, live, recorded)
    if same(found, plain(known)):
        return found
    return refreshed_inputs(known, live, recorded, await provider.schema(live))


def _has_content(inputs: dict[str, Any]) -> bool:
    return bool(inputs.keys() - {"apiVersion", "kind", "metadata"}) or bool(states.name_of(inputs))


def _out_of_reach(provider: Instance, target: Target, error: WecityError, recorded: Found) -> Found:
    if provider.settings.delete_unreachable:
        provider.log.warning(target.urn, f"dropped from the state, as deleteUnreachable says: {error.message}")
        return Found()
    if provider.settings.skip_update_unreachable and recorded.outputs:
        provider.log.warning(target.urn, f"kept as recorded, as skipUpdateUnreachable says: {error.message}")
        return recorded
    raise error
