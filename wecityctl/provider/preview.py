"""Computes the outputs of a create or update: by a dry run on the API server, otherwise from the inputs.

Reports why a dry run was not possible. Changes nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from wecityctl.errors import AuthenticationError, ConfigurationError, WecityError
from wecityctl.kube.errors import BadRequest, Forbidden, KindNotFound, NotFound, Unreachable
from wecityctl.provider import state as states
from wecityctl.provider.adoption import RefusedError, pulumi_managers
from wecityctl.provider.annotations import PATCH_FORCE, is_true
from wecityctl.provider.apply import ApplyConflictError, is_going
from wecityctl.provider.clientside import was_applied_by_kubectl
from wecityctl.provider.connection import unreachable
from wecityctl.provider.existing import is_taken_over, preview_own
from wecityctl.provider.ignoring import leave_ignored
from wecityctl.provider.instance import Instance, Target
from wecityctl.provider.jobs import has_ended
from wecityctl.provider.official import was_created_officially
from wecityctl.provider.properties import UNKNOWN, Unknown, contains, plain
from wecityctl.provider.waiting import DEFAULT_TIMEOUT

# The server generates these on every create, so a dry run returns values that will not be the real ones.
_DRAWN: Final = ("uid", "resourceVersion", "creationTimestamp")
_ALLOCATED: Final = ("clusterIP", "clusterIPs", "healthCheckNodePort")
_LONGEST_NAME: Final = 50


async def preview_create(provider: Instance, target: Target, inputs: dict[str, Any]) -> dict[str, Any]:
    """The outputs that a create would have, as far as they can be known.

    Raises `RefusedError` if the create would be refused because the object exists and belongs to somebody else.
    """
    existing: dict[str, Any] = {}
    # The old object is deleted before the new one is created. A dry run under its name would find the old one.
    replaced = target.urn in provider.memory.replacing
    if not replaced and _is_named(inputs) and _can_be_asked(provider, target, inputs):
        # The object is looked up even if other values are not known yet.
        identity = states.wire({key: inputs[key] for key in ("apiVersion", "kind", "metadata") if key in inputs})
        found = await _asked(provider, target, inputs, lambda: preview_own(provider, target, identity))
        existing = found or {}
        if is_going(existing) or await has_ended(provider, target, existing):
            existing, replaced = {}, True
    body = _prepared(provider, target, inputs)
    if body is None:
        return inputs
    drawn = replaced or not states.name_of(body)
    manager = next(reversed(pulumi_managers(existing)), "")
    live = await _dry_run(provider, target, inputs, None, as_new(body) if drawn else body, manager)
    if live is None:
        return inputs
    if drawn:
        live = states.named(live, states.name_of(body))
    if existing:
        live.pop("status", None)
    else:
        live = _undrawn(live, body)
    return _outputs(live, inputs, manager or await provider.manager(target, inputs, None))


async def preview_update(
    provider: Instance, target: Target, inputs: dict[str, Any], state: dict[str, Any], ignored: Sequence[str] = ()
) -> dict[str, Any]:
    """The outputs of an update; `ignored` are the resource's `ignoreChanges` paths."""
    body = _prepared(provider, target, inputs)
    if body is None:
        return inputs
    if not states.name_of(body):
        body = states.named(body, states.name_of(state))
    try:
        body = await leave_ignored(provider, target, inputs, state, body, ignored)
    except WecityError as error:
        if not unreachable(error) or provider.cancellation.thrown:
            raise
    sent, answer = provider.memory.dry_runs.pop(target.urn, (None, None))
    live = copy.deepcopy(answer) if sent == body and answer is not None else None
    if live is None:
        live = await _dry_run(provider, target, inputs, state, body)
    if live is None:
        return inputs
    if states.uid_of(live) != states.uid_of(state):
        provider.log.info(target.urn, f"{states.describe(live)} is gone from the cluster; it will be made again")
        live = _undrawn(live, body)
    live.pop("status", None)
    version = states.initial_api_version(state, inputs)
    return states.build(
        live, inputs, initial_api_version=version, field_manager=await provider.manager(target, inputs, state)
    )


def as_new(body: dict[str, Any]) -> dict[str, Any]:
    """The object under an unused name, to learn whether the API server accepts it independently of the existing one.

    Ports and addresses that an existing Service still holds are omitted.
    """
    new = states.named(body, f"{states.name_of(body)[:_LONGEST_NAME] or 'generated'}-preview")
    spec = new.get("spec")
    if _is_service(new) and isinstance(spec, dict):
        free = {k: v for k, v in spec.items() if k not in _ALLOCATED or v in ("None", ["None"])}
        if isinstance(spec.get("ports"), list):
            free["ports"] = [{k: v for k, v in port.items() if k != "nodePort"} for port in spec["ports"]]
        new["spec"] = free
    return new


def _is_named(inputs: dict[str, Any]) -> bool:
    metadata = plain(inputs.get("metadata"))
    named = isinstance(metadata, dict) and bool(states.name_of(inputs))
    return named and not isinstance(metadata.get("namespace"), Unknown)


