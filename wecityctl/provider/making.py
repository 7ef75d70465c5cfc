"""Create and update: apply, wait, and the outputs for the state; what was made is never lost.

How an object is applied is `apply`, what is waited for `waiting`, what a preview shows `preview`.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from wecityctl.kube.errors import NotFound
from wecityctl.provider import state as states
from wecityctl.provider.annotations import PATCH_FORCE, is_true
from wecityctl.provider.cancellation import GRACE
from wecityctl.provider.claims import require_free
from wecityctl.provider.ignoring import leave_ignored
from wecityctl.provider.instance import Instance, Target
from wecityctl.provider.waiting import PartialError, UnsettledError, settle, timeout_of

_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"  # the API server's own: no words come of it


@dataclass(frozen=True, slots=True)
class Made:
    """An object that is there and live."""

    identifier: str
    outputs: dict[str, Any]


async def create(provider: Instance, target: Target, inputs: dict[str, Any], *, seconds: float) -> Made:
    """Make the object (or own it, where a run that was killed has made it already) and wait until it is live."""
    body = states.wire(inputs)
    if not states.name_of(body):
        body = await _with_drawn_name(provider, body)
    await require_free(provider, body)
    return await _make(provider, target, inputs, None, body, seconds)


async def update(
    provider: Instance,
    target: Target,
    inputs: dict[str, Any],
    state: dict[str, Any],
    *,
    seconds: float,
    ignored: Sequence[str] = (),
) -> Made:
    """Bring the object to its new inputs; fields that have left them are dropped, as nobody else owns them.

    `ignored` are the resource's `ignoreChanges` paths: those stay as they are on the cluster.
    """
    provider.memory.dry_runs.pop(target.urn, None)
    body = states.wire(inputs)
    if not states.name_of(body):
        body = states.named(body, states.name_of(state))
    body = await leave_ignored(provider, target, inputs, state, body, ignored)
    return await _make(provider, target, inputs, state, body, seconds)


async def _make(
    provider: Instance,
    target: Target,
    inputs: dict[str, Any],
    state: dict[str, Any] | None,
    body: dict[str, Any],
    seconds: float,
) -> Made:
    seconds = timeout_of(inputs, seconds)
    manager = await provider.manager(target, inputs, state)
    version = states.initial_api_version(state, inputs)
    how = provider.apply(target, manager, force=is_true(inputs, PATCH_FORCE), timeout=seconds)
    live = await provider.cancellation.run(how.make(body), grace=GRACE)
    if state is not None and states.uid_of(state) and states.uid_of(live) != states.uid_of(state):
        provider.log.info(target.urn, f"{states.describe(live)} was gone from the cluster; it was made again")
    identifier = states.id_of(live)
    try:
        live = await settle(provider, target, live, inputs, seconds=seconds)
        await _release_former(provider, state, manager, body)
    except UnsettledError as error:
        outputs = states.build(error.live, inputs, initial_api_version=version, field_manager=manager)
        what = "was made" if state is None else "was changed"
        reasons = (f"{states.describe(live)} {what}, but is not ready: {error.reasons[0]}", *error.reasons[1:])
        raise PartialError(identifier, outputs, reasons) from error
    return Made(identifier, states.build(live, inputs, initial_api_version=version, field_manager=manager))


async def _with_drawn_name(provider: Instance, body: dict[str, Any]) -> dict[str, Any]:
    # metadata.generateName. The server would draw only on a plain create, which owns fields in another way than apply:
    # what later leaves the inputs would stay.
    rt = await provider.client.resource(body["apiVersion"], body["kind"])
    place = (states.namespace_of(body) or provider.default_namespace) if rt.namespaced else None
    while True:
        name = str(body.get("metadata", {}).get("generateName", "")) + "".join(
            secrets.choice(_LETTERS) for _ in range(5)
        )
        try:
            await provider.client.get(rt, name, place)
        except NotFound:
            return states.named(body, name)


async def _release_former(provider: Instance, state: dict[str, Any] | None, manager: str, body: dict[str, Any]) -> None:
    # The user has chosen another field manager: the former one gives up what it owned.
    former = (state or {}).get(states.FIELD_MANAGER)
    if not isinstance(former, str) or former == manager:
        return
    identity = {key: value for key, value in body["metadata"].items() if key in ("name", "namespace")}
    empty = {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": identity}
    await provider.client.apply(empty, field_manager=former)
