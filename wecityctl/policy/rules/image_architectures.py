"""Every image covers every CPU architecture of the nodes that its pods may land on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wecityctl.model.city import App, Cloud
from wecityctl.model.manifests import COMPONENT, architectures_of
from wecityctl.model.naming import COMPONENT_LABEL, NAME_LABEL, PART_OF_LABEL
from wecityctl.model.registries import is_of_catalogue
from wecityctl.policy.model import Finding, PolicyInput, Rule
from wecityctl.policy.objects import Source, Workload, labels_of, source_of, workloads

WHY = """\
A city's pools mix architectures: amd64 beside the arm64 of domestic hardware 信创. The scheduler knows nothing of what
an image was built for, so a pod that lands on a node of another architecture starts and fails at once, often only when
a node is lost or a pool grows. Every image must therefore cover every architecture of the pools that its pods may land
on: those of its cloud that serve its zone, less those that the pod's own node affinity excludes. An app's images cover
what its components declare, the city's own images what images.architectures says, those of a capability as far as its
type has images for them. Where nodes are not declared and the
pod does not say where it may run, the answer is unknown, and unknown fails."""

ARCHITECTURE_LABEL = "kubernetes.io/arch"


def check(policy_input: PolicyInput) -> Iterator[Finding]:
    """Workloads whose pods may meet an architecture that one of their images does not cover."""
    apps = {(app.tenant, app.name): app for app in policy_input.city.apps}
    for workload in workloads(policy_input):
        labels = labels_of(workload.resource)
        app = apps.get((labels.get(PART_OF_LABEL, ""), labels.get(NAME_LABEL, "")))
        yield from _judge(policy_input, workload, app)


def _judge(policy_input: PolicyInput, workload: Workload, app: App | None) -> Iterator[Finding]:
    source = source_of(policy_input, workload.resource)
    offered = _offered(policy_input.city.cloud(workload.cloud), _zone(policy_input, source, app))
    allowed = _allowed(workload.pod)
    if offered is None and allowed is None:
        message = (
            f"{workload.resource.name} may land on nodes of any architecture: {workload.cloud!r} declares no pools"
        )
        yield _finding(workload, source, message, "declare the cloud's pools with their architectures")
        return
    reached = (allowed if offered is None else offered if allowed is None else offered & allowed) or frozenset()
    if not reached:
        message = f"no pool that may carry {workload.resource.name} has an architecture of {_words(allowed)}"
        yield _finding(workload, source, message, "add an architecture to the image, or a pool to the cloud")
    for container in workload.containers:
        image = str(container.get("image", ""))
        missing = reached - _covered(policy_input, app, workload, container)
        if missing:
            message = f"{workload.resource.name} may land on {_words(missing)}, which image {image} does not cover"
            yield _finding(workload, source, message, _advice(policy_input, app, image))


def _zone(policy_input: PolicyInput, source: Source, app: App | None) -> str:
    if app is not None:
        return app.zone
    names = (item for item in policy_input.city.capabilities if source.subject == f"capability {item.name}")
    return next((item.zone for item in names), "")


def _offered(cloud: Cloud, zone: str) -> frozenset[str] | None:
    """The architectures of the cloud's pools that serve the zone; `None` where it declares none."""
    serving = [pool for pool in cloud.pools if not zone or not pool.zones or zone in pool.zones]
    return frozenset(pool.architecture for pool in serving) if cloud.pools else None


def _allowed(pod: Mapping[str, Any]) -> frozenset[str] | None:
    """The architectures to which the pod confines itself; `None`: any. Terms are alternatives, so one open term opens
    all."""
    selected = (pod.get("nodeSelector") or {}).get(ARCHITECTURE_LABEL)
    if selected:
        return frozenset({str(selected)})
    affinity = (pod.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = [_named(term) for term in required.get("nodeSelectorTerms") or ()]
    if not terms or any(term is None for term in terms):
        return None
    return frozenset().union(*(term for term in terms if term is not None))


def _named(term: Mapping[str, Any]) -> frozenset[str] | None:
    for expression in term.get("matchExpressions") or ():
        if expression.get("key") == ARCHITECTURE_LABEL and expression.get("operator") == "In":
            return frozenset(map(str, expression.get("values") or ()))
    return None


def _covered(
    policy_input: PolicyInput, app: App | None, workload: Workload, container: Mapping[str, Any]
) -> frozenset[str]:
    """The architectures that the image is known to cover."""
    image, name = str(container.get("image", "")), str(container.get("name", ""))
    ours = frozenset(policy_input.city.images.architectures)
    called = (workload.resource.inputs.get("kind"), workload.resource.name.rpartition("/")[2])
    labels = labels_of(workload.resource)
    of_platforms = labels.get(COMPONENT_LABEL) == COMPONENT
    owners = (item for item in policy_input.city.platforms if of_platforms and item.name == labels.get(PART_OF_LABEL))
    owner = app if app is not None else next(owners, None)
    manifests = owner.manifests if owner is not None else ()
    manifest = next((item for item in manifests if (item.kind, item.name) == called), None)
    if manifest is not None:
        declared = frozenset(architectures_of(manifest))
        return declared & ours if image in policy_input.images.values() else declared
    part = next((item for item in app.components if item.name == name), None) if app is not None else None
    if part is None:
        # A container of the platform, or of a Job that serves the app: known only if the image is one of the city's
        # own.
        return ours & _built_for(policy_input, image)
    declared = frozenset(part.architectures)
    return declared & ours if is_of_catalogue(part.image) else declared


def _built_for(policy_input: PolicyInput, image: str) -> frozenset[str]:
    """The architectures for which an image of the city exists: those of the capability type whose image it is."""
    names = {name for name, reference in policy_input.images.items() if reference == image}
    types = [kind.architectures for kind in policy_input.catalogue.values() if names.intersection(kind.images)]
    if types:
        return frozenset.intersection(*map(frozenset, types))
    return frozenset(policy_input.city.images.architectures) if names else frozenset()


def _advice(policy_input: PolicyInput, app: App | None, image: str) -> str:
    if app is None or image in policy_input.images.values():
        return "build the image for it and add it to the City's spec.images.architectures"
    return "build the image for it and add it to the component's architectures"


def _finding(workload: Workload, source: Source, message: str, resolution: str) -> Finding:
    return Finding(source.subject, message, resolution, workload.stack, source.document, source.path)


def _words(names: frozenset[str] | None) -> str:
    return ", ".join(sorted(names or ())) or "any kind"


RULE = Rule(
    name="image-architectures",
    title="Images cover the architectures they may land on 镜像覆盖多种架构",
    why=WHY,
    check=check,
    controls=("8.1.4.4 入侵防范",),
)
