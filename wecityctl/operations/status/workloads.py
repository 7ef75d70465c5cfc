"""Collects the workloads of a city from its clusters, side by side and within a time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wecityctl.errors import TimedOutError, WecityError
from wecityctl.event_loops import run_async
from wecityctl.inputs import Cluster
from wecityctl.kube.resource import Object, ResourceType
from wecityctl.model.naming import CITY_LABEL, PART_OF_LABEL
from wecityctl.operations.status.values import Workloads, WorkloadStatus

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient

WORKLOADS = (("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("batch/v1", "Job"), ("batch/v1", "CronJob"))
_POD = ResourceType("", "v1", "Pod", "pods", True)
# In more namespaces than this, pods are not read one by one for their reasons.
_MOST_NAMESPACES = 20


def workload_statuses(city: str, clusters: Mapping[str, Cluster], *, seconds: float | None = None) -> Workloads:
    """Return the workloads of a city on every cluster that answers within `seconds` (default: from the environment).

    Those that are not ready give the reason of their pods, such as that no node has enough capacity.
    """
    from wecityctl.kube.identify import patience

    limit = patience() if seconds is None else seconds

    async def collect() -> list[tuple[WorkloadStatus, ...] | WecityError]:
        return await asyncio.gather(*(_within(limit, city, cluster) for cluster in clusters.values()))

    found: list[WorkloadStatus] = []
    failed: dict[str, WecityError] = {}
    for cloud, answer in zip(clusters, run_async(collect()), strict=True):
        if isinstance(answer, WecityError):
            failed[cloud] = answer
        else:
            found += answer
    found.sort(key=lambda item: (item.cloud, item.namespace, item.kind, item.name))
    return Workloads(tuple(found), failed)


async def _within(seconds: float, city: str, cluster: Cluster) -> tuple[WorkloadStatus, ...] | WecityError:
    try:
        async with asyncio.timeout(seconds):
            return await _of_cluster(city, cluster, seconds)
    except TimeoutError:
        return TimedOutError(f"no full answer within {seconds:g} s")
    except WecityError as error:
        return error


async def _of_cluster(city: str, cluster: Cluster, seconds: float) -> tuple[WorkloadStatus, ...]:
    from wecityctl.kube.client import KubeClient
    from wecityctl.kube.config import load_access
    from wecityctl.kube.requester import RetryPolicy
    from wecityctl.kube.transport import HttpPool

    access, retry = load_access(cluster.kubeconfig), RetryPolicy(total_seconds=seconds)
    async with HttpPool() as pool, KubeClient(access, pool, retry=retry) as client:
        lists = await asyncio.gather(*(_list(client, city, version, kind) for version, kind in WORKLOADS))
        items = [item for items in lists for item in items]
        pods = await _pods_beside(client, city, items)
    return tuple(_workload(cluster, item, pods) for item in items)


async def _list(client: KubeClient, city: str, version: str, kind: str) -> Iterable[dict[str, Any]]:
    resource = await client.resource(version, kind)
    return await client.list(resource, label_selector=f"{CITY_LABEL}={city}")


async def _pods_beside(client: KubeClient, city: str, items: Iterable[Object]) -> Mapping[str, Sequence[Object]]:
    """Return the pods by namespace, for namespaces with a workload that is not ready: they give the reason."""
    from wecityctl.kube.errors import Forbidden
    from wecityctl.kube.readiness import assess

    waiting = sorted({item["metadata"]["namespace"] for item in items if assess(item).state != "ready"})

    async def pods_of(namespace: str) -> Sequence[Object]:
        try:
            return await client.list(_POD, namespace, label_selector=f"{CITY_LABEL}={city}")
        except Forbidden:
            return ()

    named = waiting[:_MOST_NAMESPACES]
    return dict(zip(named, await asyncio.gather(*map(pods_of, named)), strict=True))


def _workload(cluster: Cluster, item: Object, pods: Mapping[str, Sequence[Object]]) -> WorkloadStatus:
    from wecityctl.kube.readiness import assess
    from wecityctl.kube.readiness.model import Related
    from wecityctl.kube.readiness.pods import matches

    metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    selector = spec.get("selector") or {}
    own = [pod for pod in pods.get(metadata["namespace"], ()) if matches(pod["metadata"].get("labels") or {}, selector)]
    judged = assess(item, Related(pods=own))
    is_job = item["kind"] == "Job"
    return WorkloadStatus(
        cloud=cluster.cloud,
        namespace=metadata["namespace"],
        kind=item["kind"],
        name=metadata["name"],
        part_of=(metadata.get("labels") or {}).get(PART_OF_LABEL, ""),
        ready=int(status.get("succeeded" if is_job else "readyReplicas") or 0),
        wanted=int(spec.get("completions" if is_job else "replicas") or 0),
        state=judged.state,
        reason=judged.reason,
        simulated=cluster.simulated,
        schedule=_schedule(spec, status) if item["kind"] == "CronJob" else "",
    )


def _schedule(spec: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    """When a CronJob runs and when it last did, in UTC as the API server tells it."""
    zone = f" {spec['timeZone']}" if spec.get("timeZone") else ""
    last = status.get("lastScheduleTime")
    ran = f"last started at {last}" if last else "has not run yet"
    return f"at {spec.get('schedule')}{zone}, {'suspended, ' if spec.get('suspend') else ''}{ran}"
