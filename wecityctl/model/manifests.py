"""Kubernetes manifests of apps and platforms: which kinds they may be of, what they refer to, what their pods request.

Pure functions. `spec.checks.manifests` checks the content before it becomes part of the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from wecityctl.model import naming
from wecityctl.model.city import (
    App,
    Autoscale,
    Capability,
    City,
    Component,
    KubernetesManifest,
    Platform,
    Resources,
    Strategy,
)
from wecityctl.model.quantity import format_bytes, format_cpu, parse_quantity
from wecityctl.model.registries import CATALOGUE_PREFIX, images_in, pod_spec

# What an app or a platform may have, by kind, with the API version that it is written in.
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
# The label `component` of their pods. No component has this name, so that no Service of a component finds them.
COMPONENT = "Manifest"
# What a container requests that says nothing, as a component does.
DEFAULT_REQUESTS = {"cpu": "100m", "memory": "128Mi"}


def images_of(owner: App | Platform) -> tuple[str, ...]:
    """The images of an app's components and of an owner's manifests, as the files name them."""
    specs = (pod_spec(item.content) for item in owner.manifests)
    found = (image for spec in specs if spec is not None for image in images_in(spec))
    components = owner.components if isinstance(owner, App) else ()
    return (*(part.image for part in components), *found)


def owners(city: City) -> Iterator[App | Platform]:
    """Yield whatever may have manifests."""
    yield from city.apps
    yield from city.platforms


def catalogue_images(owner: App | Platform) -> Iterator[str]:
    """Yield the names of the catalogue images among those of the app, or of a platform's manifests."""
    return (item.removeprefix(CATALOGUE_PREFIX) for item in images_of(owner) if item.startswith(CATALOGUE_PREFIX))


def namespaces_of(platform: Platform) -> tuple[str, ...]:
    """The namespaces of a platform in which its manifests may be: those of its capabilities, in the files' order."""
    return tuple(dict.fromkeys(naming.platform_namespace(platform.name, item.zone) for item in platform.capabilities))


def default_namespace(platform: Platform) -> str:
    """The namespace of a platform's manifests that state none: its only one, or the one that is of no zone.

    Empty if there are several, each of a zone.
    """
    found, plain = namespaces_of(platform), naming.platform_namespace(platform.name)
    return found[0] if len(found) == 1 else plain if plain in found else ""


def host_of(platform: Platform, manifest: KubernetesManifest) -> Capability:
    """The capability beside which a platform's manifest runs: the first in its namespace, which the checks require."""
    namespace = manifest.content["metadata"].get("namespace") or default_namespace(platform)
    return next(
        item for item in platform.capabilities if naming.platform_namespace(platform.name, item.zone) == namespace
    )


def architectures_of(manifest: KubernetesManifest) -> tuple[str, ...]:
    """The CPU architectures of a manifest's images: those that its node selector names, or amd64 as for components."""
    spec = pod_spec(manifest.content) or {}
    chosen = (spec.get("nodeSelector") or {}).get(ARCHITECTURE_LABEL)
    return (str(chosen),) if chosen else ("amd64",)


def ports_of(manifests: Iterable[KubernetesManifest]) -> tuple[int, ...]:
    """The TCP ports of the containers in manifests."""
    specs = (pod_spec(item.content) for item in manifests)
    containers = (container for spec in specs if spec is not None for container in spec["containers"])
    return tuple(sorted({int(port["containerPort"]) for item in containers for port in item.get("ports") or ()}))


def autoscaler_of(owner: App | Platform, manifest: KubernetesManifest) -> KubernetesManifest | None:
    """The HorizontalPodAutoscaler among the owner's manifests that scales `manifest`; `None` without one."""
    for item in owner.manifests:
        target = item.content.get("spec", {}).get("scaleTargetRef") if item.kind == "HorizontalPodAutoscaler" else None
        if target and (target.get("kind"), target.get("name")) == (manifest.kind, manifest.name):
            return item
    return None


def workload_of(owner: App | Platform, manifest: KubernetesManifest) -> Component | None:
    """What a manifest's pods request, as a component of the same demands; `None` if it has no pods.

    Only name, replicas, bounds, resources, architectures, how it is replaced and whether it ends by itself are
    meaningful.
    """
    spec = pod_spec(manifest.content)
    if spec is None:
        return None
    content = manifest.content["spec"]
    scaler = autoscaler_of(owner, manifest)
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
        strategy=Strategy("recreate") if _ends_before_it_begins(manifest) else None,
    )


def _ends_before_it_begins(manifest: KubernetesManifest) -> bool:
    """Whether an update ends each pod before it starts another in its place."""
    strategy = manifest.content["spec"].get("strategy") or {}
    return manifest.kind == "StatefulSet" or (manifest.kind == "Deployment" and strategy.get("type") == "Recreate")


def workloads(app: App) -> tuple[Component, ...]:
    """The app's components and what its manifests request in the same form; no canary, which `shares` counts."""
    found = (workload_of(app, item) for item in app.manifests)
    steady = (part for part in app.components if part.canary is None)
    return (*steady, *(item for item in found if item is not None))


def own_secrets(app: App | Platform) -> frozenset[str]:
    """The names of the Secrets of the app that its manifests may refer to; those of a platform refer to none."""
    if isinstance(app, Platform):
        return frozenset()
    aliases = [use.alias for use in app.uses] + [use.alias for use in app.app_uses]
    bindings = {naming.binding_secret(app.name, alias) for alias in aliases}
    if app.route is not None and app.route.service and app.route.tls:
        bindings.add(naming.tls_secret(app.route.service))
    parts = (part for part in app.components if part.secrets)
    return frozenset(bindings | {f"{naming.component_workload(app.name, part.name)}-secrets" for part in parts})


def _resources(spec: Mapping[str, Any]) -> Resources:
    """What one pod requests: its containers together, or while it begins, if that is more.

    Init containers run one after another; those with `restartPolicy: Always` stay and count beside all that follow.
    """
    staying, most = (Decimal(0), Decimal(0)), (Decimal(0), Decimal(0))
    for item in spec.get("initContainers") or ():
        wanted = _requested(item)
        moment = (staying[0] + wanted[0], staying[1] + wanted[1])
        most = (max(most[0], moment[0]), max(most[1], moment[1]))
        if item.get("restartPolicy") == "Always":
            staying = moment
    running = [staying, *map(_requested, spec["containers"])]
    cpu, memory = (sum((item[index] for item in running), Decimal(0)) for index in (0, 1))
    return Resources(format_cpu(max(cpu, most[0])), format_bytes(max(memory, most[1])))


def _requested(container: Mapping[str, Any]) -> tuple[Decimal, Decimal]:
    """CPU and memory that count for a container: a limit of memory counts like a request."""
    stated = container.get("resources") or {}
    requests, limits = stated.get("requests") or {}, stated.get("limits") or {}
    cpu = requests.get("cpu", limits.get("cpu", DEFAULT_REQUESTS["cpu"]))
    memory = limits.get("memory", requests.get("memory", DEFAULT_REQUESTS["memory"]))
    return parse_quantity(str(cpu)), parse_quantity(str(memory))