def _can_be_asked(provider: Instance, target: Target, inputs: dict[str, Any]) -> bool:
    memory, kind = provider.memory, target.kind(inputs)
    if memory.unreachable or (kind.api_version, kind.name) in memory.missing_kinds:
        return False
    return states.namespace_of(inputs) not in memory.missing_namespaces


def _prepared(provider: Instance, target: Target, inputs: dict[str, Any]) -> dict[str, Any] | None:
    # Returns None if the API server need not be asked, for a reason that is known beforehand.
    if contains(inputs, Unknown) or not _can_be_asked(provider, target, inputs):
        return None
    return states.wire(inputs)


async def _dry_run(
    provider: Instance,
    target: Target,
    inputs: dict[str, Any],
    state: dict[str, Any] | None,
    body: dict[str, Any],
    manager: str = "",
) -> dict[str, Any] | None:
    async def ask() -> dict[str, Any]:
        name = manager or await provider.manager(target, inputs, state)
        # The update takes over what the official plug-in created before it applies.
        force = (
            is_true(inputs, PATCH_FORCE)
            or provider.settings.take_over
            or was_created_officially(state or {})
            or was_applied_by_kubectl(state or {}, name)
        )
        how = provider.apply(target, name, force=force, timeout=DEFAULT_TIMEOUT)
        try:
            return await provider.cancellation.run(how.preview(body))
        except ApplyConflictError as error:
            # An object that is to be adopted is not in the state yet.
            if state is not None or not is_taken_over(provider, body, error):
                raise
            return await provider.cancellation.run(replace(how, force=True).preview(body))

    return await _asked(provider, target, inputs, ask)


async def _asked(
    provider: Instance,
    target: Target,
    inputs: dict[str, Any],
    question: Callable[[], Awaitable[dict[str, Any]]],
) -> dict[str, Any] | None:
    # The API server's answer; None if there is none, after reporting the reason.
    try:
        return await question()
    except (KindNotFound, NotFound, Forbidden, BadRequest) as error:
        if not _explained(provider, target, inputs, error):
            raise
    except RefusedError:
        raise
    except WecityError as error:
        if not unreachable(error) or provider.cancellation.thrown or not _is_about_the_way(error):
            raise
        provider.memory.unreachable = error.message
        provider.log.once(f"previewed without the API server, which cannot be used: {error.message}", target.urn)
    return None


def _explained(provider: Instance, target: Target, inputs: dict[str, Any], error: WecityError) -> bool:
    memory, kind = provider.memory, target.kind(inputs)
    why = "the server refuses a dry run: " + error.message
    if isinstance(error, BadRequest) and "dry run" not in error.message and "dryRun" not in error.message:
        return False
    if isinstance(error, KindNotFound) or (isinstance(error, NotFound) and error.kind != "namespaces"):
        memory.missing_kinds.add((kind.api_version, kind.name))
        why = f"the cluster does not serve {kind.name} in {kind.api_version} yet"
    elif isinstance(error, NotFound):
        memory.missing_namespaces.add(error.name)
        why = f"namespace {error.name} does not exist yet"
    provider.log.once(f"previewed without the API server: {why}", target.urn)
    return True


def _is_about_the_way(error: WecityError) -> bool:
    return isinstance(error, Unreachable | ConfigurationError | AuthenticationError)


def _outputs(live: dict[str, Any], inputs: dict[str, Any], manager: str) -> dict[str, Any]:
    version = states.initial_api_version(None, inputs)
    return states.build(live, inputs, initial_api_version=version, field_manager=manager)


def _undrawn(live: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    # Values that the server generates are unknown until the real create.
    result = {key: value for key, value in live.items() if key != "status"}
    metadata = {key: value for key, value in live.get("metadata", {}).items() if key != "managedFields"}
    result["metadata"] = {**metadata, **dict.fromkeys(_DRAWN, UNKNOWN)}
    if not states.name_of(body):
        result["metadata"]["name"] = UNKNOWN
    if _is_service(live):
        result["spec"] = _service_undrawn(dict(live.get("spec", {})), body.get("spec", {}))
    return result


def _is_service(obj: dict[str, Any]) -> bool:
    return obj.get("kind") == "Service" and obj.get("apiVersion") == "v1"


def _service_undrawn(spec: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    for name in _ALLOCATED:
        if name in asked:
            spec[name] = asked[name]
        elif name in spec and spec[name] not in ("None", ["None"]):
            spec[name] = UNKNOWN
    wishes = {(p.get("port"), p.get("protocol", "TCP")): p for p in asked.get("ports", []) if isinstance(p, dict)}
    spec["ports"] = [
        {**port, "nodePort": wishes.get((port.get("port"), port.get("protocol")), {}).get("nodePort", UNKNOWN)}
        if "nodePort" in port
        else port
        for port in spec.get("ports", [])
    ]
    return spec
