"""Readiness of pods, and a short explanation of why one is not ready."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from wecityctl.kube.readiness.generic import condition, one_line, spec_of, status_of, told
from wecityctl.kube.readiness.model import READY, Readiness, Related, failed, waiting
from wecityctl.kube.resource import Object, meta

_PULL = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
_STARTING = {"ContainerCreating", "PodInitializing", ""}


def pod(obj: Object, related: Related) -> Readiness:
    """Ready, or completed."""
    phase = status_of(obj).get("phase")
    if phase == "Succeeded":
        return READY
    if phase == "Failed":
        return failed(explain(obj) or "failed")
    found = condition(obj, "Ready")
    if found is not None and found.get("status") == "True":
        return READY
    return waiting(explain(obj) or "not started")


def is_ready(obj: Object) -> bool:
    """Whether the pod is Ready and not being deleted."""
    found = condition(obj, "Ready")
    return found is not None and found.get("status") == "True" and not meta(obj).get("deletionTimestamp")


def explain(obj: Object) -> str:
    """Why the pod is not ready; empty if unknown."""
    status = status_of(obj)
    if status.get("phase") == "Failed" and status.get("reason"):
        return one_line(f"{status['reason']}: {status.get('message') or ''}".rstrip(": "))
    scheduled = condition(obj, "PodScheduled")
    if scheduled is not None and scheduled.get("status") == "False":
        return f"unschedulable: {_without_preemption(told(scheduled))}"
    for container in container_statuses(obj):
        problem = _container(container)
        if problem:
            return problem
    gate = condition(obj, "Ready")
    if gate is not None and gate.get("reason") == "ReadinessGatesNotReady":
        return told(gate)
    if _is_lost(obj):
        return f"its node {spec_of(obj).get('nodeName')} is not ready"
    unready = [c.get("name") for c in status.get("containerStatuses") or () if not c.get("ready")]
    if status.get("phase") == "Running" and unready:
        probed = {c.get("name") for c in spec_of(obj).get("containers") or () if c.get("readinessProbe")}
        probe = ", its readiness probe has not succeeded" if probed & set(unready) else ""
        return f"container {unready[0]} runs but is not ready{probe}"
    return "" if scheduled is None else "starting"


def _is_lost(obj: Object) -> bool:
    """Whether the pod is on a node that is not heard of: the cluster takes it for not ready, its containers were."""
    ready, status = condition(obj, "Ready"), status_of(obj)
    containers = status.get("containerStatuses") or ()
    is_running = status.get("phase") == "Running" and containers and all(item.get("ready") for item in containers)
    return bool(is_running and ready is not None and ready.get("status") != "True" and spec_of(obj).get("nodeName"))


def _without_preemption(text: str) -> str:
    """The scheduler's message without its part about preemption."""
    return text.partition(" preemption: ")[0].removesuffix(" no new claims to deallocate,").rstrip(" ,")


def crashed_container(obj: Object) -> tuple[str, bool] | None:
    """The name of the container that crashes or has failed, and whether to read the previous run's log."""
    for container in container_statuses(obj):
        state = container.get("state") or {}
        if (state.get("terminated") or {}).get("exitCode"):
            return str(container.get("name")), False
        restarted = container.get("restartCount", 0) > 0
        if restarted and not container.get("ready") and (container.get("lastState") or {}).get("terminated"):
            return str(container.get("name")), True
    return None


def problems(pods: Iterable[Object], *, limit: int = 3) -> list[str]:
    """`web-7d: image pull: …` for the pods that are not ready; pods with the same problem share a line."""
    grouped: dict[str, list[str]] = {}
    for each in pods:
        # On a node that is not heard of, deleted pods stay: nobody ends their containers.
        is_leaving = meta(each).get("deletionTimestamp") and not _is_lost(each)
        if is_ready(each) or is_leaving or status_of(each).get("phase") == "Succeeded":
            continue
        reason = explain(each)
        if reason:
            grouped.setdefault(reason, []).append(str(meta(each).get("name")))
    lines = [
        f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {reason}"
        for reason, names in sorted(grouped.items(), key=lambda entry: entry[0] == "starting")
    ]
    return lines[:limit]


def matches(labels: dict[str, Any], selector: dict[str, Any]) -> bool:
    """Whether labels match a label selector (matchLabels and matchExpressions)."""
    if any(labels.get(k) != v for k, v in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_expression(labels, e) for e in selector.get("matchExpressions") or ())


def _expression(labels: dict[str, Any], expression: dict[str, Any]) -> bool:
    key, operator, values = expression.get("key"), expression.get("operator"), expression.get("values") or ()
    if operator == "In":
        return key in labels and labels[key] in values
    if operator == "NotIn":
        return labels.get(str(key)) not in values
    return (key in labels) == (operator == "Exists")


def container_statuses(obj: Object) -> Sequence[dict[str, Any]]:
    """The statuses of a pod's containers, init containers first."""
    status = status_of(obj)
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _container(container: dict[str, Any]) -> str:
    state = container.get("state") or {}
    held = state.get("waiting") or {}
    reason, message = str(held.get("reason") or ""), str(held.get("message") or "")
    if reason in _PULL:
        return one_line(f"image pull: {message or reason + ' ' + str(container.get('image') or '')}")
    if reason == "CrashLoopBackOff":
        return f"crash loop: container {container.get('name')} {_ended(container.get('lastState') or {})}"
    if reason not in _STARTING:
        return one_line(f"container {container.get('name')}: {reason}: {message}".rstrip(": "))
    terminated = state.get("terminated") or {}
    if terminated.get("exitCode"):
        return f"container {container.get('name')} {_ended(state)}"
    return ""


def _ended(state: dict[str, Any]) -> str:
    terminated = state.get("terminated") or {}
    if not terminated:
        return "ends again and again"
    text = f"ended with exit code {terminated.get('exitCode')}"
    reason, message = terminated.get("reason"), terminated.get("message")
    if reason and reason != "Error":
        text += f" ({reason})"
    return one_line(f"{text}: {message}") if message else text
