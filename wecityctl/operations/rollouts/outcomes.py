"""What a run has made of the moves that it was to make, and the records that follow from it. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from wecityctl.errors import ExitCode
from wecityctl.model import naming
from wecityctl.model.city import App
from wecityctl.model.events import RunResult, StackResult
from wecityctl.model.releases import AppReleases, Held, Part, Release, Rollout
from wecityctl.operations.rollouts.moves import Move, Now, taken_back

_GOOD = ("succeeded", "unchanged", "skipped")


@dataclass(frozen=True, slots=True)
class StackNames:
    """The stacks that a move depends on: the tenant's on the app's cloud, and the entry stack (empty: none)."""

    tenant: str
    entry: str


def canary_objects(app: App, component: str) -> frozenset[str]:
    """The names, with their namespace, of the workload and the Service of a component's canary."""
    workload = naming.component_workload(app.name, naming.canary_component(component))
    return frozenset({f"{naming.tenant_namespace(app.tenant, app.zone)}/{workload}"})


def succeeded(result: RunResult, stacks: StackNames, move: Move) -> bool:
    """Whether everything that the move changes has been made."""
    needed = {stacks.tenant} if move.kind == "first" else {stacks.tenant, stacks.entry}
    found = {item.stack: item.outcome for item in result.results}
    return all(found.get(name) in _GOOD for name in needed if name)


def canary_failure(result: RunResult, stacks: StackNames, objects: Collection[str]) -> str:
    """Why the canary did not become ready in this run; empty if it did, or if something else has failed first."""
    for item in result.results:
        if item.stack == stacks.tenant and any(change.name in objects for change in item.failed):
            return next(_reasons(item, objects), "its pods did not become ready")
    return ""


def _reasons(item: StackResult, objects: Collection[str]) -> Iterator[str]:
    """Yield what was said about the canary's workload: the engine puts several errors into one text, one a line."""
    names = [name.rpartition("/")[2] for name in objects]
    for text in item.errors:
        for line in text.splitlines():
            words = line.strip().removeprefix("* ")
            if any(name in words for name in names) and not words.endswith("occurred:"):
                _, _, cause = words.rpartition(" has failed: ")
                yield _line(cause or words)


def only_canaries_failed(result: RunResult, objects: Collection[str]) -> bool:
    """Whether a failed run has failed for nothing but canaries."""
    bad = [item for item in result.results if item.outcome not in _GOOD]
    return bool(bad) and all(item.outcome == "failed" and _is_canary(item, objects) for item in bad)


def _is_canary(item: StackResult, objects: Collection[str]) -> bool:
    return bool(item.failed) and all(change.name in objects for change in item.failed)


def after(
    move: Move, record: AppReleases | None, now: Now, *, good: bool, failure: str, image_digest: str
) -> AppReleases | None:
    """The record after a move; `None` if it stays as it was claimed, and the next run makes the move again.

    `record` is the claimed one, if the move has claimed one. `failure` says why the canary did not become ready.
    `image_digest` is what the pods of the version that serves now run.
    """
    if move.first is not None and good:
        *older, last = move.first.releases
        part = replace(last.parts[0], image_digest=image_digest)
        return replace(move.first, releases=(*older, replace(last, parts=(part,))))
    if record is None:
        return None
    rollout = record.rollout
    if rollout is None:
        return None
    if failure and move.kind == "step":
        return replace(record, rollout=replace(taken_back(rollout, failure), since=now.seconds))
    if not good:
        return None
    if move.kind == "step":
        return replace(record, rollout=replace(rollout, phase="pausing", since=now.seconds, is_live=True))
    if move.kind in ("finish", "withdraw"):
        return replace(record, rollout=replace(rollout, phase="removing", since=now.seconds))
    if move.kind == "remove":
        return _ended(record, rollout, now, image_digest)
    return None


def _ended(record: AppReleases, rollout: Rollout, now: Now, image_digest: str) -> AppReleases:
    if rollout.outcome == "released":
        part = Part(rollout.component, rollout.image, image_digest)
        release = Release(0, now.at, rollout.by, rollout.version, (part,))
        return replace(record.released(release), held=None)
    held = record.held
    if rollout.outcome == "aborted":
        held = Held(rollout.version, rollout.image, "aborted", rollout.why, now.at)
    return replace(record, rollout=None, held=held)


def merged(first: RunResult | None, second: RunResult) -> RunResult:
    """The result of two runs after each other, as if they were one. What has failed in the first and not in the second
    is no failure any more."""
    if first is None:
        return second
    found = {item.stack: item for item in first.results}
    for item in second.results:
        before = found.get(item.stack)
        found[item.stack] = item if before is None else _joined(before, item)
    return replace(
        second,
        results=tuple(found.values()),
        seconds=first.seconds + second.seconds,
        removals=first.removals,
        notes=tuple(dict.fromkeys((*first.notes, *second.notes))),
        part=first.part,
    )


def _joined(before: StackResult, later: StackResult) -> StackResult:
    idle = later.outcome in ("unchanged", "skipped") and before.outcome in _GOOD
    return replace(
        before if idle else later,
        changes=(*before.changes, *later.changes),
        seconds=before.seconds + later.seconds,
        warnings=tuple(dict.fromkeys((*before.warnings, *later.warnings))),
    )


def with_failure(result: RunResult) -> RunResult:
    """The result of a run in which a canary was aborted by itself."""
    return replace(result, exit_code=result.exit_code or int(ExitCode.DEPLOYMENT))


def _line(text: str) -> str:
    return " ".join(text.split())[:300]
