"""Judges the stacks of a city: the state of each, from its record, its last run and what was found on the clusters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from wecityctl.errors import ExitCode
from wecityctl.model.city import City
from wecityctl.model.events import KeptObject
from wecityctl.model.findings import Drift, Finding
from wecityctl.model.stacknames import StackName
from wecityctl.model.times import rfc3339
from wecityctl.model.waivers import holds
from wecityctl.model.words import counted
from wecityctl.operations.status.values import Away, StackState, StackStatus, WorkloadStatus

if TYPE_CHECKING:
    from wecityctl.engine.state.backend import Backend
    from wecityctl.engine.state.checkpoint import StackState as EngineState
    from wecityctl.plan import Plan

# The engine writes its last state shortly after it records the end of the update, in whole seconds.
_WRITTEN_LATE = 5.0
_COMMANDS = {"update": "up"}
# The states of stacks that have no resources.
_ABSENT: tuple[StackState, ...] = ("never-made", "taken-down", "kept")
_REPORTED: tuple[Drift, ...] = ("addition",)


def stack_statuses(
    plan: Plan,
    backend: Backend,
    away: Away,
    found: Sequence[Finding] = (),
    kept: Mapping[str, tuple[KeptObject, ...]] = {},
) -> tuple[StackStatus, ...]:
    """Return the status of every stack of the plan, and of stacks that exist or have retained data but were removed
    from the configuration.

    `found` has the differences between clusters and states, `kept` the objects retained by earlier runs, by stack.
    Clouds in `away` were not examined.
    """
    from wecityctl.engine.state import activity

    taken_down = activity.taken_down(activity.read(backend))
    planned = {stack.name: stack for stack in plan.stacks}
    names = list(dict.fromkeys([*planned, *backend.list_stacks(), *kept]))
    by_stack: dict[str, tuple[Finding, ...]] = {}
    for item in found:
        by_stack[item.stack] = (*by_stack.get(item.stack, ()), item)
    return tuple(
        _stack_status(plan, backend, name, away, by_stack.get(name, ()), kept.get(name, ()), taken_down.get(name, 0.0))
        for name in names
    )


def _stack_status(
    plan: Plan,
    backend: Backend,
    name: str,
    away: Away,
    drift: tuple[Finding, ...],
    kept: tuple[KeptObject, ...],
    taken_down: float,
) -> StackStatus:
    from wecityctl.engine.context.secret_store import needed

    stack = next((item for item in plan.stacks if item.name == name), None)
    layer = stack.layer if stack else StackName.parse(name).layer
    cloud = stack.cloud if stack and stack.layer != "landing" else ""
    known = StackStatus(name, layer, 0, "", planned=stack is not None, cloud=cloud, drift=drift)
    state = backend.read_state(name)
    if state is None or not state.last_update:
        last_run, last_result = _last(backend, name) if state is not None else ("", "")
        known = replace(known, last_run=last_run, last_result=last_result, kept=kept)
        is_needed = layer != "secrets" or bool(needed(plan))
        judged, reason = _without_resources(known, taken_down, away, is_needed=is_needed)
        return replace(known, state=judged, reason=reason)
    objects = [item for item in state.resources if item.custom and not item.is_provider]
    update = backend.last_update(name) or {}
    known = replace(
        known,
        resources=len(objects),
        last_update=state.last_update,
        pending=len(state.pending),
        errors=tuple(error for item in objects for error in item.init_errors),
        last_run=_command(update),
        last_result=str(update.get("result") or ""),
    )
    ended = float(update.get("endTime") or 0)
    troubles = (*_troubles(known, ended, away), *(_ended_waivers(plan.city, state) if layer == "base" else ()))
    reason = "; ".join(text for _, text in troubles)
    return replace(known, state=troubles[0][0] if troubles else "ok", reason=reason)


def _without_resources(known: StackStatus, taken_down: float, away: Away, *, is_needed: bool) -> tuple[StackState, str]:
    """Return the state of a stack without resources, and why. `taken_down` is when it was destroyed, in seconds since
    1970; 0 if it was not. `is_needed`: the city needs it.
    """
    altered = _drifted(known.drift)
    if known.kept:
        reason = f"taken down, {counted(len(known.kept), 'object')} kept"
        return ("drifted", f"{reason}; {altered}") if altered else ("kept", reason)
    if is_needed and known.planned and known.last_result not in ("", "succeeded"):
        reason = f"its last `{known.last_run}` failed before it made anything"
        return "failed", f"{reason}; {altered}" if altered else reason
    if known.planned and altered:
        # Its state is lost, but the objects that it created exist.
        return "drifted", altered
    if not is_needed:
        return "ok", ""
    if known.planned and taken_down:
        when = rfc3339(taken_down)
        # What was kept is known only to the cluster.
        stopped = away.stopped.get(known.cloud, "")
        unknown = f"; kept objects unknown: {stopped}" if stopped else ""
        return "taken-down", f"made, and taken down at {when}{unknown}"
    return ("never-made" if known.planned else "not-in-files"), ""


def _command(update: Mapping[str, Any]) -> str:
    kind = str(update.get("kind") or "")
    return _COMMANDS.get(kind, kind)


def _last(backend: Backend, stack: str) -> tuple[str, str]:
    """Return the command and the result of a stack's last run; both empty if there is none."""
    last = backend.last_update(stack) or {}
    return _command(last), str(last.get("result") or "")


