"""Learns from the API server which changes it would refuse on the living object but allow on a new one.

No error text is read: an update that is invalid while the same object under another name is valid can only be made by
replacing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wecityctl.errors import WecityError
from wecityctl.kube.errors import AlreadyExists, Invalid
from wecityctl.provider import state as states
from wecityctl.provider.annotations import PATCH_FORCE, is_true
from wecityctl.provider.diffing import Difference
from wecityctl.provider.ignoring import leave_ignored
from wecityctl.provider.instance import Instance, Target
from wecityctl.provider.preview import as_new
from wecityctl.provider.properties import Unknown, contains
from wecityctl.provider.replacement import FULLY_KNOWN, touched, unless_mutable
from wecityctl.provider.waiting import DEFAULT_TIMEOUT


async def learn_forcing(
    provider: Instance,
    target: Target,
    inputs: dict[str, Any],
    state: dict[str, Any],
    differences: Sequence[Difference],
    ignored: Sequence[str] = (),
) -> list[Difference]:
    """Those differences that need a replacement by the API server's word. Its other objections are for the update."""
    kind = target.kind(inputs)
    if (kind.group, kind.name) in FULLY_KNOWN or contains(inputs, Unknown):
        return []
    body = states.wire(inputs)
    if not states.name_of(body):
        return []
    try:
        manager = await provider.manager(target, inputs, state)
        force = is_true(inputs, PATCH_FORCE)
        how = provider.apply(target, manager, force=force, timeout=DEFAULT_TIMEOUT)
        body = await leave_ignored(provider, target, inputs, state, body, ignored)
        try:
            answer = await provider.cancellation.run(how.preview(body))
        except Invalid as refused:
            if await _valid_as_new(provider, target, manager, body):
                return unless_mutable(touched(differences, [field for field, _ in refused.causes]), kind)
            return []
        provider.memory.dry_runs[target.urn] = (body, answer)
    except WecityError:
        # Conflicts, missing rights, an API server that is away: the update itself will tell, and tell it better.
        return []
    return []


async def _valid_as_new(provider: Instance, target: Target, manager: str, body: dict[str, Any]) -> bool:
    how = provider.apply(target, manager, force=False, timeout=DEFAULT_TIMEOUT)
    try:
        await provider.cancellation.run(how.preview(as_new(body)))
    except AlreadyExists:
        return True
    except WecityError:
        return False
    return True
