"""Kubernetes manifests of an app or a platform, as they are registered: with its labels, account and limits of pods.

What a manifest may say was checked when the files were read; here is what it gets without saying it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi

from stacks import network_policies, node_affinity, pods
from stacks.base.kubernetes import priority_class
from stacks.objects import KubernetesObject, Manifest, Scope
from wecityctl.inputs import StackInputs
from wecityctl.model import naming, served
from wecityctl.model.city import App, Capability, KubernetesManifest, Platform
from wecityctl.model.manifests import (
    ARCHITECTURE_LABEL,
    COMPONENT,
    DEFAULT_REQUESTS,
    KINDS,
    architectures_of,
    autoscaler_of,
    ports_of,
    workload_of,
)
from wecityctl.model.naming import COMPONENT_LABEL, NAME_LABEL, PART_OF_LABEL
from wecityctl.model.registries import pod_template, resolve_image

_ORDER = tuple(KINDS)
Annotations = Mapping[str, pulumi.Output[str]]
# A Job's name has a digest, and the name of each of its pods a suffix.
_MAX_NAME = 41


@dataclass(frozen=True)
class Given:
    """What the manifests of an app or a platform are given without saying it.

    `labels` are those of all its objects, `own` those of all its pods, by which network policies select them. `pod` has
    fields of each pod spec, `affinity` the node affinity of a workload's pods. `certificate` is a digest of the
    certificate that pods of an app mount; those pods roll when it changes. `services` has more annotations of Services,
    by name.
    """

    inputs: StackInputs
    owner: App | Platform
    namespace: str
    labels: Mapping[str, str]
    own: Mapping[str, str]
    pod: Mapping[str, Any]
    affinity: Callable[[KubernetesManifest], Manifest | None] = field(repr=False)
    certificate: pulumi.Output[str] | None = None
    services: Mapping[str, Annotations] = field(default_factory=dict)

    @property
    def is_suspended(self) -> bool:
        """Whether nothing of it runs."""
        return isinstance(self.owner, App) and self.owner.stage == "suspended"


def of_app(
    inputs: StackInputs,
    app: App,
    labels: Mapping[str, str],
    own: Mapping[str, str],
    certificate: pulumi.Output[str] | None = None,
    services: Mapping[str, Annotations] = {},
) -> Given:
    """What the manifests of an app are given: its account and nodes, and the priority of tenants' apps."""

    def affinity(manifest: KubernetesManifest) -> Manifest | None:
        component = workload_of(app, manifest)
        assert component is not None
        return node_affinity.affinity(inputs.city.cloud(inputs.stack.cloud), app, component)

    pod = {"serviceAccountName": app.name, "priorityClassName": priority_class(inputs.city.name, "tenant")}
    namespace = naming.tenant_namespace(app.tenant, app.zone)
    return Given(inputs, app, namespace, labels, own, pod, affinity, certificate, services)


def of_platform(inputs: StackInputs, platform: Platform, host: Capability, labels: Mapping[str, str]) -> Given:
    """What the manifests of a platform beside the capability `host` are given: its nodes, and no account."""

    def affinity(manifest: KubernetesManifest) -> Manifest | None:
        cloud = inputs.city.cloud(inputs.stack.cloud)
        return node_affinity.capability_affinity(cloud, host, architectures_of(manifest))

    # No capability is of this type, so that nothing that selects a capability's pods selects these.
    own = {NAME_LABEL: platform.name, PART_OF_LABEL: platform.name, COMPONENT_LABEL: COMPONENT}
    pod = {"priorityClassName": priority_class(inputs.city.name, "platform")}
    namespace = naming.platform_namespace(platform.name, host.zone)
    return Given(inputs, platform, namespace, labels, own, pod, affinity)


def logical_name(namespace: str, manifest: KubernetesManifest) -> str:
    """The name of a manifest's object in URNs."""
    return f"{namespace}/{manifest.name}"


