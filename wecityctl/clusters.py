"""From a city's clouds to clusters that can be worked with: starts the embedded ones, looks at the others.

One cloud that cannot be reached never spoils another's: it is reported with its reason, and its own stacks fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from wecityctl.errors import ConfigurationError, WecityError
from wecityctl.inputs import Cluster
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import City, Cloud, NodeKind
from wecityctl.model.events import Diagnostic, Event, Progress, Sink

CONTROL_PLANE_PARTS = ("etcd", "kubernetes", "metrics-server")
REAL_NODE_PARTS = ("containerd", "coredns", "runc", "cni-plugins", "nft", "conntrack")
SIMULATED_NODE_PARTS = ("kwok",)
# What the node itself runs, whatever the city asks for.
NODE_IMAGES = frozenset({"pause", "coredns"})

if TYPE_CHECKING:
    from wecityctl.local.spec import CloudSpec, ImageRef, LocalEvent, RunningCloud
    from wecityctl.oci import ImageEvent
    from wecityctl.parts import PartEvent


@dataclass(frozen=True, slots=True)
class Clusters:
    """The clusters that answer, by cloud name, and for each other cloud the error that says why it does not."""

    found: Mapping[str, Cluster] = field(default_factory=dict)
    failed: Mapping[str, WecityError] = field(default_factory=dict)


def local_name(city: City, cloud: Cloud) -> str:
    """The name of the embedded cloud behind a city's cloud: two cities may both call theirs `main`."""
    return f"{city.name}-{cloud.name}"


def open_clusters(city: City, catalogue: Catalogue, sink: Sink, *, start: bool) -> Clusters:
    """Reach every cloud of `city`. With `start`, embedded clouds are started and given the images they need."""
    found: dict[str, Cluster] = {}
    failed: dict[str, WecityError] = {}
    for cloud in city.clouds:
        try:
            cluster = _open(city, cloud, catalogue, sink, start)
        except WecityError as error:
            failed[cloud.name] = error
        else:
            if cluster is not None:
                found[cloud.name] = cluster
    return Clusters(MappingProxyType(found), MappingProxyType(failed))


def _open(city: City, cloud: Cloud, catalogue: Catalogue, sink: Sink, start: bool) -> Cluster | None:
    if cloud.provider == "local":
        return _open_local(city, cloud, catalogue, sink, start)
    if cloud.provider == "kubernetes":
        return _open_adopted(cloud)
    raise ConfigurationError(
        f"cloud {cloud.name!r}: provider {cloud.provider!r} is not built in yet",
        resolution="use provider local, or kubernetes with a context of an existing cluster",
    )


def _open_adopted(cloud: Cloud) -> Cluster:
    """An existing cluster: its identity and version tell that it can be reached with these credentials."""
    from wecityctl.kube.client import KubeClient
    from wecityctl.kube.config import load_access
    from wecityctl.kube.errors import no_api_server
    from wecityctl.kube.export import kubeconfig_text
    from wecityctl.kube.resource import meta
    from wecityctl.kube.transport import HttpPool

    settings = cloud.kubernetes
    access = load_access(settings.kubeconfig or None, settings.context or None)

    async def look() -> tuple[str, str]:
        async with HttpPool() as pool:
            client = KubeClient(access, pool)
            version = await client.version()
            system = await client.request("GET", "/api/v1/namespaces/kube-system", retry_seconds=5.0)
            uid = meta(system).get("uid")
            if not uid:
                raise no_api_server(access.server, "namespace kube-system has no UID")
            return str(uid), str(version.get("gitVersion", ""))

    identifier, version = asyncio.run(look())
    return Cluster(
        cloud=cloud.name,
        kubeconfig=kubeconfig_text(access),
        context=access.context,
        identifier=identifier,
        storage_class=settings.storage_class,
        ingress_class=settings.ingress_class,
        kubernetes_version=version,
    )


def _open_local(city: City, cloud: Cloud, catalogue: Catalogue, sink: Sink, start: bool) -> Cluster | None:
    """The embedded cloud: started when asked, otherwise as it is; `None` while it does not run."""
    from wecityctl.local import cloud as embedded

    name = local_name(city, cloud)
    running = _start_local(city, cloud, catalogue, sink) if start else embedded.connect(name)
    if running is None:
        return None
    return Cluster(
        cloud=cloud.name,
        kubeconfig=running.kubeconfig,
        context=running.context,
        identifier=running.cluster_uid,
        simulated=running.simulated,
        address=running.gateway_address,
        kubernetes_version=running.kubernetes_version,
    )


