"""Answers the engine's Diff: what changes, which changes need a replacement, and whether that deletes first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from wecityctl.errors import WecityError
from wecityctl.kube.readiness import assess
from wecityctl.provider import state as states
from wecityctl.provider.adoption import RefusedError
from wecityctl.provider.annotations import AUTONAMED, REPLACE_UNREADY, is_true
from wecityctl.provider.diffing import Difference, compare, needs_schema, without_ignored
from wecityctl.provider.instance import Instance, Target
from wecityctl.provider.replacement import forcing, holds_data, immutable
from wecityctl.provider.replacement_probe import learn_forcing
from wecityctl.provider.settings import REPLACE_DATA
from wecityctl.provider.zeros import without_zeros


@dataclass(frozen=True, slots=True)
class ResourceDiff:
    """The changed properties, and those of them that force a replacement."""

    differences: tuple[Difference, ...] = ()
    replaces: frozenset[str] = field(default_factory=frozenset)
    delete_before_replace: bool = False


async def diff(
    provider: Instance,
    target: Target,
    old_inputs: dict[str, Any],
    state: dict[str, Any],
    new_inputs: dict[str, Any],
    ignored: Sequence[str],
) -> ResourceDiff:
    """Compare old with new inputs. Makes no request if they are equal; a refresh reads the cluster."""
    provider.memory.replacing.discard(target.urn)
    old, new = _aligned(states.wire(old_inputs or states.inputs_of(state)), states.wire(new_inputs), state)
    # The official plug-in does not record zero values where the Go types omit them.
    old, new = without_zeros(old, new)
    differences = without_ignored(await _compared(provider, old, new), ignored)
    forced: frozenset[str] = frozenset()
    if differences:
        kind = target.kind(new)
        forcing_ones = forcing(differences, immutable(kind, provider.settings, old), kind)
        if not forcing_ones:
            forcing_ones = await learn_forcing(provider, target, new_inputs, old, state, differences, ignored)
        forced = frozenset(d.text for d in forcing_ones)
    if is_true(new_inputs, REPLACE_UNREADY) and await _unready(provider, target, state):
        path = Difference(("metadata", "annotations", REPLACE_UNREADY), "update")
        differences = [d for d in differences if d.path != path.path] + [path]
        forced |= {path.text}
    first = deletes_first(provider, target, old, new, state)
    if forced and _keeps_name(old, new, state):
        if not first:
            raise _refusal(states.describe(new), forced)
        provider.memory.replacing.add(target.urn)
    return ResourceDiff(tuple(differences), forced, first)


def deletes_first(
    provider: Instance, target: Target, old: dict[str, Any], new: dict[str, Any], state: dict[str, Any]
) -> bool:
    """Whether a replacement, whoever requested it, must delete the old object before it creates the new one.

    It must if both have the same fixed name. An object that holds data is not deleted unless that was confirmed: a
    replacement that the engine was told to make (`--replace`, `replaceOnChanges`) then adopts the existing object.
    """
    if is_true(new, AUTONAMED) or not _keeps_name(old, new, state):
        return False
    return provider.settings.replace_data or not holds_data(target.kind(new), new, states.live_of(state))


def _keeps_name(old: dict[str, Any], new: dict[str, Any], state: dict[str, Any]) -> bool:
    same_name = states.name_of(new) == (states.name_of(old) or states.name_of(state))
    return not is_true(new, AUTONAMED) and same_name and states.namespace_of(new) == states.namespace_of(old)


def _refusal(what: str, forced: Iterable[str]) -> RefusedError:
    return RefusedError(
        f"{what} would have to be replaced, and all that it holds would be deleted with it",
        details="cannot be changed: " + ", ".join(sorted(forced)),
        resolution="undo that change; or make a new object under another name and move what the old one holds; or, "
        "where the object was made anew by hand, import it. To replace it all the same, and lose what it holds: with "
        f"wecityctl add --confirm, with plain pulumi set {REPLACE_DATA}=true and lift its protection",
    )


async def _compared(provider: Instance, old: dict[str, Any], new: dict[str, Any]) -> list[Difference]:
    found = compare(old, new)
    if not found or not needs_schema(old, new):
        return found
    return compare(old, new, await provider.schema(new))


def _aligned(old: dict[str, Any], new: dict[str, Any], state: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    # One side may omit the namespace because it is the default, or name one although the kind has none.
    live = states.namespace_of(state)
    recorded = bool(states.uid_of(state))
    if recorded and not live:
        return _without_namespace(old), _without_namespace(new)
    if live and not states.namespace_of(old) and states.namespace_of(new):
        metadata = old.get("metadata") if isinstance(old.get("metadata"), dict) else {}
        old = {**old, "metadata": {**(metadata or {}), "namespace": live}}
    return old, new


def _without_namespace(obj: dict[str, Any]) -> dict[str, Any]:
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or "namespace" not in metadata:
        return obj
    return {**obj, "metadata": {key: value for key, value in metadata.items() if key != "namespace"}}


async def _unready(provider: Instance, target: Target, state: dict[str, Any]) -> bool:
    recorded = states.live_of(state)
    if recorded.get("kind") != "Job":
        provider.log.warning(target.urn, f"{REPLACE_UNREADY} is for Jobs only")
        return False
    try:
        rt = await provider.client.resource(str(recorded["apiVersion"]), "Job")
        live = await provider.client.get(rt, states.name_of(recorded), states.namespace_of(recorded) or None)
    except WecityError:
        return False
    return assess(live).state != "ready"
