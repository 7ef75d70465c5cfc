"""Reads the figures of all clouds concurrently, each with its own timeout and independently of the others' errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wecityctl.capacity.figures import Tally, declared_pools, node_figures, pool_figures, troubles
from wecityctl.errors import TimedOutError, WecityError
from wecityctl.event_loops import run_async
from wecityctl.inputs import Cluster
from wecityctl.kube.identify import VARIABLE, patience
from wecityctl.kube.resource import Object, Objects, ResourceType
from wecityctl.model.capacity import CityFigures, CloudFigures, Health, Waiting
from wecityctl.model.city import City, Cloud

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient

_NODE = ResourceType("", "v1", "Node", "nodes", False)
_POD = ResourceType("", "v1", "Pod", "pods", True)
_CLAIM = ResourceType("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", True)
# Ended pods use no resources. Pending ones are included: they show that something does not fit.
_HOLDING = "status.phase!=Succeeded,status.phase!=Failed"
_PAGE = 500


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one cluster answered. `refused` maps the lists that may not be read to the reason."""

    nodes: Objects
    tally: Tally
    version: str
    latency: float
    pods_known: bool = True
    refused: tuple[str, ...] = ()


def read_capacity(
    city: City,
    clusters: Mapping[str, Cluster],
    failed: Mapping[str, WecityError],
    *,
    written: float = 0.0,
    seconds: float | None = None,
) -> tuple[CityFigures, Mapping[str, WecityError]]:
    """The figures of every cloud of `city`, and the errors of those that could not be read.

    `clusters` are read live, with a timeout of `seconds` each (by default from the environment). For other clouds, the
    figures are those that the files declare. `written` is the modification time of those files in seconds since the
    epoch.
    """
    found = run_async(_read_all(clusters, patience() if seconds is None else seconds))
    errors = {**failed, **{name: answer for name, answer in found.items() if isinstance(answer, WecityError)}}
    now = time.time()
    clouds = []
    for cloud in city.clouds:
        answer = found.get(cloud.name)
        if isinstance(answer, _Read):
            clouds.append(_live(cloud, answer, now))
        else:
            clouds.append(_declared(cloud, errors.get(cloud.name), written, now))
    return CityFigures(city.name, tuple(clouds)), errors


@dataclass(frozen=True, slots=True)
class _Read:
    answer: _Answer
    at: float


async def _read_all(clusters: Mapping[str, Cluster], seconds: float) -> dict[str, _Read | WecityError]:
    answers = await asyncio.gather(*(_read(cluster, seconds) for cluster in clusters.values()))
    return dict(zip(clusters, answers, strict=True))


async def _read(cluster: Cluster, seconds: float) -> _Read | WecityError:
    from wecityctl.kube.client import KubeClient
    from wecityctl.kube.config import load_access
    from wecityctl.kube.requester import RetryPolicy
    from wecityctl.kube.transport import HttpPool

    begun = time.time()
    try:
        async with asyncio.timeout(seconds), HttpPool() as pool:
            retry = RetryPolicy(total_seconds=seconds)
            return _Read(await _ask(KubeClient(load_access(cluster.kubeconfig), pool, retry=retry)), begun)
    except TimeoutError:
        return TimedOutError(
            f"no full answer within {seconds:g} s",
            resolution=f"look at its API server, or give it more with {VARIABLE}",
        )
    except WecityError as error:
        return error


async def _ask(client: KubeClient) -> _Answer:
    version = await client.version()
    # The second request: the first one has opened the connection.
    begun = time.monotonic()
    await client.version()
    latency = time.monotonic() - begun
    tally = Tally()
    nodes, no_pods, no_claims = await asyncio.gather(
        client.list(_NODE, limit=_PAGE),
        _reduce(client, _POD, tally.add_pods, _HOLDING),
        _reduce(client, _CLAIM, tally.add_claims),
    )
    refused = tuple(filter(None, (no_pods, no_claims)))
    return _Answer(nodes, tally, str(version.get("gitVersion", "")), latency, not no_pods, refused)


async def _reduce(
    client: KubeClient, kind: ResourceType, take: Callable[[Sequence[Object]], None], selector: str = ""
) -> str:
    """Pass every page to `take` without keeping it. Returns the reason if the list may not be read, otherwise empty."""
    from wecityctl.kube.errors import Forbidden

    token = ""
    while True:
        try:
            page = await client.list_page(kind, field_selector=selector, limit=_PAGE, token=token)
        except Forbidden as error:
            return f"{kind.plural} may not be listed: {error.message}"
        take(page.items)
        token = page.next_token
        if not token:
            return ""


def _live(cloud: Cloud, read: _Read, now: float) -> CloudFigures:
    answer = read.answer
    nodes = node_figures(answer.nodes, answer.tally, cloud)
    waiting = answer.tally.waiting_pods
    conditions = [*troubles(nodes), *answer.refused]
    if not nodes:
        conditions.append("it has no nodes")
    if waiting.pods:
        conditions.append(_waiting(waiting))
    return CloudFigures(
        name=cloud.name,
        provider=cloud.provider,
        region=cloud.region,
        expected=tuple(f"{item.kind} {item.name}" for item in cloud.expected),
        source="live",
        health="degraded" if conditions else "ok",
        pools=pool_figures(nodes, cloud, pods_known=answer.pods_known),
        currency=cloud.prices.currency if cloud.prices else "",
        conditions=tuple(conditions),
        waiting=waiting,
        unattached_storage=answer.tally.storage_by_node().get("", 0),
        kubernetes_version=answer.version,
        latency=answer.latency,
        read_at=_stamp(read.at),
        age=max(0.0, now - read.at),
    )


def _waiting(waiting: Waiting) -> str:
    reason = max(waiting.reasons, key=lambda key: waiting.reasons[key])
    return f"pods that wait for a node: {waiting.pods} ({waiting.reasons[reason]} of them {reason})"


def _declared(cloud: Cloud, error: WecityError | None, written: float, now: float) -> CloudFigures:
    health: Health = "unreachable"
    reason, remedy = (error.message, error.resolution) if error is not None else ("", "")
    if error is None and cloud.has_landing_zone:
        health, reason = "not made", "its landing zone has not been made"
    elif error is None:
        health, reason = "not running", "not running"
    return CloudFigures(
        name=cloud.name,
        provider=cloud.provider,
        region=cloud.region,
        expected=tuple(f"{item.kind} {item.name}" for item in cloud.expected),
        source="declared",
        health=health,
        pools=declared_pools(cloud),
        currency=cloud.prices.currency if cloud.prices else "",
        reason=reason,
        remedy=remedy,
        read_at=_stamp(written) if written else "",
        age=max(0.0, now - written) if written else 0.0,
    )


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
