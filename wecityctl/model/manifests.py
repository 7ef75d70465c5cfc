"""Kubernetes manifests of apps: which kinds an app may have, what they refer to, and what their pods request.

Pure functions. `spec.checks.manifests` checks the content before it becomes part of the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from wecityctl.model import naming
from wecityctl.model.city import App, Autoscale, Component, KubernetesManifest, Resources
from wecityctl.model.quantity import format_bytes, format_cpu, parse_quantity
from wecityctl.model.registries import CATALOGUE_PREFIX, images_in, pod_spec

# What an app may have, by kind, with the API version that it is written in.
KINDS: Mapping[str, str] = {
    "ConfigMap": "v1",
    "Service": "v1",
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "PodDisruptionBudget": "policy/v1",
}
ARCHITECTURE_LABEL = "kubernetes.io/arch"
# What a container requests that says nothing, as a component does.
DEFAULT_REQUESTS = {"cpu": "100m", "memory": "128Mi"}


def images_of(app: App) -> tuple[str, ...]:
    """The images of an app's components and manifests, as the files name them."""
    specs = (pod_spec(item.content) for item in app.manifests)
    found = (image for spec in specs if spec is not None for image in images_in(spec))
    return (*(part.image for part in app.components), *found)


def catalogue_images(app: App) -> Iterator[str]:
    """Yield the names of the catalogue images among those of the app."""
    return (item.removeprefix(CATALOGUE_PREFIX) for item in images_of(app) if item.startswith(CATALOGUE_PREFIX))


def architectures_of(manifest: KubernetesManifest) -> tuple[str, ...]:
    """The CPU architectures of a manifest's images: those that its node selector names, or amd64 as for components."""
    spec = pod_spec(manifest.content) or {}
    chosen = (spec.get("nodeSelector") or {}).get(ARCHITECTURE_LABEL)
    return (str(chosen),) if chosen else ("amd64",)


def ports_of(app: App) -> tuple[int, ...]:
    """The TCP ports of the containers in an app's manifests."""
    specs = (pod_spec(item.content) for item in app.manifests)
    containers = (container for spec in specs if spec is not None for container in spec["containers"])
    return tuple(sorted({int(port["containerPort"]) for item in containers for port in item.get("ports") or ()}))


def autoscaler_of(app: App, manifest: KubernetesManifest) -> KubernetesManifest | None:
    """The HorizontalPodAutoscaler among the app's manifests that scales `manifest`; `None` without one."""
    for item in app.manifests:
        target = item.content.get("spec", {}).get("scaleTargetRef") if item.kind == "HorizontalPodAutoscaler" else None
        if target and (target.get("kind"), target.get("name")) == (manifest.kind, manifest.name):
            return item
    return None


def workload_of(app: App, manifest: KubernetesManifest) -> Component | None:
    """What a manifest's pods request, as a component of the same demands; `None` if it has no pods.

    Only name, replicas, bounds, resources, architectures and whether it ends by itself are meaningful.
    """
    spec = pod_spec(manifest.content)
    if spec is None:
        return None
    content = manifest.content["spec"]
    scaler = autoscaler_of(app, manifest)
    bounds = None
    if scaler is not None:
        least, most = scaler.content["spec"].get("minReplicas", 1), scaler.content["spec"]["maxReplicas"]
        bounds = Autoscale(int(least), int(most), 0)
    job = content["jobTemplate"]["spec"] if manifest.kind == "CronJob" else content
    count = job.get("parallelism", 1) if manifest.kind in ("Job", "CronJob") else content.get("replicas", 1)
    return Component(
        f"{manifest.kind}/{manifest.name}",
        next(images_in(spec), ""),
        replicas=int(count),
        resources=_resources(spec),
        autoscale=bounds,
        architectures=architectures_of(manifest),
        schedule=str(content.get("schedule", "")) if manifest.kind == "CronJob" else "",
        run="before-release" if manifest.kind == "Job" else None,
    )


def workloads(app: App) -> tuple[Component, ...]:
    """The app's components and what its manifests request in the same form; no canary, which `shares` counts."""
    found = (workload_of(app, item) for item in app.manifests)
    steady = (part for part in app.components if part.canary is None)
    return (*steady, *(item for item in found if item is not None))


def own_secrets(app: App) -> frozenset[str]:
    """The names of the Secrets of the app that its manifests may refer to."""
    aliases = [use.alias for use in app.uses] + [use.alias for use in app.app_uses]
    bindings = {naming.binding_secret(app.name, alias) for alias in aliases}
    parts = (part for part in app.components if part.secrets)
    return frozenset(bindings | {f"{naming.component_workload(app.name, part.name)}-secrets" for part in parts})


def _resources(spec: Mapping[str, Any]) -> Resources:
    """What one pod requests: its containers together, or the largest of its init containers if that is more."""
    running = [_requested(item) for item in spec["containers"]]
    starting = [_requested(item) for item in spec.get("initContainers") or ()]
    cpu = max(sum((cpu for cpu, _ in running), Decimal(0)), *(cpu for cpu, _ in starting), Decimal(0))
    memory = max(sum((memory for _, memory in running), Decimal(0)), *(most for _, most in starting), Decimal(0))
    return Resources(format_cpu(cpu), format_bytes(memory))


def _requested(container: Mapping[str, Any]) -> tuple[Decimal, Decimal]:
    """CPU and memory that count for a container: a limit of memory counts like a request."""
    stated = container.get("resources") or {}
    requests, limits = stated.get("requests") or {}, stated.get("limits") or {}
    cpu = requests.get("cpu", limits.get("cpu", DEFAULT_REQUESTS["cpu"]))
    memory = limits.get("memory", requests.get("memory", DEFAULT_REQUESTS["memory"]))
    return parse_quantity(str(cpu)), parse_quantity(str(memory))
