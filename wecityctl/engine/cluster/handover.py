"""Hands the number of a workload's replicas from the files to an autoscaler and back, just before a stack's run.

Works whichever plug-in runs the stack: an autoscaler that leaves is deleted before the number it fought for is set, and
the number stays as it is until its new owner sets it. Which workloads have an autoscaler is the stacks' matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stacks.tenants.scaling import Workload, autoscaled_workloads
from wecityctl.engine.cluster.query import ask
from wecityctl.engine.run.context import Context
from wecityctl.engine.state.checkpoint import StackState
from wecityctl.model.events import Diagnostic, Emit

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient

_DEPLOYMENT = "kubernetes:apps/v1:Deployment"
_AUTOSCALER = "kubernetes:autoscaling/v2:HorizontalPodAutoscaler"


@dataclass(frozen=True, slots=True)
class Handover:
    """One workload whose number of replicas gets another owner.

    `manager` is the field manager that gives it up to an autoscaler. Empty is the other direction: `autoscaler` and its
    `uid` name the one that leaves (or are empty where it has left already).
    """

    namespace: str
    workload: str
    manager: str = ""
    autoscaler: str = ""
    uid: str = ""


def handovers(state: StackState, autoscaled: Mapping[Workload, bool]) -> tuple[Handover, ...]:
    """What changes hands between the run that wrote `state` and files in which workloads are `autoscaled`."""
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
    """Do what the stack's next `up` needs to have done. Raises the Kubernetes client's errors."""
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
        # Gone: nothing of it is left to be handed over, and the run makes it again.
        with suppress(NotFound):
            lines += await (_release(client, each) if each.manager else _take_back(client, each))
    return lines


async def _release(client: KubeClient, each: Handover) -> list[str]:
    from wecityctl.kube.replicas import disown_replicas

    rt = await client.resource("apps/v1", "Deployment")
    live = await client.get(rt, each.workload, each.namespace)
    if not (live.get("spec") or {}).get("replicas", 1):
        # An autoscaler leaves a workload of 0 alone: without an owner it becomes 1, which wakes the autoscaler.
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
        # Gone already, or made anew by somebody else: then it is not the one that leaves.
        with suppress(NotFound, Conflict):
            await client.delete(rt, each.autoscaler, each.namespace, uid=each.uid or None)
    rt = await client.resource("apps/v1", "Deployment")
    count = await disown_replicas(client, rt, each.workload, each.namespace, is_autoscaler)
    if count is None:
        return []
    return [f"Deployment {each.workload}: its {count} replicas are taken back from the autoscaler, which leaves"]


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
