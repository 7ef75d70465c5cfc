"""Records a session's stacks without cloud, state or secrets, for `render`, the policy rules and an offline preview."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

from wecityctl.engine.process.event_log import is_shown
from wecityctl.engine.process.home import SDK_VERSION
from wecityctl.engine.process.outcome import describe
from wecityctl.engine.sdk.parallel import record_each
from wecityctl.engine.sdk.recorder import record
from wecityctl.engine.sdk.render import render
from wecityctl.engine.workers.forecast import creations
from wecityctl.errors import ExitCode, WecityError
from wecityctl.inputs import Cluster, StackInputs
from wecityctl.model.events import (
    Emit,
    PropertyChange,
    RunFinished,
    RunResult,
    RunStarted,
    StackFinished,
    StackResult,
    StackStarted,
)
from wecityctl.model.outputs import Outputs
from wecityctl.model.stacknames import LAYERS
from wecityctl.plan import Plan, Stack
from wecityctl.resource_graph import Recording
from wecityctl.session import Session

_SECRET = "redacted"  # noqa: S105 - what stands for each secret where none is asked for


class StandsOnError(WecityError):
    """A stack was not recorded because one of its dependencies was not."""


def record_session(session: Session, only: tuple[str, ...] = ()) -> tuple[Recording, ...]:
    """Record every stack, or the matching ones and their dependencies, in order. Raises the first failing program's
    error.
    """
    recordings, failures = record_what_can_be(session, only)
    for error in failures.values():
        raise error
    return recordings


def record_what_can_be(
    session: Session, only: tuple[str, ...] = ()
) -> tuple[tuple[Recording, ...], Mapping[str, Exception]]:
    """Record like `record_session`, but return the error of each failing stack; its dependants are not recorded."""
    known: dict[str, Outputs | None] = {}
    recordings: dict[str, Recording] = {}
    failures: dict[str, Exception] = {}
    plan = session.only(only).plan
    for wave in _waves(plan):
        ready = []
        for inputs in _inputs(session, replace(plan, stacks=wave), known):
            below = [name for name in inputs.stack.depends_on if name in failures]
            if below:
                failures[inputs.stack.name] = StandsOnError(f"it depends on {', '.join(below)}")
            else:
                ready.append(inputs)
        for inputs, outcome in zip(ready, record_each(ready), strict=True):
            if isinstance(outcome, Recording):
                recordings[outcome.stack] = outcome
                known[outcome.stack] = outcome.outputs
            else:
                failures[inputs.stack.name] = outcome
    order = [stack.name for stack in plan.stacks]
    return tuple(recordings[name] for name in order if name in recordings), failures


def _waves(plan: Plan) -> Iterator[tuple[Stack, ...]]:
    """Yield the stacks in groups: a stack depends only on stacks of earlier groups."""
    depth: dict[str, int] = {}
    for stack in plan.stacks:
        depth[stack.name] = max((depth[name] + 1 for name in stack.depends_on if name in depth), default=0)
    for level in sorted(set(depth.values())):
        yield tuple(stack for stack in plan.stacks if depth[stack.name] == level)


def render_city(session: Session, only: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the city's manifests by file name; with `only`, just those of the matching stacks."""
    recordings = record_session(session, only)
    wanted = session.plan.matching(only) if only else {item.stack for item in recordings}
    return render(item for item in recordings if item.stack in wanted)


def preview_from_files(session: Session, emit: Emit) -> RunResult:
    """Return what a first `up` would create, in the form of a preview. A failing program does not stop the other
    stacks.
    """
    begun = time.monotonic()
    plan = session.plan
    names = tuple(stack.name for stack in plan.stacks if LAYERS[stack.layer].has_program)
    emit(RunStarted("preview", session.city.name, names, {stack.name: stack.depends_on for stack in plan.stacks}))
    results: list[StackResult] = []
    errors: list[WecityError | None] = []
    known: dict[str, Outputs | None] = {}
    for inputs in _inputs(session, plan, known):
        emit(StackStarted(inputs.stack.name))
        result, error = _look(inputs, known)
        results.append(result)
        errors.append(error)
        emit(StackFinished(result))
    finished = RunResult(
        "preview",
        session.city.name,
        tuple(results),
        time.monotonic() - begun,
        _exit_code(results, errors),
        notes=("worked out from the files alone: no cloud, cluster, plug-in, credential or state was asked",),
        provider="recorder",
    )
    emit(RunFinished(finished))
    return finished


def _inputs(session: Session, plan: Plan, known: Mapping[str, Outputs | None]) -> Iterator[StackInputs]:
    """Yield the inputs of each stack in order; `known` is read at that time."""
    clusters = {cloud.name: Cluster.offline(cloud) for cloud in session.city.clouds}
    for stack in plan.stacks:
        if LAYERS[stack.layer].has_program:
            upstream = {name: known.get(name) for name in stack.depends_on}
            yield session.inputs(stack, clusters, upstream, dict.fromkeys(stack.secrets, _SECRET), SDK_VERSION)


def _look(inputs: StackInputs, known: dict[str, Outputs | None]) -> tuple[StackResult, WecityError | None]:
    begun, name = time.monotonic(), inputs.stack.name
    try:
        recording = record(inputs)
    except WecityError as error:
        return StackResult(name, "failed", reason=error.message, errors=(describe(error),)), error
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        return StackResult(name, "failed", reason=text, errors=(text,)), None
    known[name] = recording.outputs
    changes = tuple(
        replace(change, properties=_properties(resource.inputs))
        for change, resource in zip(creations(recording), recording.resources, strict=True)
        if is_shown(change.type)
    )
    return StackResult(name, "succeeded", changes, seconds=time.monotonic() - begun), None


def _properties(inputs: Mapping[str, object]) -> tuple[PropertyChange, ...]:
    return tuple(PropertyChange(key, "add", None, value) for key, value in sorted(inputs.items()) if value is not None)


def _exit_code(results: list[StackResult], errors: list[WecityError | None]) -> int:
    codes = [
        error.exit_code if error is not None else ExitCode.ERROR
        for result, error in zip(results, errors, strict=True)
        if result.outcome == "failed"
    ]
    return codes[0] if codes else ExitCode.OK
