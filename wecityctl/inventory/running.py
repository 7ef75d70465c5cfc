"""The images that run in a city's namespaces, as the clusters tell: by digest, and who runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wecityctl.errors import TimedOutError, WecityError
from wecityctl.event_loops import run_async
from wecityctl.kube.identify import VARIABLE
from wecityctl.kube.resource import Object, ResourceType
from wecityctl.model import naming

if TYPE_CHECKING:
    from wecityctl.inputs import Cluster

_NAMESPACE = ResourceType("", "v1", "Namespace", "namespaces", False)
_POD = ResourceType("", "v1", "Pod", "pods", True)
_PAGE = 500
# Ended pods run nothing.
_HOLDING = "status.phase!=Succeeded,status.phase!=Failed"
_AT_ONCE = 16


@dataclass(frozen=True, slots=True, order=True)
class Running:
    """One image of one owner on one cloud, in `pods` pods.

    `reference` is what the pods ask for; `digest` is what the node runs, as it says (empty until a container has
    started). `owner` is `tenant/app` or `platform/capability`.
    """

    reference: str
    digest: str
    cloud: str
    namespace: str
    owner: str
    container: str
    pods: int


def read_running(
    city: str, clusters: Mapping[str, Cluster], seconds: float
) -> tuple[tuple[Running, ...], dict[str, WecityError]]:
    """The images that run in the namespaces of `city` on each of `clusters`, and the errors of those that fail.

    Each cluster has `seconds` to answer, independently of the others.
    """
    answers = run_async(_all(city, clusters, seconds))
    found = [item for answer in answers.values() if not isinstance(answer, WecityError) for item in answer]
    errors = {name: answer for name, answer in answers.items() if isinstance(answer, WecityError)}
    return tuple(sorted(found)), errors


async def _all(
    city: str, clusters: Mapping[str, Cluster], seconds: float
) -> dict[str, tuple[Running, ...] | WecityError]:
    answers = await asyncio.gather(*(_one(city, cluster, seconds) for cluster in clusters.values()))
    return dict(zip(clusters, answers, strict=True))


async def _one(city: str, cluster: Cluster, seconds: float) -> tuple[Running, ...] | WecityError:
    from wecityctl.kube.client import KubeClient
    from wecityctl.kube.config import load_access
    from wecityctl.kube.requester import RetryPolicy
    from wecityctl.kube.transport import HttpPool

    try:
        async with asyncio.timeout(seconds), HttpPool() as pool:
            retry = RetryPolicy(total_seconds=seconds)
            client = KubeClient(load_access(cluster.kubeconfig), pool, retry=retry)
            spaces = await client.list(_NAMESPACE, label_selector=f"{naming.CITY_LABEL}={city}", limit=_PAGE)
            names = [str(item["metadata"]["name"]) for item in spaces]
            gate = asyncio.Semaphore(_AT_ONCE)

            async def pods_of(name: str) -> list[Object]:
                async with gate:
                    return list(await client.list(_POD, name, field_selector=_HOLDING, limit=_PAGE))

            pods = await asyncio.gather(*map(pods_of, names))
    except TimeoutError:
        return TimedOutError(
            f"no full answer within {seconds:g} s",
            resolution=f"look at its API server, or give it more with {VARIABLE}",
        )
    except WecityError as error:
        return error
    return tuple(_counted(cluster.cloud, (pod for found in pods for pod in found)))


def _counted(cloud: str, pods: Iterable[Object]) -> Iterator[Running]:
    counts: dict[tuple[str, str, str, str, str], int] = {}
    for pod in pods:
        labels = pod["metadata"].get("labels") or {}
        part_of, name = labels.get(naming.PART_OF_LABEL, ""), labels.get(naming.NAME_LABEL, "")
        owner = f"{part_of}/{name}" if part_of and name else str(pod["metadata"]["name"])
        namespace = str(pod["metadata"]["namespace"])
        for container, reference, digest in _containers(pod):
            key = (reference, digest, namespace, owner, container)
            counts[key] = counts.get(key, 0) + 1
    for (reference, digest, namespace, owner, container), count in counts.items():
        yield Running(reference, digest, cloud, namespace, owner, container, count)


def _containers(pod: Object) -> Iterator[tuple[str, str, str]]:
    """Yield name, reference and digest of a pod's containers, those included that run before the others."""
    status = pod.get("status") or {}
    digests = {
        item["name"]: str(item.get("imageID") or "").rpartition("@")[2]
        for key in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
        for item in status.get(key) or ()
    }
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for item in pod["spec"].get(key) or ():
            yield str(item["name"]), str(item["image"]), digests.get(item["name"], "")
