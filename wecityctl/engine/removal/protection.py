"""Lifts the vendors' own deletion protection for a confirmed `destroy`.

A vendor refuses to delete protected resources. A separate run of the CLI, before the one that deletes, updates just
those resources without the protection. Everything is read from the state, because the stack may have been removed from
the configuration. Nothing else lifts the protection: programs set it in every run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from wecityctl.engine.process.ipc import Lifted
from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.checkpoint import StackState, StateResource

# Inputs with which vendors protect a resource, and pairs of their values (protected, unprotected).
_SWITCHES: Mapping[str, tuple[tuple[Any, Any], ...]] = {
    "deletionProtection": ((True, False), ("Enabled", "Disabled")),
    "deletionProtectionEnable": ((True, False),),
    "deleteProtect": ((True, False),),
    "deleteProtection": (("on", "off"),),
}


def lifted_of(backend: Backend, state: StackState) -> tuple[Lifted, ...]:
    """Return all resources of a stack as they would be without protection; empty if none is protected.

    All of them are returned, in the order of the state, because the engine would delete dependants of a target that are
    not registered.
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
    """Return the providers of the state with these names, to be registered unchanged."""
    found = []
    for item in state.resources:
        if item.is_provider and item.name in names and state.deployment is not None:
            inputs = _without_marks(backend.reveal(state.deployment, dict(item.inputs)))
            version = inputs.pop("version", "")
            package = item.type.rpartition(":")[2]
            found.append({"package": package, "name": item.name, "inputs": inputs, "version": version})
    return tuple(found)


def _unprotected(item: StateResource) -> dict[str, Any] | None:
    """Return the inputs of a resource without the protection; `None` if it is not protected."""
    off = {
        name: without
        for name, values in _SWITCHES.items()
        for protected, without in values
        if item.inputs.get(name) == protected and type(item.inputs.get(name)) is type(protected)
    }
    return {**item.inputs, **off} if off else None


def _without_marks(value: Any) -> Any:
    """Remove the internal `__` fields that plug-ins add to inputs, such as the list of defaults."""
    if isinstance(value, Mapping):
        return {key: _without_marks(item) for key, item in value.items() if not str(key).startswith("__")}
    return [_without_marks(item) for item in value] if isinstance(value, list) else value
