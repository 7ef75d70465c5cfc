"""Finds out from the API server which changes need a replacement.

A change needs one if the update is invalid, while the same object under another name is valid and the recorded inputs
are still valid on the live object. Error texts are not parsed. If the object has drifted, there is no conclusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from wecityctl.errors import WecityError
from wecityctl.kube.errors import AlreadyExists, Invalid
from wecityctl.provider import state as states
from wecityctl.provider.adoption import UPDATE_MANAGERS
from wecityctl.provider.annotations import PATCH_FORCE, is_true
from wecityctl.provider.apply import Apply
from wecityctl.provider.diffing import Difference
from wecityctl.provider.ignoring import leave_ignored
from wecityctl.provider.instance import Instance, Target
from wecityctl.provider.official import was_created_officially
from wecityctl.provider.preview import as_new
from wecityctl.provider.properties import Unknown, contains
from wecityctl.provider.replacement import FULLY_KNOWN, touched, unless_mutable
from wecityctl.provider.waiting import DEFAULT_TIMEOUT


async def learn_forcing(
    provider: Instance,
    target: Target,
    inputs: dict[str, Any],
    recorded: dict[str, Any],
    state: dict[str, Any],
    differences: Sequence[Difference],
    ignored: Sequence[str] = (),
) -> list[Difference]:
    """The differences that need a replacement according to the API server. The update reports all other errors.

    `recorded` are the old inputs; `ignored` are the resource's `ignoreChanges` paths.
    """
    kind = target.kind(inputs)
    if (kind.group, kind.name) in FULLY_KNOWN or contains(inputs, Unknown):
        return []
    body = states.wire(inputs)
    if not states.name_of(body):
        return []
    try:
        manager = await provider.manager(target, inputs, state)
        force = is_true(inputs, PATCH_FORCE) or was_created_officially(state)
        how = provider.apply(target, manager, force=force, timeout=DEFAULT_TIMEOUT)
        body = await leave_ignored(provider, target, inputs, state, body, ignored)
        try:
            answer = await provider.cancellation.run(how.preview(body))
        except Invalid as refused:
            # If the object has drifted, a refusal may be due to the drift and not to this change. It proves nothing
            # then, and the update reports the error.
            before = _named(states.wire(recorded), body)
            before = await leave_ignored(provider, target, inputs, state, before, ignored)
            drifted = await _has_drifted(how, before, differences)
            if not drifted and await _valid_as_new(how, body):
                return unless_mutable(touched(differences, [field for field, _ in refused.causes]), kind)
            return []
        provider.memory.dry_runs[target.urn] = (body, answer)
    except WecityError:
        # Conflicts, missing permissions, an unreachable API server: the update itself reports these better.
        return []
    return []


async def _valid_as_new(how: Apply, body: dict[str, Any]) -> bool:
    try:
        await replace(how, force=False).preview(as_new(body))
    except AlreadyExists:
        return True
    except WecityError:
        return False
    return True


async def _has_drifted(how: Apply, recorded: dict[str, Any], differences: Sequence[Difference]) -> bool:
    # The object has drifted if its recorded inputs cannot be applied any more or others own fields of the change.
    try:
        live = await how.preview(recorded)
    except WecityError:
        return True
    others = [
        entry.get("fieldsV1") or {}
        for entry in states.metadata_of(live).get("managedFields") or []
        if entry.get("manager") not in (how.manager, *UPDATE_MANAGERS) and not entry.get("subresource")
    ]
    return any(_touches(fields, difference.path[:2]) for fields in others for difference in differences)


def _touches(fields: dict[str, Any], path: Sequence[str | int]) -> bool:
    for step in path:
        found = fields.get(f"f:{step}")
        if found is None:
            return False
        if not found:
            return True
        fields = found
    return True


def _named(body: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    # Recorded inputs may lack a generated name, or the namespace if it is the default one.
    metadata = {**states.metadata_of(body), "name": states.name_of(like)}
    if states.namespace_of(like):
        metadata["namespace"] = states.namespace_of(like)
    return {**body, "metadata": metadata}
