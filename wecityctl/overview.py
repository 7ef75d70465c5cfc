"""How a city is now: its stacks as the state has them, its workloads as the clusters have them. Changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wecityctl.inputs import Cluster
from wecityctl.model.naming import LABEL_PREFIX

if TYPE_CHECKING:
    from wecityctl.engine.backend import Backend
    from wecityctl.kube.client import KubeClient
    from wecityctl.plan import Plan

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


def workload_statuses(city: str, clusters: Mapping[str, Cluster]) -> tuple[WorkloadStatus, ...]:
    """The workloads of a city on every cluster that answers."""

    async def collect() -> list[WorkloadStatus]:
        found = await asyncio.gather(*(_of_cluster(city, cluster) for cluster in clusters.values()))
        return [item for part in found for item in part]

    return tuple(sorted(asyncio.run(collect()), key=lambda item: (item.cloud, item.namespace, item.kind, item.name)))


async def _of_cluster(city: str, cluster: Cluster) -> list[WorkloadStatus]:
    from wecityctl.kube.client import KubeClient
    from wecityctl.kube.config import load_access
    from wecityctl.kube.transport import HttpPool

    async with HttpPool() as pool, KubeClient(load_access(cluster.kubeconfig), pool) as client:
        lists = await asyncio.gather(*(_list(client, city, version, kind) for version, kind in WORKLOADS))
    return [_workload(cluster, item) for items in lists for item in items]


async def _list(client: KubeClient, city: str, version: str, kind: str) -> Iterable[dict[str, Any]]:
    resource = await client.resource(version, kind)
    return await client.list(resource, label_selector=f"{LABEL_PREFIX}/city={city}")


def _workload(cluster: Cluster, item: dict[str, Any]) -> WorkloadStatus:
    from wecityctl.kube.readiness import assess

    metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    judged = assess(item)
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
