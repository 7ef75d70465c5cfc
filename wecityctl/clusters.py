"""From a city's clouds to clusters that can be worked with: starts the embedded ones, asks the others who they are.

One cloud that cannot be reached never spoils another's: it is reported with its reason, and its own stacks fail.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
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
# How long the API server of a landing zone that was just made may take to answer.
FRESH_SECONDS = 120.0
_GRACE = 2.0
# Control planes that start side by side; more of them would only wait for processors and memory.
_STARTS = 4

if TYPE_CHECKING:
    from wecityctl.engine.backend import Backend
    from wecityctl.kube.config import Access
    from wecityctl.kube.identify import Identity
    from wecityctl.local.spec import CloudSpec, ImageRef, LocalEvent, RunningCloud
    from wecityctl.model.outputs import LandingOutputs
    from wecityctl.oci import ImageEvent
    from wecityctl.parts import PartEvent


@dataclass(frozen=True, slots=True)
class Clusters:
    """The clusters that answer, by cloud name, and for each other cloud the error that says why it does not.

    `stopped` are embedded clouds that do not run, as they were when they last did: `up` starts them.
    `landed` is what landing zones have put out, as the state has it.
    """

    found: Mapping[str, Cluster] = field(default_factory=dict)
    failed: Mapping[str, WecityError] = field(default_factory=dict)
    stopped: Mapping[str, Cluster] = field(default_factory=dict)
    landed: Mapping[str, LandingOutputs] = field(default_factory=dict)


def told_of_their_clouds(failed: Mapping[str, WecityError]) -> Mapping[str, WecityError]:
    """The errors, each with its cloud's name before a message that does not have it."""
    for name, error in failed.items():
        if not error.message.startswith("cloud ") and f"cloud {name}" not in error.message:
            error.message = f"cloud {name}: {error.message}"
            error.args = (error.message,)
    return failed


def local_name(city: City, cloud: Cloud) -> str:
    """The name of the embedded cloud behind a city's cloud: two cities may both call theirs `main`."""
    return f"{city.name}-{cloud.name}"


def open_clusters(
    city: City, catalogue: Catalogue, sink: Sink, *, start: bool, backend: Backend | None = None
) -> Clusters:
    """Reach every cloud of `city`, those elsewhere side by side and each in bounded time.

    With `start`, embedded clouds are started, those of simulated nodes side by side, and given the images they need. A
    vendor's cloud is reached with the kubeconfig that its landing zone left in the state (of `backend`, or else of the
    city's own); while there is none, the cloud is neither found nor failed, as an embedded one that was never started.
    """
    from wecityctl.kube.identify import patience

    seconds, sink = patience(), _one_at_a_time(sink)
    access = _Landed(city, backend)
    openings = {
        cloud.name: _in_background(partial(_open_elsewhere, cloud, access, seconds))
        for cloud in city.clouds
        if cloud.provider != "local"
    }
    found: dict[str, Cluster] = {}
    failed: dict[str, WecityError] = {}
    stopped: dict[str, Cluster] = {}
    starts = _start_simulated(city, catalogue, sink) if start else {}
    for cloud in sorted(city.clouds, key=lambda cloud: cloud.provider != "local"):
        try:
            if cloud.name in openings:
                cluster = _await(openings[cloud.name], cloud, seconds)
            elif cloud.name in starts:
                cluster = starts[cloud.name].result()
            else:
                cluster = _open_local(city, cloud, catalogue, sink, start)
            if cluster is None and cloud.provider == "local" and (last := _last_known(city, cloud)) is not None:
                stopped[cloud.name] = last
        except WecityError as error:
            failed[cloud.name] = error
        else:
            if cluster is not None:
                found[cloud.name] = cluster
    order = [cloud.name for cloud in city.clouds]
    return Clusters(
        MappingProxyType({name: found[name] for name in order if name in found}),
        MappingProxyType({name: failed[name] for name in order if name in failed}),
        MappingProxyType(stopped),
        MappingProxyType({name: access.found[name] for name in order if name in access.found}),
    )


def must_start(city: City) -> bool:
    """Whether an embedded cloud of the city does not run."""
    from wecityctl.local import cloud as embedded

    clouds = [cloud for cloud in city.clouds if cloud.provider == "local"]
    return not all(embedded.is_running(local_name(city, cloud)) for cloud in clouds)


def open_landed(cloud: Cloud, kubeconfig: str, *, fresh: bool = False) -> Cluster:
    """The cluster that a landing zone gave a kubeconfig for. A `fresh` one is given time to begin to answer.

    Raises what keeps it from answering.
    """
    from wecityctl.kube.config import load_access
    from wecityctl.kube.identify import identify, identify_new, patience

    if not kubeconfig.strip():
        raise ConfigurationError(
            f"the landing zone of cloud {cloud.name} gave no kubeconfig",
            resolution="see that the account may read the cluster's credentials; then run with --no-skip",
        )
    access, seconds = load_access(kubeconfig), patience()
    found = identify_new(access, seconds, FRESH_SECONDS) if fresh else identify(access, seconds)
    return _cluster(cloud, access, found)


