"""`images push`: pushes the city's own images from the store of built images to the city's registries.

The registry is reached through the API server, as its administrator, like every other server of a capability.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from wecityctl import oci
from wecityctl.errors import ConfigurationError, DeploymentError, WecityError
from wecityctl.event_loops import run_async
from wecityctl.guesses import nearest
from wecityctl.image_references import image_names
from wecityctl.model.images import CITY_REPOSITORIES, REGISTRY
from wecityctl.oci.push import PushedImage, PushProgress, Registry, Uploads
from wecityctl.operations.app_targets import client_of, not_running
from wecityctl.operations.capability_servers import CapabilityServer, connected, servers_on

if TYPE_CHECKING:
    from wecityctl.inputs import Cluster
    from wecityctl.oci import BuiltImage
    from wecityctl.session import Session

__all__ = ["PushOptions", "PushProgress", "PushedImage", "PushedTo", "push_all", "push_images"]

# New connections in a row after which a push is given up, if none of them has got a byte across.
ATTEMPTS = 4
# A connection to a registry, and the header by which it knows who pushes.
Connected = tuple[http.client.HTTPConnection, str]


@dataclass(frozen=True, slots=True)
class PushedTo:
    """What became of the images at one registry, whose address in image references is `host`."""

    cloud: str
    capability: str
    host: str
    images: tuple[PushedImage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOptions:
    """Which images are pushed (empty: all that the city needs), to which registries (empty: all), and whether at all.

    With `dry_run` nothing is built or pushed: what a registry does not have is `missing`.
    """

    images: tuple[str, ...] = ()
    capability: str = ""
    dry_run: bool = False


def push_images(
    session: Session,
    options: PushOptions,
    built: Callable[[oci.ImageEvent], None],
    report: Callable[[PushProgress], None],
) -> tuple[PushedTo, ...]:
    """Push images to the registries of a city that run; what a registry has already is not sent.

    `built` is told of images that are built before. Raises `ConfigurationError` if the city has no registry, or none of
    this name, `NoSuchStackError` if one is not up, `ImageBuildError`, and `DeploymentError` for a refusal.
    """
    from wecityctl.clusters import open_clusters

    targets = _registries(session, options.capability)
    names = options.images or tuple(sorted(image_names(session.city, session.catalogue)))
    images = _stored(names) if options.dry_run else tuple(oci.ensure(names, built).values())
    clusters = open_clusters(session.city, session.catalogue, lambda event: None, start=False)
    found = []
    for cloud, server in targets:
        if cloud in clusters.failed:
            raise clusters.failed[cloud]
        cluster = clusters.found.get(cloud)
        if cluster is None:
            raise not_running(session, cloud)
        if cluster.simulated:
            raise ConfigurationError(f"the nodes of cloud {cloud} are simulated: registry {server.name} does not run")
        connect = partial(_administrator, cluster, server)
        pushed = run_async(push_all(connect, images, report, dry_run=options.dry_run))
        found.append(PushedTo(cloud, server.name, f"{server.hosts[0]}:{server.port}", pushed))
    return tuple(found)


def _registries(session: Session, name: str) -> list[tuple[str, CapabilityServer]]:
    """The registries of the city, or the one of this name, each with its cloud."""
    found = [
        (cloud.name, server)
        for cloud in session.city.clouds
        for server in servers_on(session.city, session.catalogue, session.plan.placement, cloud.name, REGISTRY)
    ]
    if not found:
        raise ConfigurationError(
            f"the city has no capability of type {REGISTRY}, so there is nothing to push to",
            resolution="add one to its operations platform: `wecityctl catalog show registry`",
        )
    chosen = [item for item in found if name in ("", item[1].name)]
    if not chosen:
        known = [server.name for _, server in found]
        near = nearest(name, known)
        raise ConfigurationError(
            f"there is no registry {name!r}",
            details=f"there are: {', '.join(known)}",
            resolution=f"did you mean {near!r}?" if near else "",
        )
    return chosen


def _stored(names: Sequence[str]) -> tuple[BuiltImage, ...]:
    """The images of these names as they are built; raises `ConfigurationError` if one is not."""
    built: Mapping[str, BuiltImage] = {image.reference: image for image in oci.stored()}
    wanted = {name: oci.reference(name, source="built") for name in names}
    if absent := [name for name, reference in wanted.items() if reference not in built]:
        raise ConfigurationError(
            f"not built yet: {', '.join(absent)}",
            details="what their layers are is known once they are built",
            resolution=f"build them: wecityctl images build {' '.join(absent)}",
        )
    return tuple(built[reference] for reference in wanted.values())


@asynccontextmanager
async def _administrator(cluster: Cluster, server: CapabilityServer) -> AsyncIterator[Connected]:
    """A connection to a registry of the city, as its administrator."""
    async with client_of(cluster) as client, connected(client, server) as (connection, password):
        both = base64.b64encode(f"admin:{password}".encode()).decode()
        yield connection, f"Basic {both}"


async def push_all(
    connect: Callable[[], AbstractAsyncContextManager[Connected]],
    images: Sequence[BuiltImage],
    report: Callable[[PushProgress], None],
    *,
    dry_run: bool = False,
) -> tuple[PushedImage, ...]:
    """Push images over as many connections as it takes: what one has got across, the next one does not send again.

    Raises `DeploymentError` if several in a row get nothing across, and what `Registry.push` raises.
    """
    uploads, done = Uploads(), list[PushedImage]()
    # How far this has got: images that are done, and bytes of the one after them.
    furthest, failures = (0, 0), 0

    def told(progress: PushProgress) -> None:
        nonlocal furthest
        furthest = max(furthest, (len(done), progress.sent))
        report(progress)

    while True:
        before = furthest
        try:
            async with connect() as (connection, authorization):
                registry = Registry(connection, authorization, uploads)
                for image in images[len(done) :]:
                    done.append(await asyncio.to_thread(_one, registry, image, told, dry_run))
            return tuple(done)
        except (OSError, http.client.HTTPException) as error:
            failures = 0 if furthest > before else failures + 1
            if failures == ATTEMPTS:
                raise DeploymentError(
                    "the connection to the registry ends again and again",
                    details=str(error) or type(error).__name__,
                    resolution="run the command again: it goes on with what is not there yet",
                ) from error


def _one(registry: Registry, image: BuiltImage, report: Callable[[PushProgress], None], dry_run: bool) -> PushedImage:
    tag = image.reference.rpartition(":")[2]
    try:
        return registry.push(image, f"{CITY_REPOSITORIES}/{image.name}", tag, report, dry_run=dry_run)
    except WecityError as error:
        message = f"image {image.name}: {error.message}"
        raise type(error)(message, details=error.details, resolution=error.resolution) from error
