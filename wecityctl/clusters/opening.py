"""Connects to every cloud of a city: starts or finds the embedded ones, and identifies the others.

A cloud that cannot be reached does not affect the others: its error is returned, and its own stacks fail.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from wecityctl.clusters.elsewhere import LandingZones, open_elsewhere
from wecityctl.clusters.embedded import last_known, open_embedded, start_simulated
from wecityctl.errors import WecityError
from wecityctl.inputs import Cluster, Clusters
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import City, Cloud
from wecityctl.model.events import Emit, Event

if TYPE_CHECKING:
    from wecityctl.engine.state.backend import Backend

_GRACE = 2.0


def told_of_their_clouds(failed: Mapping[str, WecityError]) -> Mapping[str, WecityError]:
    """Return the errors, with the cloud's name prepended to messages that lack it."""
    for name, error in failed.items():
        if not error.message.startswith("cloud ") and f"cloud {name}" not in error.message:
            error.message = f"cloud {name}: {error.message}"
            error.args = (error.message,)
    return failed


def open_clusters(
    city: City, catalogue: Catalogue, emit: Emit, *, start: bool, backend: Backend | None = None
) -> Clusters:
    """Connect to every cloud of `city`; those that are not embedded in parallel, each with a time limit.

    With `start`, embedded clouds are started, those with simulated nodes in parallel, and get the images they need. A
    vendor's cloud is reached with the kubeconfig that its landing zone has written to the state (of `backend`, or else
    of the city's own). Without one the cloud is neither found nor failed, like an embedded one that was never started.
    """
    from wecityctl.kube.identify import patience

    seconds, emit = patience(), _one_at_a_time(emit)
    zones = LandingZones(city, backend)
    openings = {
        cloud.name: _in_background(partial(open_elsewhere, cloud, zones, seconds))
        for cloud in city.clouds
        if cloud.provider != "local"
    }
    found: dict[str, Cluster] = {}
    failed: dict[str, WecityError] = {}
    stopped: dict[str, Cluster] = {}
    starts = start_simulated(city, catalogue, emit) if start else {}
    for cloud in sorted(city.clouds, key=lambda cloud: cloud.provider != "local"):
        try:
            if cloud.name in openings:
                cluster = _await(openings[cloud.name], cloud, seconds)
            elif cloud.name in starts:
                cluster = starts[cloud.name].result()
            else:
                cluster = open_embedded(city, cloud, catalogue, emit, start)
            if cluster is None and cloud.provider == "local" and (last := last_known(city, cloud)) is not None:
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
        MappingProxyType({name: zones.found[name] for name in order if name in zones.found}),
    )


def _in_background(work: Callable[[], Cluster | None]) -> Future[Cluster | None]:
    """Run `work` in a daemon thread, because a name server that does not answer may block it for long."""
    future: Future[Cluster | None] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True).start()
    return future


def _one_at_a_time(emit: Emit) -> Emit:
    """Return a thread-safe version of `emit`."""
    lock = threading.Lock()

    def tell(event: Event) -> None:
        with lock:
            emit(event)

    return tell


def _await(opening: Future[Cluster | None], cloud: Cloud, seconds: float) -> Cluster | None:
    try:
        return opening.result(seconds + _GRACE)
    except FutureTimeoutError as error:
        from wecityctl.kube.identify import silent

        raise silent(f"the cluster of cloud {cloud.name}", seconds) from error
