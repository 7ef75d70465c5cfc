"""Transfers ownership of a workload's replica count from the files to an autoscaler or back, before a stack's run.

Works with either Kubernetes provider. An autoscaler that is removed is deleted before the count is set, so that the two
do not compete; the count keeps its value until the new owner sets it. Which workloads have an autoscaler is decided by
the stacks' programs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stacks.tenants.scaling import Workload, autoscaled_workloads
from wecityctl.engine.cluster.query import ask
from wecityctl.engine.context.context import Context
from wecityctl.engine.state.checkpoint import StackState
from wecityctl.model.events import Diagnostic, Emit

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient

_DEPLOYMENT = "kubernetes:apps/v1:Deployment"
_AUTOSCALER = "kubernetes:autoscaling/v2:HorizontalPodAutoscaler"


@dataclass(frozen=True, slots=True)
class Handover:
    """One workload whose replica count gets a new owner.

    `manager` is the field manager that gives the count up to an autoscaler. If it is empty, the count returns to the
    files: `autoscaler` and `uid` identify the autoscaler to delete (empty if it is already gone).
    """

    namespace: str
    workload: str
    manager: str = ""
    autoscaler: str = ""
    uid: str = ""


def handovers(state: StackState, autoscaled: Mapping[Workload, bool]) -> tuple[Handover, ...]:
    """Return the transfers between the run that wrote `state` and files in which workloads are `autoscaled`."""
    scalers = {}
    for resource in state.resources:
        target = _dict(_dict(resource.inputs.get("spec")).get("scaleTargetRef"))
        if resource.type == _AUTOSCALER and target.get("kind") == "Deployment":
            metadata = _dict(resource.inputs.get("metadata"))
            uid = str(_dict(resource.outputs.get("metadata")).get("uid") or "")
            scalers[metadata.get("namespace"), target.get("name")] = str(metadata.get("name") or ""), uid
    found = []
    for resource in state.resources:
        metadata, spec = _dict(resource.inputs.get("metadata")), _dict(resource.inputs.get("spec"))
        namespace, name = str(metadata.get("namespace") or ""), str(metadata.get("name") or "")
        if resource.type != _DEPLOYMENT or (namespace, name) not in autoscaled:
            continue
        is_stated, manager = "replicas" in spec, str(resource.outputs.get("__fieldManager") or "")
        scaler, uid = scalers.get((namespace, name), ("", ""))
        if autoscaled[namespace, name]:
            if is_stated and manager:
                found.append(Handover(namespace, name, manager))
        elif not is_stated or scaler:
            found.append(Handover(namespace, name, "", scaler, uid))
    return tuple(found)


def hand_over_replicas(context: Context, stack: str, emit: Emit) -> None:
    """Carry out the transfers that the stack's next `up` requires. Raises the Kubernetes client's errors."""
    planned, state, cluster = context.stacks[stack], context.state(stack), context.cluster_of(stack)
    if planned.layer != "tenant" or state is None or cluster is None:
        return
    found = handovers(state, autoscaled_workloads(context.inputs(planned, with_secrets=False)))
    if not found:
        return
    for line in ask(cluster, lambda client: _carry_out(client, found)):
        emit(Diagnostic(stack, "info", line))


async def _carry_out(client: KubeClient, found: Sequence[Handover]) -> list[str]:
    from wecityctl.kube.errors import NotFound

    lines = []
    for each in found:
        # The workload is gone: there is nothing to transfer, and the run creates it again.
        with suppress(NotFound):
            lines += await (_release(client, each) if each.manager else _take_back(client, each))
    return lines


async def _release(client: KubeClient, each: Handover) -> list[str]:
    from wecityctl.kube.replicas import disown_replicas

    rt = await client.resource("apps/v1", "Deployment")
    live = await client.get(rt, each.workload, each.namespace)
    if not (live.get("spec") or {}).get("replicas", 1):
        # An autoscaler ignores a workload with 0 replicas. Without an owner the count becomes 1, which activates the
        # autoscaler.
        return []
    count = await disown_replicas(
        client, rt, each.workload, each.namespace, lambda owner: owner.get("manager") == each.manager
    )
    if count is None:
        return []
    return [f"Deployment {each.workload}: its {count} replicas are handed over to an autoscaler"]


async def _take_back(client: KubeClient, each: Handover) -> list[str]:
    from wecityctl.kube.errors import Conflict, NotFound
    from wecityctl.kube.replicas import disown_replicas, is_autoscaler

    if each.autoscaler:
        rt = await client.resource("autoscaling/v2", "HorizontalPodAutoscaler")
        # Already gone, or recreated by somebody else with another UID.
        with suppress(NotFound, Conflict):
            await client.delete(rt, each.autoscaler, each.namespace, uid=each.uid or None)
    rt = await client.resource("apps/v1", "Deployment")
    count = await disown_replicas(client, rt, each.workload, each.namespace, is_autoscaler)
    if count is None:
        return []
    return [f"Deployment {each.workload}: its {count} replicas are taken back from the autoscaler, which leaves"]


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
