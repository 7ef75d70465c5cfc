"""Detects permanent failures: pods that cannot start, and pods that the API server will never admit. Pure.

Only failures of the workload's current template count; pods and ReplicaSets of an earlier template are ignored. What
may resolve itself (an unreachable registry, a missing Secret, a used-up quota) is no failure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from wecityctl.kube.readiness.generic import condition, one_line, spec_of, status_of, told
from wecityctl.kube.readiness.model import Readiness, Related
from wecityctl.kube.readiness.pods import container_statuses, is_ready, matches
from wecityctl.kube.resource import Object, meta
from wecityctl.model.quantity import parse_quantity

# Seconds: admission rules, images and Secrets that change in the same run take effect with a short delay.
PATIENCE = 5.0
_KEY_PATIENCE = 15.0
# What containerd and registries report for an image that does not exist. An unreachable registry's message differs.
_NO_IMAGE = re.compile(
    r"code = NotFound\b|: not found\b|manifest unknown|name unknown|manifest for \S+ not found", re.IGNORECASE
)
_NO_KEY = re.compile(r"couldn't find key \S+ in (?:Secret|ConfigMap) \S+")
_AS_ROOT = re.compile(r"runAsNonRoot and image (?:will run as root|has non-numeric user)")
# The runtime's refusal to start a process: of a variable's value, or of a program that the image does not have.
_NO_START = re.compile(
    r"invalid environment variable|contains nul byte|executable file not found"
    r"|exec: .*(?:no such file|permission denied)"
)
# Rejections that may pass, because controllers and caches lag behind.
_PASSING = re.compile(
    r"serviceaccount \S+ not found|status unknown for quota|not yet ready to handle|no PriorityClass|timed? ?out"
    r"|connection refused|failed calling webhook|Internal error|being terminated",
    re.IGNORECASE,
)
_QUOTA = re.compile(r"exceeded quota: (\S+), requested: (\S+), used: (\S+), limited: (\S+)")
_WHAT_PODS_ASK_FOR = ("image", "command", "args", "env", "envFrom")
_RUNS_PODS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job")


def failure(obj: Object, related: Related) -> Readiness | None:
    """Why `obj` will never become ready; `patience` says for how many seconds that must last before it counts."""
    kind = obj.get("kind")
    if kind == "Pod":
        return _pod(obj)
    if kind == "Service":
        return _service(obj, related)
    if kind not in _RUNS_PODS:
        return None
    return _first(_pods(obj, related)) or _refusals(obj, related)


def is_scaled_to_zero(workload: Object) -> bool:
    """Whether a workload has no pods by design: 0 replicas, suspended, complete, no matching node, or paused from the
    start.
    """
    spec, status = spec_of(workload), status_of(workload)
    kind = workload.get("kind")
    if kind == "DaemonSet":
        return status.get("desiredNumberScheduled") == 0 and bool(status.get("observedGeneration"))
    if kind == "CronJob":
        return True
    if kind == "Job":
        done = condition(workload, "Complete") or {}
        return bool(spec.get("suspend")) or done.get("status") == "True"
    if kind == "Deployment" and spec.get("paused") and not status.get("replicas"):
        # Its controller has observed the pause, and creates no pods of a new template until it ends.
        return bool(status.get("observedGeneration") == meta(workload).get("generation"))
    return bool(spec.get("replicas", 1) == 0)


def template_labels(workload: Object) -> dict[str, Any]:
    """The labels of the pods that a workload creates."""
    spec = spec_of(workload)
    if workload.get("kind") == "CronJob":
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    return meta(spec.get("template") or {}).get("labels") or {}


def _service(obj: Object, related: Related) -> Readiness | None:
    """A Service whose workloads will all fail to start, or that will get no workload in this run."""
    if related.workloads is None:
        return None
    running = [each for each in related.workloads if not is_scaled_to_zero(each)]
    failures = [failure(each, related) for each in running]
    found = _first(failures)
    if found is not None and all(failures):
        name = f"{running[0].get('kind')} {meta(running[0]).get('name')}"
        return Readiness("failed", f"{name} behind it cannot start: {found.reason}", found.patience)
    if not related.workloads and related.pods == [] and related.failed_before:
        reason = f"no pod matches its selector, and what was to make them may have failed: {related.failed_before}"
        return Readiness("failed", reason, PATIENCE)
    return None


def _pods(obj: Object, related: Related) -> Iterable[Readiness | None]:
    template = (spec_of(obj).get("template") or {}).get("spec") or {}
    selector = spec_of(obj).get("selector") or {}
    for pod in related.pods or ():
        owned = obj.get("kind") != "Deployment" or matches(meta(pod).get("labels") or {}, selector)
        if owned and not is_ready(pod) and not meta(pod).get("deletionTimestamp") and _asks_for(pod, template):
            yield _pod(pod)


def _asks_for(pod: Object, template: dict[str, Any]) -> bool:
    """Whether the pod was created from this template, considering only fields that can cause a failure here."""
    for part in ("initContainers", "containers"):
        made = {each.get("name"): each for each in spec_of(pod).get(part) or ()}
        for wanted in template.get(part) or ():
            found = made.get(wanted.get("name")) or {}
            if any((found.get(key) or None) != (wanted.get(key) or None) for key in _WHAT_PODS_ASK_FOR):
                return False
    return True


def _pod(pod: Object) -> Readiness | None:
    name = str(meta(pod).get("name"))
    for container in container_statuses(pod):
        held = (container.get("state") or {}).get("waiting") or {}
        reason, message = str(held.get("reason") or ""), str(held.get("message") or "")
        what = f"{name}: container {container.get('name')}"
        if reason == "InvalidImageName":
            return Readiness("failed", one_line(f"{what}: the image's name is invalid: {message}"))
        if reason in ("ErrImagePull", "ImagePullBackOff") and _NO_IMAGE.search(message):
            return Readiness("failed", one_line(f"{what}: there is no image {container.get('image')}: {message}"))
        if reason == "ErrImageNeverPull":
            return Readiness("failed", one_line(f"{what}: the image is not on the node: {message}"), _KEY_PATIENCE)
        if reason == "CreateContainerConfigError" and _NO_KEY.search(message):
            return Readiness("failed", one_line(f"{what}: {message}"), _KEY_PATIENCE)
        if reason == "CreateContainerConfigError" and _AS_ROOT.search(message):
            return Readiness("failed", one_line(f"{what}: {message}"))
        if refused := _not_started(container):
            return Readiness("failed", one_line(f"{what}: cannot be started: {refused}"), _KEY_PATIENCE)
    return None


def _not_started(container: Object) -> str:
    """Why the container runtime could not start the container and will not be able to; empty if it did or may."""
    state = container.get("state") or {}
    if "running" in state:
        return ""
    found = [state.get("waiting"), state.get("terminated"), (container.get("lastState") or {}).get("terminated")]
    for each in found:
        message = str((each or {}).get("message") or "")
        if (each or {}).get("reason") in ("StartError", "RunContainerError") and _NO_START.search(message):
            return message
    return ""


def _refusals(obj: Object, related: Related) -> Readiness | None:
    """A pod that the API server rejects and always will."""
    wanted = spec_of(obj).get("replicas", 1) if obj.get("kind") not in ("DaemonSet", "Job") else 1
    for message in _messages(obj, related):
        found = _refusal(message, wanted)
        if found:
            return Readiness("failed", f"its pods are refused: {found}", PATIENCE)
    return None


def _messages(obj: Object, related: Related) -> Iterable[str]:
    kind = obj.get("kind")
    if kind == "Deployment":
        uid, template = meta(obj).get("uid"), (spec_of(obj).get("template") or {}).get("spec") or {}
        for each in related.replica_sets or ():
            mine = any(owner.get("uid") == uid for owner in meta(each).get("ownerReferences") or ())
            if mine and _asks_for({"spec": (spec_of(each).get("template") or {}).get("spec")}, template):
                yield from _messages(each, related)
    elif kind in ("ReplicaSet", "ReplicationController"):
        refused = condition(obj, "ReplicaFailure")
        if refused is not None and refused.get("status") == "True" and spec_of(obj).get("replicas", 1):
            yield told(refused)
    else:
        yield from related.refusals


def _refusal(message: str, wanted: int) -> str:
    """The message if later attempts will be rejected too, otherwise an empty string."""
    if "forbidden" not in message and "denied the request" not in message and "is invalid" not in message:
        return ""
    if _PASSING.search(message):
        return ""
    quota = _QUOTA.search(message)
    if quota is None:
        return message
    name, requested, limited = quota[1], _amounts(quota[2]), _amounts(quota[4])
    for key, amount in requested.items():
        limit = limited.get(key)
        if limit is None or parse_quantity(amount) * max(wanted, 1) <= parse_quantity(limit):
            continue
        pods = f"{wanted} pods with {key}={amount} each" if wanted > 1 else f"a pod with {key}={amount}"
        return f"{pods} can never fit the quota {name}, which allows {key}={limit}"
    return ""


def _amounts(text: str) -> dict[str, str]:
    found = (part.partition("=") for part in text.rstrip(".").split(","))
    return {key: value for key, _, value in found if _is_quantity(value)}


def _is_quantity(text: str) -> bool:
    try:
        parse_quantity(text)
    except ValueError:
        return False
    return True


def _first(found: Iterable[Readiness | None]) -> Readiness | None:
    return next((each for each in found if each is not None), None)
