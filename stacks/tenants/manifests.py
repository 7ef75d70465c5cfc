"""An app's own Kubernetes manifests, as they are registered: with the labels, account and limits of the app's pods.

What a manifest may say was checked when the files were read; here is what it gets without saying it. Pure functions.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from stacks import node_affinity, pods
from stacks.base.kubernetes import priority_class
from stacks.objects import Manifest
from wecityctl.inputs import StackInputs
from wecityctl.model import naming
from wecityctl.model.city import App, KubernetesManifest
from wecityctl.model.manifests import ARCHITECTURE_LABEL, DEFAULT_REQUESTS, autoscaler_of, workload_of
from wecityctl.model.naming import COMPONENT_LABEL
from wecityctl.model.registries import pod_spec, resolve_image

# No component has this name, so that no Service of a component finds these pods.
COMPONENT = "Manifest"
# A Job's name has a digest, and the name of each of its pods a suffix.
_MAX_NAME = 41


def logical_name(namespace: str, manifest: KubernetesManifest) -> str:
    """The name of a manifest's object in URNs."""
    return f"{namespace}/{manifest.name}"


def is_registered(app: App, manifest: KubernetesManifest) -> bool:
    """Whether the object is there: a suspended app runs no Job, and nothing scales its pods."""
    return app.stage != "suspended" or manifest.kind not in ("Job", "HorizontalPodAutoscaler")


def rendered(
    inputs: StackInputs, app: App, manifest: KubernetesManifest, labels: Mapping[str, str], own: Mapping[str, str]
) -> Manifest:
    """The object of a manifest.

    Args:
        inputs: The inputs of the tenant's stack.
        app: The app that the manifest belongs to.
        manifest: The manifest, checked.
        labels: The labels of all objects of the app.
        own: The labels of all pods of the app, by which its network policies select them.
    """
    result: Manifest = copy.deepcopy(dict(manifest.content))
    result["metadata"]["namespace"] = naming.tenant_namespace(app.tenant, app.zone)
    spec = result.get("spec", {})
    is_suspended = app.stage == "suspended"
    if manifest.kind in ("Deployment", "StatefulSet"):
        spec["selector"]["matchLabels"] = {**spec["selector"].get("matchLabels", {}), **own}
        spec.setdefault("revisionHistoryLimit", 3)
        if is_suspended:
            spec["replicas"] = 0
        elif autoscaler_of(app, manifest) is not None:
            spec.pop("replicas", None)
    elif manifest.kind == "Service":
        spec["selector"] = {**spec["selector"], **own}
        if is_suspended:
            # A Service without pods never becomes ready, and the official plug-in would wait for it.
            result["metadata"].setdefault("annotations", {})["pulumi.com/skipAwait"] = "true"
    elif manifest.kind == "PodDisruptionBudget":
        spec["selector"] = {**spec["selector"], "matchLabels": {**spec["selector"].get("matchLabels", {}), **own}}
    elif manifest.kind == "CronJob" and is_suspended:
        spec["suspend"] = True
    pod = pod_spec(result)
    if pod is not None:
        _complete(inputs, app, manifest, pod)
        template = _template(result)
        stated = template.get("metadata", {})
        template["metadata"] = {**stated, "labels": {**stated.get("labels", {}), **labels, **own}}
        template["metadata"]["labels"][COMPONENT_LABEL] = COMPONENT
    if manifest.kind == "Job":
        digest = pods.content_digest({"job": json.dumps(result, sort_keys=True)})[:10]
        result["metadata"]["name"] = f"{naming.fit(manifest.name, _MAX_NAME)}-{digest}"
    return result


def _template(manifest: Manifest) -> Manifest:
    spec = manifest["spec"]
    found: Manifest = (spec["jobTemplate"]["spec"] if manifest["kind"] == "CronJob" else spec)["template"]
    return found


def _complete(inputs: StackInputs, app: App, manifest: KubernetesManifest, pod: dict[str, Any]) -> None:
    """Give a pod the app's account, priority and nodes, and the restricted security context where it says nothing."""
    component = workload_of(app, manifest)
    assert component is not None
    pod |= {
        "serviceAccountName": app.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "priorityClassName": priority_class(inputs.city.name, "tenant"),
    }
    (pod.get("nodeSelector") or {}).pop(ARCHITECTURE_LABEL, None)
    if not pod.get("nodeSelector"):
        pod.pop("nodeSelector", None)
    where = node_affinity.affinity(inputs.city.cloud(inputs.stack.cloud), app, component)
    if where is not None:
        pod["affinity"] = where
    if tolerations := pods.tolerations(inputs.cluster):
        pod["tolerations"] = tolerations
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, "fsGroup": 2000}
    pod["securityContext"] = {**security, **(pod.get("securityContext") or {})}
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        container["image"] = resolve_image(container["image"], inputs.images, inputs.city.images.registry)
        container.setdefault("imagePullPolicy", "IfNotPresent")
        container["securityContext"] = {**pods.RESTRICTED, **(container.get("securityContext") or {})}
        stated = container.get("resources") or {}
        limits = stated.get("limits") or {}
        requests = {**DEFAULT_REQUESTS, **limits, **(stated.get("requests") or {})}
        requests = {key: value for key, value in requests.items() if key in ("cpu", "memory")}
        container["resources"] = {
            "requests": {**(stated.get("requests") or {}), **requests},
            "limits": {"memory": requests["memory"], **limits},
        }
