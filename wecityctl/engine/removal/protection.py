"""The vendors' own protection against deletion, and how a confirmed `destroy` lifts it.

A vendor refuses to delete what it protects, so the protection is taken off by an update of just those resources, the
targets of a run of the CLI before the one that deletes. Everything is read from the state: the stack may have left the
files. Nothing else lifts it: programs switch it on in every run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from wecityctl.engine.process.ipc import Lifted
from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.checkpoint import StackState, StateResource

# Inputs by which vendors protect a resource, and their values for it and for none.
_SWITCHES: Mapping[str, tuple[tuple[Any, Any], ...]] = {
    "deletionProtection": ((True, False), ("Enabled", "Disabled")),
    "deletionProtectionEnable": ((True, False),),
    "deleteProtect": ((True, False),),
    "deleteProtection": (("on", "off"),),
}


def lifted_of(backend: Backend, state: StackState) -> tuple[Lifted, ...]:
    """All that a stack has made, as it would be without its vendor's protection; nothing where none is protected.

    All of it, in the order of the state, because the engine takes what depends on a target and is not registered for
    something that is to be deleted with it.
    """
    if state.deployment is None:
        return ()
    raw = {str(item.get("urn")): item for item in state.deployment.get("resources") or ()}
    found: list[Lifted] = []
    for item in state.resources:
        known = raw.get(item.urn, {})
        if not item.custom or item.is_provider or known.get("external"):
            continue
        changed = _unprotected(item)
        inputs = backend.reveal(state.deployment, dict(item.inputs) if changed is None else changed)
        found.append(
            Lifted(
                item.urn,
                item.type,
                item.name,
                _without_marks(inputs),
                str(known.get("provider") or "").rpartition("::")[0].rpartition("::")[2],
                changed is not None,
                tuple(map(str, known.get("dependencies") or ())),
                {str(name): float(value) for name, value in (known.get("customTimeouts") or {}).items() if value},
                item.protect,
            )
        )
    return tuple(found) if any(item.protected for item in found) else ()


def vendor_providers(backend: Backend, state: StackState, names: Collection[str]) -> tuple[Mapping[str, Any], ...]:
    """The state's providers of these names, to be registered as they are."""
    found = []
    for item in state.resources:
        if item.is_provider and item.name in names and state.deployment is not None:
            inputs = _without_marks(backend.reveal(state.deployment, dict(item.inputs)))
            version = inputs.pop("version", "")
            package = item.type.rpartition(":")[2]
            found.append({"package": package, "name": item.name, "inputs": inputs, "version": version})
    return tuple(found)


def _unprotected(item: StateResource) -> dict[str, Any] | None:
    """The inputs of a resource without its vendor's protection; `None` where it has none."""
    off = {
        name: without
        for name, values in _SWITCHES.items()
        for protected, without in values
        if item.inputs.get(name) == protected and type(item.inputs.get(name)) is type(protected)
    }
    return {**item.inputs, **off} if off else None


def _without_marks(value: Any) -> Any:
    """Inputs without the notes that plug-ins leave beside them, such as which are defaults."""
    if isinstance(value, Mapping):
        return {key: _without_marks(item) for key, item in value.items() if not str(key).startswith("__")}
    return [_without_marks(item) for item in value] if isinstance(value, list) else value
