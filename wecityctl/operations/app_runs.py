"""The runs of an app's jobs, as their Jobs and pods on the cluster tell them. Pure functions of objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from wecityctl.model.naming import COMPONENT_LABEL, LABEL_PREFIX, NAME_LABEL, PART_OF_LABEL
from wecityctl.operations.app_targets import Target
from wecityctl.operations.logs import run_of

STARTED_BY = f"{LABEL_PREFIX}/started-by"
RunResult = Literal["running", "succeeded", "failed", "timed-out"]


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run of a job. Times are in RFC 3339, `ended` is empty while it runs.

    `exit_codes` are those of its attempts, oldest first. `reason` says why it failed, `started_by` who started it by
    hand.
    """

    component: str
    name: str
    result: RunResult
    started: str
    ended: str = ""
    exit_codes: tuple[int, ...] = ()
    reason: str = ""
    started_by: str = ""

    @property
    def exit_code(self) -> int | None:
        """The exit code of its last attempt; `None` without one that has ended."""
        return self.exit_codes[-1] if self.exit_codes else None


def runs_of(jobs: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]]) -> tuple[JobRun, ...]:
    """The runs, oldest first."""
    by_run: dict[str, list[dict[str, Any]]] = {}
    for pod in pods:
        by_run.setdefault(run_of(dict(pod)), []).append(dict(pod))
    found = [_run(job, by_run.get(job["metadata"]["name"], ())) for job in jobs]
    return tuple(sorted(found, key=lambda item: item.started))


def is_of(job: Mapping[str, Any], target: Target, components: Iterable[str]) -> bool:
    """Whether a Job is a run of one of these components of the target's app, by the labels of its pods."""
    labels = _labels(job)
    own = (labels.get(NAME_LABEL), labels.get(PART_OF_LABEL)) == (target.app.name, target.app.tenant)
    return own and labels.get(COMPONENT_LABEL) in set(components)


def _labels(job: Mapping[str, Any]) -> Mapping[str, str]:
    return ((job.get("spec") or {}).get("template") or {}).get("metadata", {}).get("labels") or {}


def is_over(job: Mapping[str, Any]) -> bool:
    """Whether a Job has ended."""
    return _ending(job) is not None


def _ending(job: Mapping[str, Any]) -> Mapping[str, Any] | None:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return next(
        (item for item in conditions if item.get("status") == "True" and item.get("type") in ("Complete", "Failed")),
        None,
    )


def _run(job: Mapping[str, Any], pods: Sequence[dict[str, Any]]) -> JobRun:
    metadata, status = job["metadata"], job.get("status") or {}
    end = _ending(job)
    result: RunResult = "running"
    if end is not None:
        is_late = end.get("reason") == "DeadlineExceeded"
        result = "succeeded" if end["type"] == "Complete" else "timed-out" if is_late else "failed"
    return JobRun(
        component=_labels(job).get(COMPONENT_LABEL, ""),
        name=metadata["name"],
        result=result,
        started=str(status.get("startTime") or metadata.get("creationTimestamp") or ""),
        ended=str(end.get("lastTransitionTime") or "") if end is not None else "",
        exit_codes=exit_codes(pods),
        reason=str(end.get("message") or end.get("reason") or "") if end is not None and result != "succeeded" else "",
        started_by=str((metadata.get("annotations") or {}).get(STARTED_BY) or ""),
    )


def exit_codes(pods: Iterable[Mapping[str, Any]]) -> tuple[int, ...]:
    """The exit codes of the first containers of pods that have ended, oldest pod first."""
    found = []
    for pod in sorted(pods, key=lambda item: str(item["metadata"].get("creationTimestamp") or "")):
        for container in ((pod.get("status") or {}).get("containerStatuses") or ())[:1]:
            ended = (container.get("state") or {}).get("terminated")
            if ended is not None:
                found.append(int(ended.get("exitCode") or 0))
    return tuple(found)
