"""A city's embedded clouds: their names, starting them with the required programs and images, and their last state."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wecityctl.cancellation import check, in_context
from wecityctl.clusters.progress import cloud_progress, image_progress, part_progress
from wecityctl.errors import WecityError
from wecityctl.image_references import image_names
from wecityctl.inputs import Cluster
from wecityctl.model import naming
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import City, Cloud, NodeKind
from wecityctl.model.events import Diagnostic, Emit

if TYPE_CHECKING:
    from wecityctl.local.spec import CloudSpec, ImageRef, RunningCloud

CONTROL_PLANE_PARTS = ("etcd", "kubernetes", "metrics-server")
REAL_NODE_PARTS = ("containerd", "coredns", "runc", "cni-plugins", "nft", "conntrack")
SIMULATED_NODE_PARTS = ("kwok",)
# Images that every node runs, in addition to those of the city.
NODE_IMAGES = frozenset({"pause", "coredns"})
# How many control planes start at the same time; more would only compete for CPU and memory.
_STARTS = 4


def local_name(city: City, cloud: Cloud) -> str:
    """Return the name of the embedded cloud behind a city's cloud."""
    return naming.embedded_cloud(city.name, cloud.name)


def require_own(city: City, cloud: Cloud) -> str:
    """Return the name of the embedded cloud behind a city's cloud.

    Raises `ConfigurationError` if an embedded cloud of that name is another city's.
    """
    from wecityctl.local import cloud as local_cloud

    name = local_name(city, cloud)
    local_cloud.require_owner(name, naming.embedded_cloud_owner(city.name, cloud.name))
    return name


def must_start(city: City) -> bool:
    """Whether an embedded cloud of the city is not running."""
    from wecityctl.local import cloud as local_cloud

    clouds = [cloud for cloud in city.clouds if cloud.provider == "local"]
    return not all(local_cloud.is_running(local_name(city, cloud)) for cloud in clouds)


def start_simulated(city: City, catalogue: Catalogue, emit: Emit) -> Mapping[str, Future[Cluster | None]]:
    """Start several clouds of simulated nodes in parallel, and return the completed starts.

    Real nodes are not started in parallel, because they share more of the machine.
    """
    clouds = [cloud for cloud in city.clouds if cloud.provider == "local" and cloud.local.nodes == "simulated"]
    if len(clouds) < 2:
        return {}
    with suppress(WecityError):
        # Done once for all of them; each cloud's own start reports what is missing.
        _ensure_parts(real=False, emit=emit)
    with ThreadPoolExecutor(_STARTS, thread_name_prefix="start") as starters:
        starts = {
            cloud.name: starters.submit(in_context(open_embedded), city, cloud, catalogue, emit, start=True)
            for cloud in clouds
        }
        try:
            wait(starts.values())
        except BaseException:
            starters.shutdown(wait=False, cancel_futures=True)
            raise
    return starts


def open_embedded(city: City, cloud: Cloud, catalogue: Catalogue, emit: Emit, start: bool) -> Cluster | None:
    """Return the embedded cloud's cluster, started if `start` is set; `None` if it is not running."""
    from wecityctl.local import cloud as local_cloud

    name = require_own(city, cloud)
    running = _start_local(city, cloud, catalogue, emit) if start else local_cloud.connect(name)
    return _local_cluster(cloud, running) if running is not None else None


def last_known(city: City, cloud: Cloud) -> Cluster | None:
    """Return the cluster of a stopped embedded cloud; `None` for one that never ran on this machine."""
    from wecityctl.local import cloud as local_cloud

    last = local_cloud.last_known(require_own(city, cloud))
    return _local_cluster(cloud, last) if last is not None else None


def _local_cluster(cloud: Cloud, running: RunningCloud) -> Cluster:
    return Cluster(
        cloud=cloud.name,
        kubeconfig=running.kubeconfig,
        context=running.context,
        identifier=running.cluster_uid,
        simulated=running.simulated,
        address=running.gateway_address,
        kubernetes_version=running.kubernetes_version,
        sources=(running.pod_cidr,),
        networks=running.networks,
        api_servers=() if running.simulated else (urlsplit(running.server).netloc,),
    )


def _start_local(city: City, cloud: Cloud, catalogue: Catalogue, emit: Emit) -> RunningCloud:
    from wecityctl.local import cloud as local_cloud

    check()
    name = local_name(city, cloud)
    nodes = node_kind(cloud, emit)
    _ensure_parts(nodes == "real", emit)
    images = _ensure_images(city, catalogue, emit) if nodes == "real" else ()
    spec = replace(_local_spec(name, cloud, nodes, images), owner=naming.embedded_cloud_owner(city.name, cloud.name))
    return local_cloud.start(spec, lambda event: emit(cloud_progress(name, event)))


def node_kind(cloud: Cloud, emit: Emit) -> NodeKind:
    """Return real nodes if the files ask for them and this machine supports them; otherwise simulated ones, with a
    warning.
    """
    if cloud.local.nodes == "simulated":
        return "simulated"
    from wecityctl.local.drivers import node_driver

    try:
        node_driver().check()
    except WecityError as error:
        reason = ": ".join(part for part in (error.message, "; ".join(error.details.splitlines())) if part)
        hint = "see `wecityctl doctor`; `wecityctl engine install` installs programs that are missing"
        emit(Diagnostic("", "warning", f"cloud {cloud.name}: nodes are simulated, because {reason}: {hint}"))
        return "simulated"
    return "real"


def _ensure_parts(real: bool, emit: Emit) -> None:
    """Install the programs of the control plane and, for a real node, those of the node."""
    from wecityctl import toolchain

    wanted = CONTROL_PLANE_PARTS + (REAL_NODE_PARTS if real else SIMULATED_NODE_PARTS)
    toolchain.ensure(wanted, lambda event: emit(part_progress(event)))


def _ensure_images(city: City, catalogue: Catalogue, emit: Emit) -> tuple[ImageRef, ...]:
    """Return the images that pods of this city use, built if missing, for import into the node."""
    from wecityctl import oci
    from wecityctl.local.spec import ImageRef

    names = image_names(city, catalogue) if city.images.source == "built" else set()
    built = oci.ensure(sorted(names | NODE_IMAGES), lambda event: emit(image_progress(event)))
    return tuple(ImageRef(image.reference, image.archive, image.digest) for image in built.values())


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
            zones=pool.zones or cloud.zones,
            labels=pool.labels,
            accelerators=pool.accelerators,
        )
        for pool in cloud.pools
    )
    if nodes == "simulated" and not pools:
        # Without a node no pod would ever be ready.
        pools = (PoolSpec("general", zones=cloud.zones),)
    return CloudSpec(name, nodes, cloud.zones, pools, images)