def _start_local(city: City, cloud: Cloud, catalogue: Catalogue, sink: Sink) -> RunningCloud:
    from wecityctl.local import cloud as embedded

    name = local_name(city, cloud)
    nodes = node_kind(cloud, sink)
    _ensure_parts(nodes == "real", sink)
    images = _ensure_images(city, catalogue, sink) if nodes == "real" else ()
    return embedded.start(_local_spec(name, cloud, nodes, images), lambda event: sink(_local_progress(name, event)))


def node_kind(cloud: Cloud, sink: Sink) -> NodeKind:
    """Real nodes where the files ask for them and this machine can carry them, otherwise simulated ones, said aloud."""
    if cloud.local.nodes == "simulated":
        return "simulated"
    from wecityctl.local.drivers import node_driver

    try:
        node_driver().check()
    except WecityError as error:
        reason = " ".join(part for part in (error.message, error.details) if part)
        sink(Diagnostic("", "warning", f"cloud {cloud.name}: nodes are simulated, because {reason}"))
        return "simulated"
    return "real"


def _ensure_parts(real: bool, sink: Sink) -> None:
    """The control plane's programs, and for a real node its own."""
    from wecityctl import parts

    wanted = CONTROL_PLANE_PARTS + (REAL_NODE_PARTS if real else SIMULATED_NODE_PARTS)
    parts.ensure(wanted, lambda event: sink(_part_progress(event)))


def _ensure_images(city: City, catalogue: Catalogue, sink: Sink) -> tuple[ImageRef, ...]:
    """The images that pods of this city name, built where they are missing, for the node to import."""
    from wecityctl import oci
    from wecityctl.local.spec import ImageRef

    names = image_names(city, catalogue) if city.images.source == "built" else set()
    built = oci.ensure(sorted(names | NODE_IMAGES), lambda event: sink(_image_progress(event)))
    return tuple(ImageRef(image.reference, image.archive, image.digest) for image in built.values())


def _part_progress(event: PartEvent) -> Progress:
    done = event.phase.value in ("ready", "failed")
    return Progress(event.part, event.phase.value, event.detail, done, event.elapsed)


def _image_progress(event: ImageEvent) -> Progress:
    done = event.phase.value in ("cached", "built")
    return Progress(f"image {event.image}", event.phase.value, event.message, done, event.seconds)


def _local_progress(name: str, event: LocalEvent) -> Event:
    if event.kind in ("death", "warning"):
        return Diagnostic("", "warning", "\n".join((event.message, *event.lines)))
    return Progress(f"cloud {name}", event.message, event.service, event.kind in ("ready", "stopped"), event.seconds)


def image_references(city: City, catalogue: Catalogue) -> Mapping[str, str]:
    """The references of every image that the catalogue's types or the city's apps name."""
    from wecityctl import oci

    return {
        name: oci.reference(name, source=city.images.source, registry=city.images.registry)
        for name in sorted(image_names(city, catalogue))
    }


def image_names(city: City, catalogue: Catalogue) -> set[str]:
    """The catalogue images that this city needs."""
    named = {image for item in city.capabilities for image in catalogue[item.type].images}
    prefix = "catalogue:"
    components = (component for app in city.apps for component in app.components)
    return named | {part.image.removeprefix(prefix) for part in components if part.image.startswith(prefix)}


def _local_spec(name: str, cloud: Cloud, nodes: NodeKind, images: tuple[ImageRef, ...]) -> CloudSpec:
    from wecityctl.local.spec import CloudSpec, PoolSpec

    pools = tuple(
        PoolSpec(
            name=pool.name,
            architecture=pool.architecture,
            nodes=pool.nodes,
            cpu=pool.cpu,
            memory=pool.memory,
            storage=pool.storage,
            zones=cloud.zones,
            labels=pool.labels,
            accelerators=pool.accelerators,
        )
        for pool in cloud.pools
    )
    return CloudSpec(name, nodes, cloud.zones, pools, images)
