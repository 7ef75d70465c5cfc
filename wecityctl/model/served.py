"""What routes and `provides` lead to: a port of a component, or of a Service among the app's manifests.

Pure functions of the files, so that checks, placement, plan and stacks compute the same result independently.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from wecityctl.model import naming
from wecityctl.model.city import App, Component, KubernetesManifest, Platform
from wecityctl.model.manifests import COMPONENT
from wecityctl.model.naming import COMPONENT_LABEL
from wecityctl.model.registries import pod_spec, pod_template, secrets_read


@dataclass(frozen=True, slots=True)
class Served:
    """A port of a Service of the app.

    `port` is the Service's, `pod_port` the one on which its pods listen, for network policies. `labels` select the pods
    among those of the app. `component` is `None` for a Service of the app's manifests.
    """

    service: str
    port: int
    pod_port: int
    labels: Mapping[str, str]
    component: Component | None = None


@dataclass(frozen=True, slots=True)
class Unserved:
    """Why a Service of the manifests serves nothing: the wrong field (`service` or `port`), and what is expected.

    `manifest` is the Service that is there, if it is.
    """

    field: str
    message: str
    expected: str
    known: tuple[str, ...] = ()
    manifest: KubernetesManifest | None = None


def of_component(app: App, component: Component, port: int) -> Served:
    """A port of a component, whose Service has the same ports as its pods."""
    workload = naming.component_workload(app.name, component.name)
    return Served(workload, port, port, {COMPONENT_LABEL: component.name}, component)


def of_route(app: App) -> Served | None:
    """What the app's route leads to; `None` without any, which the checks report."""
    route = app.route
    if route is not None and route.service:
        found = of_service(app, route.service, route.port)
        return found if isinstance(found, Served) else None
    component, port = app.web_component, app.web_port
    return of_component(app, component, port) if component is not None and port is not None else None


def service_of_route(app: App) -> str:
    """The name of the Service that the app's route leads to; empty without any. The app's manifests are not needed."""
    if app.route is not None and app.route.service:
        return app.route.service
    web = app.web_component
    return naming.component_workload(app.name, web.name) if web is not None else ""


def of_service(app: App, name: str, port: str) -> Served | Unserved:
    """A port of the Service `name` of the app's manifests; an empty `port` is its only one.

    A Service that serves others has an address of its own, and selects pods of the app's manifests only.
    """
    services = {item.name: item for item in app.manifests if item.kind == "Service"}
    if name not in services:
        message = f"the app has no manifest of a Service {name!r}"
        return Unserved("service", message, "a Service in a file under `manifests`", tuple(services))
    manifest = services[name]
    spec = manifest.content["spec"]
    selector = dict(spec["selector"])
    behind = tuple(_behind(app, selector))

    def no(field: str, message: str, expected: str, known: tuple[str, ...] = ()) -> Unserved:
        return Unserved(field, message, expected, known, manifest)

    if spec.get("clusterIP") == "None":
        return no("service", f"Service {name!r} has no address of its own", "a Service without `clusterIP: None`")
    if not behind:
        message = f"Service {name!r} selects no pods of a Deployment or StatefulSet of the app's manifests"
        return no("service", message, "labels of such pods in its selector")
    if selector.items() <= app.labels.items():
        message = f"Service {name!r} selects the pods of the app's components, too"
        return no("service", message, "a label in its selector that only pods of manifests have")
    ports = [item for item in spec["ports"] if port in ("", item.get("name"))]
    names = tuple(item["name"] for item in spec["ports"] if "name" in item)
    if not ports:
        return no("port", f"Service {name!r} has no port {port!r}", "a port's name", names)
    if len(ports) > 1:
        return no("port", f"Service {name!r} has {len(ports)} ports", "`port` with the name of one", names)
    numbers = {_pod_port(ports[0], item) for item in behind}
    if None in numbers or len(numbers) > 1:
        target = ports[0].get("targetPort")
        message = f"not all pods behind Service {name!r} have one port {target!r}"
        return no("port", message, "a `targetPort` that is the name of a port of each, or a number")
    return Served(name, int(ports[0]["port"]), int(numbers.pop() or 0), {**selector, COMPONENT_LABEL: COMPONENT})


def holds_certificate(owner: App | Platform, manifest: KubernetesManifest) -> bool:
    """Whether pods of a manifest mount the certificate of the Service that an app's route leads to."""
    spec, route = pod_spec(manifest.content), owner.route if isinstance(owner, App) else None
    if spec is None or route is None or not route.service:
        return False
    return naming.tls_secret(route.service) in secrets_read(spec.get("volumes"))


def pods_behind(app: App, name: str) -> Iterator[KubernetesManifest]:
    """Yield the Deployments and StatefulSets of the app's manifests whose pods the Service `name` selects."""
    for item in app.manifests:
        if item.kind == "Service" and item.name == name:
            yield from _behind(app, dict(item.content["spec"]["selector"]))


def led_to(app: App) -> tuple[KubernetesManifest, ...]:
    """Of the app's manifests, what tells where its route and uses of it lead: Services, labels and ports of pods."""
    names = {item.service for item in app.provides} | {app.route.service if app.route is not None else ""}
    services = [item for item in app.manifests if item.kind == "Service" and item.name in names]
    behind = {item.kind + item.name: item for service in services for item in pods_behind(app, service.name)}
    return (
        *(_bare(item, item.content["spec"]) for item in services),
        *(_bare(item, {"template": _labels_and_ports(item)}) for item in behind.values()),
    )


def _bare(manifest: KubernetesManifest, spec: Mapping[str, Any]) -> KubernetesManifest:
    return KubernetesManifest("", {"kind": manifest.kind, "metadata": {"name": manifest.name}, "spec": spec})


def _labels_and_ports(manifest: KubernetesManifest) -> dict[str, Any]:
    template = pod_template(manifest.content) or {}
    containers = [{"ports": item.get("ports") or []} for item in template["spec"]["containers"]]
    return {"metadata": {"labels": template["metadata"]["labels"]}, "spec": {"containers": containers}}


def _behind(app: App, selector: Mapping[str, str]) -> Iterator[KubernetesManifest]:
    for item in app.manifests:
        template = pod_template(item.content) if item.kind in ("Deployment", "StatefulSet") else None
        labels = ((template or {}).get("metadata") or {}).get("labels") or {}
        if template is not None and selector.items() <= labels.items():
            yield item


def _pod_port(port: Mapping[str, Any], manifest: KubernetesManifest) -> int | None:
    """The number of the port of a workload's pods to which a port of a Service leads; `None` without such a port."""
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    containers = (pod_spec(manifest.content) or {}).get("containers", ())
    named = (item for container in containers for item in container.get("ports") or () if item.get("name") == target)
    return next((int(item["containerPort"]) for item in named), None)
