"""Readiness of workloads: Deployment, StatefulSet, DaemonSet, ReplicaSet, ReplicationController, Job, CronJob.

The workload's own status decides, as in kstatus. Pods, where known, only explain the reason.
"""

from __future__ import annotations

from wecityctl.kube.readiness.generic import condition, spec_of, status_of, told, unobserved
from wecityctl.kube.readiness.model import READY, Readiness, Related, failed, waiting
from wecityctl.kube.readiness.pods import problems
from wecityctl.kube.resource import Object
from wecityctl.model.words import counted


def deployment(obj: Object, related: Related) -> Readiness:
    """Ready when every replica is updated and available, and no old one is left."""
    behind = unobserved(obj, required=True)
    if behind is not None:
        return behind
    progressing = condition(obj, "Progressing")
    if progressing is not None and progressing.get("reason") == "ProgressDeadlineExceeded":
        return failed(_with_pods(f"its progress deadline has passed: {told(progressing)}", related))
    spec, status = spec_of(obj), status_of(obj)
    wanted = spec.get("replicas", 1)
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if spec.get("paused"):
        if not status.get("replicas") or updated >= wanted or _states_pause(obj):
            return READY
        return failed(f"somebody has paused it: {updated} of {wanted} pods are updated until `kubectl rollout resume`")
    refused = condition(obj, "ReplicaFailure")
    if refused is not None and refused.get("status") == "True":
        return waiting(f"pods cannot be made: {told(refused)}")
    if updated < wanted:
        return waiting(_with_pods(f"{updated} of {wanted} pods are updated", related))
    if available < wanted or status.get("readyReplicas", 0) < wanted:
        return waiting(_with_pods(f"waiting for {wanted - available} of {wanted} pods", related))
    surplus = status.get("replicas", 0) - wanted
    if surplus > 0:
        # The old pods stay until the new ones are available, so the new ones show what blocks the rollout.
        return waiting(_with_pods(f"{counted(surplus, 'old pod')} terminating", related))
    reached = condition(obj, "Available")
    if wanted and reached is not None and reached.get("status") != "True":
        return waiting(_with_pods(told(reached) or "not available", related))
    return READY


def _states_pause(obj: Object) -> bool:
    """Whether a program's field manager has set the pause. Then pods of a new template are not waited for."""
    return any(
        entry.get("operation") == "Apply" and "f:paused" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
        for entry in obj["metadata"].get("managedFields") or ()
    )


def stateful_set(obj: Object, related: Related) -> Readiness:
    """Ready when every replica is ready and of the new revision, as far as its update strategy updates it."""
    behind = unobserved(obj, required=True)
    if behind is not None:
        return behind
    spec, status = spec_of(obj), status_of(obj)
    strategy = spec.get("updateStrategy") or {}
    wanted = spec.get("replicas", 1)
    ready = status.get("readyReplicas", 0)
    if ready < wanted:
        return waiting(_with_pods(f"waiting for {wanted - ready} of {wanted} pods", related))
    if status.get("replicas", 0) > wanted:
        return waiting(f"{counted(status['replicas'] - wanted, 'pod')} terminating")
    if strategy.get("type") == "OnDelete":
        return READY
    due = wanted - ((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    updated = status.get("updatedReplicas", 0)
    current, newest = status.get("currentRevision"), status.get("updateRevision")
    if current != newest and updated < due:
        return waiting(_with_pods(f"{updated} of {due} pods are updated", related))
    if spec.get("minReadySeconds") and status.get("availableReplicas", 0) < wanted:
        return waiting(f"{status.get('availableReplicas', 0)} of {wanted} pods are available")
    return READY


def daemon_set(obj: Object, related: Related) -> Readiness:
    """Ready when each target node has a ready pod of the new template."""
    behind = unobserved(obj, required=True)
    if behind is not None:
        return behind
    status = status_of(obj)
    wanted = status.get("desiredNumberScheduled", 0)
    updated = status.get("updatedNumberScheduled", 0)
    on_delete = (spec_of(obj).get("updateStrategy") or {}).get("type") == "OnDelete"
    if updated < wanted and not on_delete:
        return waiting(_with_pods(f"{updated} of {wanted} pods are updated", related))
    available = min(status.get("numberAvailable", 0), status.get("numberReady", 0))
    if available < wanted:
        return waiting(_with_pods(f"waiting for {wanted - available} of {wanted} pods", related))
    return READY


def replica_set(obj: Object, related: Related) -> Readiness:
    """Ready when every replica is available. For ReplicationControllers too."""
    behind = unobserved(obj, required=True)
    if behind is not None:
        return behind
    refused = condition(obj, "ReplicaFailure")
    if refused is not None and refused.get("status") == "True":
        return waiting(f"pods cannot be made: {told(refused)}")
    status = status_of(obj)
    wanted = spec_of(obj).get("replicas", 1)
    available = min(status.get("availableReplicas", 0), status.get("readyReplicas", 0))
    if available < wanted:
        return waiting(_with_pods(f"waiting for {wanted - available} of {wanted} pods", related))
    if status.get("replicas", 0) > wanted:
        return waiting(f"{counted(status['replicas'] - wanted, 'pod')} terminating")
    return READY


def job(obj: Object, related: Related) -> Readiness:
    """Ready when complete (not when started: as in the official plug-in, unlike kstatus), or when suspended."""
    ended = condition(obj, "Failed")
    if ended is not None and ended.get("status") == "True":
        reason = str(ended.get("reason") or "")
        return failed(_with_pods(": ".join(filter(None, ("the job failed", reason, told(ended)))), related))
    done = condition(obj, "Complete")
    if done is not None and done.get("status") == "True":
        return READY
    spec, status = spec_of(obj), status_of(obj)
    if spec.get("suspend"):
        return READY
    if not status.get("startTime"):
        return waiting("the job has not started")
    wanted = spec.get("completions") or 1
    text = f"{status.get('succeeded', 0)} of {wanted} pods have succeeded"
    if status.get("failed"):
        text += f", {status['failed']} failed"
    return waiting(_with_pods(text, related))


def _with_pods(text: str, related: Related) -> str:
    found = problems(related.pods or (), limit=1)
    return f"{text}: {found[0]}" if found else text