class _Landed:
    """What landing zones have put out, by cloud: the state is opened once, and only for a city that has some."""

    def __init__(self, city: City, backend: Backend | None) -> None:
        self._city = city
        self._backend = backend
        self._lock = threading.Lock()
        self.found: dict[str, LandingOutputs] = {}

    def kubeconfig(self, cloud: Cloud) -> str | None:
        """What the state has for `cloud`; `None` before its landing zone is up."""
        from wecityctl.engine.backend import open_backend
        from wecityctl.engine.landing import kept_outputs

        with self._lock:
            self._backend = self._backend or open_backend(self._city)
            found = kept_outputs(self._backend, cloud.name)
            if found is None:
                return None
            self.found[cloud.name] = found
            return found.kubeconfig


def _in_background(work: Callable[[], Cluster | None]) -> Future[Cluster | None]:
    """Run `work` in a thread that nobody has to wait for: a name server that does not answer holds it for long."""
    future: Future[Cluster | None] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _start_simulated(city: City, catalogue: Catalogue, sink: Sink) -> Mapping[str, Future[Cluster | None]]:
    """The starts of several clouds of simulated nodes, all of them over; real ones share more of the machine."""
    clouds = [cloud for cloud in city.clouds if cloud.provider == "local" and cloud.local.nodes == "simulated"]
    if len(clouds) < 2:
        return {}
    with suppress(WecityError):
        # Once for all of them; what is missing is told by each cloud's own start.
        _ensure_parts(real=False, sink=sink)
    with ThreadPoolExecutor(_STARTS, thread_name_prefix="start") as starters:
        starts = {
            cloud.name: starters.submit(_open_local, city, cloud, catalogue, sink, start=True) for cloud in clouds
        }
        try:
            wait(starts.values())
        except BaseException:
            starters.shutdown(wait=False, cancel_futures=True)
            raise
    return starts


def _one_at_a_time(sink: Sink) -> Sink:
    """`sink` for several threads."""
    lock = threading.Lock()

    def tell(event: Event) -> None:
        with lock:
            sink(event)

    return tell


def _await(opening: Future[Cluster | None], cloud: Cloud, seconds: float) -> Cluster | None:
    try:
        return opening.result(seconds + _GRACE)
    except FutureTimeoutError as error:
        from wecityctl.kube.identify import silent

        raise silent(f"the cluster of cloud {cloud.name}", seconds) from error


def _open_elsewhere(cloud: Cloud, landed: _Landed, seconds: float) -> Cluster | None:
    """A vendor's cluster, or one that was there before: its identity and version tell that it can be reached."""
    from wecityctl.kube.config import load_access
    from wecityctl.kube.identify import identify
    from wecityctl.kube.trust import VARIABLE, require_trusted
    from wecityctl.parts.settings import is_set

    if cloud.has_landing_zone:
        kubeconfig = landed.kubeconfig(cloud)
        return open_landed(cloud, kubeconfig) if kubeconfig is not None else None
    settings = cloud.kubernetes
    access = load_access(settings.kubeconfig or None, settings.context or None)
    if settings.kubeconfig and not is_set(VARIABLE, os.environ):
        require_trusted(access, Path(settings.kubeconfig).expanduser(), Path(settings.named_in))
    return _cluster(cloud, access, identify(access, seconds))


def _cluster(cloud: Cloud, access: Access, found: Identity) -> Cluster:
    from wecityctl.kube.export import kubeconfig_text

    return Cluster(
        cloud=cloud.name,
        kubeconfig=kubeconfig_text(access),
        context=access.context,
        identifier=found.uid,
        storage_class=cloud.kubernetes.storage_class,
        ingress_class=cloud.kubernetes.ingress_class,
        kubernetes_version=found.version,
    )


def _open_local(city: City, cloud: Cloud, catalogue: Catalogue, sink: Sink, start: bool) -> Cluster | None:
    """The embedded cloud: started when asked, otherwise as it is; `None` while it does not run."""
    from wecityctl.local import cloud as embedded

    name = local_name(city, cloud)
    running = _start_local(city, cloud, catalogue, sink) if start else embedded.connect(name)
    return _local_cluster(cloud, running) if running is not None else None


def _last_known(city: City, cloud: Cloud) -> Cluster | None:
    """The cluster of an embedded cloud that is stopped; `None` for one that never ran on this machine."""
    from wecityctl.local import cloud as embedded

    last = embedded.last_known(local_name(city, cloud))
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

    images = city.images
    found = {
        name: oci.reference(name, source=images.source, registry=images.registry)
        for name in sorted(image_names(city, catalogue))
    }
    return {
        name: f"{reference}@{images.digests[name]}" if name in images.digests and "@" not in reference else reference
        for name, reference in found.items()
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
            zones=pool.zones or cloud.zones,
            labels=pool.labels,
            accelerators=pool.accelerators,
        )
        for pool in cloud.pools
    )
    if nodes == "simulated" and not pools:
        # Without any node no pod would ever be ready.
        pools = (PoolSpec("general", zones=cloud.zones),)
    return CloudSpec(name, nodes, cloud.zones, pools, images)
