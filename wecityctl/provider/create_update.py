"""Create and update: apply the object, wait until it is ready, and build the outputs that the state records.

An object that was created is always recorded, even if a later step fails. Applying is in `apply`, existing objects are
handled by `existing`, and waiting is in `waiting`.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from wecityctl.kube.errors import Invalid, NotFound
from wecityctl.provider import jobs
from wecityctl.provider import state as states
from wecityctl.provider.adoption import pulumi_managers
from wecityctl.provider.annotations import PATCH_FIELD_MANAGER, PATCH_FORCE, annotation, is_true
from wecityctl.provider.apply import ApplyConflictError
from wecityctl.provider.cancellation import GRACE
from wecityctl.provider.clientside import take_over_application, was_applied_by_kubectl
from wecityctl.provider.existing import find_own, is_in_new_namespace, release, require_made, require_same, take_over
from wecityctl.provider.fieldmanager import successor
from wecityctl.provider.ignoring import leave_ignored
from wecityctl.provider.instance import Instance, Target
from wecityctl.provider.official import take_over_creation, was_created_officially
from wecityctl.provider.pull_secrets import require_unread
from wecityctl.provider.waiting import PartialError, UnsettledError, settle, timeout_of

# The alphabet of the API server's generated names: it forms no words. A name that would be too long is truncated.
_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"
_DRAWN_LETTERS: Final = 5
_LONGEST_NAME: Final = 63


@dataclass(frozen=True, slots=True)
class Made:
    """An object that exists and is ready."""

    identifier: str
    outputs: dict[str, Any]


async def create(provider: Instance, target: Target, inputs: dict[str, Any], *, seconds: float) -> Made:
    """Create the object, or adopt an existing one that belongs to this resource, and wait until it is ready.

    A Job that has ended is not adopted, but made again. Raises `RefusedError` if an object of that name belongs to
    somebody else, which is left untouched, or if a pull secret would be read by workloads.
    """
    seconds = timeout_of(inputs, seconds)
    body = states.wire(inputs)
    if not states.name_of(body):
        body = await _with_drawn_name(provider, body)
    is_forced = provider.settings.patch_force or is_true(inputs, PATCH_FORCE)
    # With force, an apply would overwrite what somebody else has created there in the meantime.
    is_new_place = not is_forced and is_in_new_namespace(provider, body)
    await require_unread(provider, body)
    await jobs.delete_earlier(provider, target, body, seconds=seconds)
    existing = {} if is_new_place else await find_own(provider, target, body, seconds=seconds)
    wish = annotation(inputs, PATCH_FIELD_MANAGER)
    manager = wish or successor(await provider.derived_managers(target), pulumi_managers(existing))
    how = provider.apply(target, manager, force=is_forced, timeout=seconds)
    if existing:
        live = await take_over(provider, target, existing, body, how)
    else:
        try:
            live = await provider.cancellation.run(how.make(body), grace=GRACE)
        except (ApplyConflictError, Invalid):
            if is_new_place:
                # Somebody else's object may exist by now. Then that is the error to report.
                await find_own(provider, target, body, seconds=seconds)
            raise
        await require_made(provider, target, body, live, manager)
        if (body["apiVersion"], body["kind"]) == ("v1", "Namespace"):
            provider.memory.made_namespaces.add(states.name_of(live))
    provider.memory.made.add(states.uid_of(live))
    return await _settled(provider, target, live, inputs, None, manager, seconds)


async def update(
    provider: Instance,
    target: Target,
    inputs: dict[str, Any],
    state: dict[str, Any],
    *,
    seconds: float,
    ignored: Sequence[str] = (),
) -> Made:
    """Bring the object to its new inputs.

    Fields that were removed from the inputs are removed from the object if nobody else owns them. `ignored` are the
    resource's `ignoreChanges` paths; those properties stay as they are on the cluster. `seconds` is the timeout.
    """
    provider.memory.dry_runs.pop(target.urn, None)
    seconds = timeout_of(inputs, seconds)
    body = states.wire(inputs)
    if not states.name_of(body):
        body = states.named(body, states.name_of(state))
    await require_unread(provider, body)
    manager = await provider.manager(target, inputs, state)
    how = provider.apply(target, manager, force=is_true(inputs, PATCH_FORCE), timeout=seconds)
    if was_created_officially(state):
        with suppress(NotFound):
            await provider.cancellation.run(take_over_creation(provider.client, states.live_of(state), manager))
    body = await leave_ignored(provider, target, inputs, state, body, ignored)
    if was_applied_by_kubectl(state, manager):
        # Field ownership is not changed for an update that the API server would reject.
        await provider.cancellation.run(replace(how, force=True).preview(body))
        stated = states.wire(states.inputs_of(state))
        with suppress(NotFound):
            live = states.live_of(state)
            await provider.cancellation.run(take_over_application(provider.client, live, stated, manager))
    if not await require_same(provider, target, body, state, seconds=seconds):
        await jobs.delete_earlier(provider, target, body, seconds=seconds)
    try:
        live = await provider.cancellation.run(how.make(body), grace=GRACE)
    except ApplyConflictError as error:
        others = set(error.managers)
        if len(others) != 1 or not others <= set(await provider.derived_managers(target)):
            raise
        # The object was adopted since this (older) state was written: this resource owns it under its other manager.
        manager = others.pop()
        live = await provider.cancellation.run(how.under(manager).make(body), grace=GRACE)
    if states.uid_of(state) and states.uid_of(live) != states.uid_of(state):
        provider.log.info(target.urn, f"{states.describe(live)} was gone from the cluster; it was made again")
    former = state.get(states.FIELD_MANAGER)
    if isinstance(former, str) and former != manager:
        live = await release(provider, live, former)
    return await _settled(provider, target, live, inputs, state, manager, seconds)


async def _settled(
    provider: Instance,
    target: Target,
    live: dict[str, Any],
    inputs: dict[str, Any],
    state: dict[str, Any] | None,
    manager: str,
    seconds: float,
) -> Made:
    identifier, version = states.id_of(live), states.initial_api_version(state, inputs)
    try:
        live = await settle(provider, target, live, inputs, seconds=seconds)
    except UnsettledError as error:
        outputs = states.build(error.live, inputs, initial_api_version=version, field_manager=manager)
        what = "was made" if state is None else "was changed"
        reasons = (f"{states.describe(live)} {what}, but is not ready: {error.reasons[0]}", *error.reasons[1:])
        raise PartialError(identifier, outputs, reasons) from error
    return Made(identifier, states.build(live, inputs, initial_api_version=version, field_manager=manager))


async def _with_drawn_name(provider: Instance, body: dict[str, Any]) -> dict[str, Any]:
    # metadata.generateName. The server generates names only on a plain create. That owns fields as "Update" rather than
    # "Apply", and fields that are later removed from the inputs would stay.
    rt = await provider.client.resource(body["apiVersion"], body["kind"])
    place = (states.namespace_of(body) or provider.default_namespace) if rt.namespaced else None
    base = str(states.metadata_of(body).get("generateName") or "")[: _LONGEST_NAME - _DRAWN_LETTERS]
    while True:
        name = base + "".join(secrets.choice(_LETTERS) for _ in range(_DRAWN_LETTERS))
        try:
            await provider.client.get(rt, name, place)
        except NotFound:
            return states.named(body, name)