def is_registered(given: Given, manifest: KubernetesManifest) -> bool:
    """Whether the object is there: a suspended app runs no Job, and nothing scales its pods."""
    return not given.is_suspended or manifest.kind not in ("Job", "HorizontalPodAutoscaler")


def register(given: Given, chosen: Sequence[KubernetesManifest], home: Scope, ready: Scope) -> None:
    """Register the objects of the chosen manifests; what has pods, or scales them, depends on all that `ready` has."""
    made: list[KubernetesObject] = []
    # What pods mount comes first, and what scales them last.
    for item in sorted(chosen, key=lambda item: _ORDER.index(item.kind)):
        if not is_registered(given, item):
            continue
        where = home if item.kind in ("ConfigMap", "Service") else ready.after(*made)
        added = where.add(rendered(given, item), name=logical_name(given.namespace, item))
        made += [added] if item.kind == "ConfigMap" else []


def within(given: Given, chosen: Sequence[KubernetesManifest], name: str) -> Manifest | None:
    """The network policy `name` that lets the pods of manifests reach each other; `None` if they have no ports."""
    ports = ports_of(chosen)
    if not ports:
        return None
    peer = {"podSelector": {"matchLabels": dict(given.own)}}
    return network_policies.policy(
        given.namespace,
        name,
        dict(given.own),
        ingress=[network_policies.from_peer(peer, ports)],
        egress=[network_policies.to_peer(peer, ports)],
    )


def rendered(given: Given, manifest: KubernetesManifest) -> Manifest:
    """The object of a manifest, which is checked."""
    result: Manifest = copy.deepcopy(dict(manifest.content))
    result["metadata"]["namespace"] = given.namespace
    spec, own = result.get("spec", {}), given.own
    if manifest.kind in ("Deployment", "StatefulSet"):
        spec["selector"]["matchLabels"] = {**spec["selector"].get("matchLabels", {}), **own}
        spec.setdefault("revisionHistoryLimit", 3)
        if given.is_suspended:
            spec["replicas"] = 0
        elif autoscaler_of(given.owner, manifest) is not None:
            spec.pop("replicas", None)
    elif manifest.kind == "Service":
        spec["selector"] = {**spec["selector"], **own}
        if manifest.name in given.services:
            result["metadata"].setdefault("annotations", {}).update(given.services[manifest.name])
        if given.is_suspended:
            # A Service without pods never becomes ready, and the official plug-in would wait for it.
            result["metadata"].setdefault("annotations", {})["pulumi.com/skipAwait"] = "true"
    elif manifest.kind == "PodDisruptionBudget":
        spec["selector"] = {**spec["selector"], "matchLabels": {**spec["selector"].get("matchLabels", {}), **own}}
    elif manifest.kind == "CronJob" and given.is_suspended:
        spec["suspend"] = True
    template = pod_template(result)
    if template is not None:
        _complete(given, manifest, template["spec"])
        stated = template.get("metadata", {})
        labels = {**stated.get("labels", {}), **given.labels, **own, COMPONENT_LABEL: COMPONENT}
        template["metadata"] = {**stated, "labels": labels}
        if given.certificate is not None and served.holds_certificate(given.owner, manifest):
            annotations = {**stated.get("annotations", {}), pods.CONTENT_ANNOTATION: given.certificate}
            template["metadata"]["annotations"] = annotations
    if manifest.kind == "Job":
        digest = pods.content_digest({"job": json.dumps(result, sort_keys=True)})[:10]
        result["metadata"]["name"] = f"{naming.fit(manifest.name, _MAX_NAME)}-{digest}"
    return result


def _complete(given: Given, manifest: KubernetesManifest, pod: dict[str, Any]) -> None:
    """Give a pod the owner's fields and nodes, and the restricted security context where it says nothing."""
    inputs = given.inputs
    pod |= {**given.pod, "automountServiceAccountToken": False, "enableServiceLinks": False}
    (pod.get("nodeSelector") or {}).pop(ARCHITECTURE_LABEL, None)
    if not pod.get("nodeSelector"):
        pod.pop("nodeSelector", None)
    where = given.affinity(manifest)
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