def _troubles(known: StackStatus, ended: float, away: Away) -> Iterator[tuple[StackState, str]]:
    """Yield the problems of an existing stack, worst first. `ended` is the end of its last run in
    seconds since 1970.
    """
    if not known.planned:
        yield "not-in-files", "no longer in the files"
    if known.pending:
        several = "s were" if known.pending > 1 else " was"
        yield "incomplete", f"interrupted: {known.pending} operation{several} under way"
    elif datetime.fromisoformat(known.last_update).timestamp() > ended + _WRITTEN_LATE:
        yield "incomplete", "interrupted: its last run did not come to an end"
    elif known.last_result != "succeeded":
        yield "failed", f"its last `{known.last_run}` failed" + (f": {known.errors[0]}" if known.errors else "")
    elif known.errors:
        yield "failed", f"not ready: {known.errors[0]}"
    if known.cloud in away.stopped:
        yield "cloud-stopped", away.stopped[known.cloud]
    elif known.cloud in away.unreachable:
        yield "cloud-unreachable", f"cloud {known.cloud}: {away.unreachable[known.cloud]}"
    elif known.cloud in away.forbidden:
        yield "cloud-forbidden", f"cloud {known.cloud}: {away.forbidden[known.cloud]}"
    if told := _drifted(known.drift):
        yield "drifted", told


def _ended_waivers(city: City, state: EngineState) -> Iterator[tuple[StackState, str]]:
    """Yield the expired waivers that the stack's admission policies, as of its last run, still apply."""
    from wecityctl.policy.admission import lets_pass, policy_name

    policies = [item.inputs for item in state.resources if item.type.endswith(":ValidatingAdmissionPolicy")]
    for waiver in city.waivers:
        if holds(waiver, date.today()):
            continue
        start = policy_name(city, waiver.rule)
        own = (item for item in policies if str((item.get("metadata") or {}).get("name")).startswith(start))
        if any(lets_pass(waiver, item) for item in own):
            text = f"waiver {waiver.name} ended on {waiver.expires}, and the cluster lets pass what it covers: run `up`"
            yield "drifted", text


def _drifted(drift: Iterable[Finding]) -> str:
    """Return how many objects drifted, as text; empty if none counts as a problem."""
    # Additions, and changes on admission, are reported but count as a problem only on security objects.
    wrong = [
        item
        for item in drift
        if item.what not in _REPORTED and not item.shared and (item.is_overruled or not item.admission)
    ]
    if wrong:
        deleting = sum(item.deleting for item in wrong)
        missing = sum(item.what == "missing" for item in wrong) - deleting
        lost = sum(bool(item.of_stack) for item in wrong)
        undeclared = sum(item.what == "undeclared" for item in wrong) - lost
        changed = len(wrong) - missing - deleting - undeclared - lost
        counts = (
            (missing, "missing"),
            (deleting, "being deleted"),
            (changed, "changed"),
            (undeclared, "undeclared"),
            (lost, "not in its state"),
        )
        told = " and ".join(f"{count} {word}" for count, word in counts if count)
        return f"{told} on the cluster"
    return ""


def exit_code(stacks: Sequence[StackStatus], workloads: Sequence[WorkloadStatus]) -> ExitCode:
    """Return 0 if everything is as the last run left it, 6 if nothing exists yet, 4 if anything is missing or wrong."""
    made = [item for item in stacks if item.layer != "secrets" and item.state not in _ABSENT]
    if not made:
        return ExitCode.NO_SUCH_STACK
    well = all(item.state in ("ok", "not-in-files") for item in stacks)
    return ExitCode.OK if well and all(item.state == "ready" for item in workloads) else ExitCode.DEPLOYMENT
