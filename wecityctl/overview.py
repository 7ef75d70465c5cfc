"""How a city is now: its stacks as the state has them, its workloads as the clusters have them. Changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wecityctl.errors import TimedOutError, WecityError
from wecityctl.inputs import Cluster
from wecityctl.kube.resource import Object, ResourceType
from wecityctl.model.naming import LABEL_PREFIX

if TYPE_CHECKING:
    from wecityctl.engine.backend import Backend
    from wecityctl.kube.client import KubeClient
    from wecityctl.plan import Plan

_POD = ResourceType("", "v1", "Pod", "pods", True)
# A city that is not ready as a whole need not be told pod by pod.
_MOST_NAMESPACES = 20
WORKLOADS = (("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("batch/v1", "Job"))


@dataclass(frozen=True, slots=True)
class StackStatus:
    """A stack in the state back end. `last_update` is an RFC 3339 time, empty for a stack that was never made."""

    stack: str
    layer: str
    resources: int
    last_update: str
    pending: int = 0
    errors: tuple[str, ...] = ()
    planned: bool = True


@dataclass(frozen=True, slots=True)
class WorkloadStatus:
    """A workload in a cluster. `simulated` says that its pods run nowhere but in the books."""

    cloud: str
    namespace: str
    kind: str
    name: str
    part_of: str
    ready: int
    wanted: int
    state: str
    reason: str
    simulated: bool


def stack_statuses(plan: Plan, backend: Backend) -> tuple[StackStatus, ...]:
    """Every stack of the plan, and those in the back end that have left the files."""
    planned = {stack.name: stack.layer for stack in plan.stacks}
    names = [*planned, *(name for name in backend.list_stacks() if name not in planned)]
    found = []
    for name in names:
        state = backend.read_state(name)
        layer = planned.get(name) or name.removeprefix(f"{plan.city.name}.").split(".")[0]
        if state is None:
            found.append(StackStatus(name, layer, 0, "", planned=name in planned))
            continue
        objects = [item for item in state.resources if item.custom and not item.is_provider]
        errors = tuple(error for item in objects for error in item.init_errors)
        found.append(
            StackStatus(
                name, layer, len(objects), state.last_update, len(state.pending), errors, planned=name in planned
            )
        )
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Workloads:
    """The workloads that could be read, and for each cloud whose could not, the error that says why."""

    found: tuple[WorkloadStatus, ...]
    failed: Mapping[str, WecityError]


def workload_statuses(city: str, clusters: Mapping[str, Cluster], *, seconds: float | None = None) -> Workloads:
    """The workloads of a city on every cluster that answers within `seconds` (default: as the environment says).

    Those that are not ready say why their pods are not, such as that none of the nodes has room for them.
    """
    from wecityctl.kube.identify import patience

    limit = patience() if seconds is None else seconds

    async def collect() -> list[tuple[WorkloadStatus, ...] | WecityError]:
        return await asyncio.gather(*(_within(limit, city, cluster) for cluster in clusters.values()))

    found: list[WorkloadStatus] = []
    failed: dict[str, WecityError] = {}
    for cloud, answer in zip(clusters, asyncio.run(collect()), strict=True):
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
    return await client.list(resource, label_selector=f"{LABEL_PREFIX}/city={city}")


async def _pods_beside(client: KubeClient, city: str, items: Iterable[Object]) -> Mapping[str, Sequence[Object]]:
    """The pods of those namespaces in which a workload is not ready, by namespace: they know why."""
    from wecityctl.kube.errors import Forbidden
    from wecityctl.kube.readiness import assess

    waiting = sorted({item["metadata"]["namespace"] for item in items if assess(item).state != "ready"})

    async def pods_of(namespace: str) -> Sequence[Object]:
        try:
            return await client.list(_POD, namespace, label_selector=f"{LABEL_PREFIX}/city={city}")
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
        part_of=(metadata.get("labels") or {}).get("app.kubernetes.io/part-of", ""),
        ready=int(status.get("succeeded" if is_job else "readyReplicas") or 0),
        wanted=int(spec.get("completions" if is_job else "replicas") or 0),
        state=judged.state,
        reason=judged.reason,
        simulated=cluster.simulated,
    )
