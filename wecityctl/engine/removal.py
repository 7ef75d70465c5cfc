"""What would be deleted: stacks that have left the files, and protected things that leave a stack that stays.

Pure over states and names, except for the look at which namespaces hold volumes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wecityctl.engine.backend import Backend
from wecityctl.engine.live import ask
from wecityctl.engine.options import RunOptions
from wecityctl.engine.state import ROOT_TYPE, Deployment, StackState, StateResource
from wecityctl.errors import ConfigurationError
from wecityctl.inputs import Cluster
from wecityctl.model.events import StackResult
from wecityctl.plan import LAYERS, Plan

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient

NAMESPACE = "kubernetes:core/v1:Namespace"
VOLUME_CLAIM = "kubernetes:core/v1:PersistentVolumeClaim"
VOLUME = "kubernetes:core/v1:PersistentVolume"
STATEFUL_SET = "kubernetes:apps/v1:StatefulSet"
_MOST_NAMED = 5
PROTECTED_TYPES = frozenset({NAMESPACE, VOLUME_CLAIM, VOLUME, STATEFUL_SET})


@dataclass(frozen=True, slots=True)
class Deletion:
    """A protected thing of a stack that the files no longer have."""

    stack: str
    urn: str
    type: str
    name: str

    def __str__(self) -> str:
        return f"{self.type.rpartition(':')[2]} {self.name} (in {self.stack})"


def left_over(existing: Iterable[str], full_plan: Plan) -> tuple[str, ...]:
    """The stacks in the back end that the files no longer have, those to be removed first coming first."""
    planned = {stack.name for stack in full_plan.stacks}
    return tuple(sorted((name for name in existing if name not in planned), key=lambda name: (-layer_of(name), name)))


def layer_of(stack: str) -> int:
    """The place of a stack's layer in the order in which layers come up, by its name."""
    parts = stack.split(".")
    layer = parts[1] if len(parts) > 1 else ""
    names: tuple[str, ...] = LAYERS
    return names.index(layer) if layer in names else len(names)


def removal_order(stacks: Iterable[str], plan: Plan) -> dict[str, tuple[str, ...]]:
    """What each stack waits for on the way down: every stack of a higher layer that is on its cloud or needs it.

    So a cloud that does not answer holds up its own stacks and what they stand on, and no other cloud.
    """
    names = tuple(stacks)
    planned = {stack.name: stack for stack in plan.stacks}

    def waits(name: str, other: str) -> bool:
        clouds = {planned[item].cloud if item in planned else _cloud_in(item) for item in (name, other)}
        # What a stack that has left the files stood on is not known any more.
        is_needed = other not in planned or name in planned[other].depends_on
        return layer_of(other) > layer_of(name) and (is_needed or "" in clouds or len(clouds) == 1)

    return {
        name: tuple(other for other in names if waits(name, other))
        for name in sorted(names, key=lambda name: -layer_of(name))
    }


def _cloud_in(stack: str) -> str:
    """The cloud in a stack's name, which is its last part; empty for those that have none in it."""
    parts = stack.split(".")
    return parts[-1] if len(parts) > 2 else ""


def is_protected(resource: StateResource) -> bool:
    """Whether a resource may only be deleted with a confirmation: namespaces, data, whole apps and capabilities, and
    what its program protects, such as a landing zone's network and cluster."""
    return resource.type in PROTECTED_TYPES or resource.protect or (not resource.custom and resource.type != ROOT_TYPE)


def guarded_urns(state: StackState | None) -> frozenset[str]:
    """The URNs of the stack's protected things."""
    return frozenset(resource.urn for resource in state.resources if is_protected(resource)) if state else frozenset()


def deletions(state: StackState, expected: frozenset[str]) -> tuple[Deletion, ...]:
    """The protected things of a stack that are not among the expected URNs."""
    return tuple(
        Deletion(state.stack, resource.urn, resource.type, resource.name)
        for resource in state.resources
        if is_protected(resource) and resource.urn not in expected
    )


def require_confirmed(
    states: Iterable[StackState], options: RunOptions, expected: Mapping[str, frozenset[str]]
) -> None:
    """Raise `ConfigurationError` when an `up` would delete protected things that nobody confirmed."""
    found = [
        deletion
        for state in states
        if not options.confirms(state.stack) and state.stack in expected
        for deletion in deletions(state, expected[state.stack])
    ]
    if found:
        raise ConfigurationError(
            "this would delete what has left the files",
            details="\n".join(str(deletion) for deletion in found),
            resolution=f"look at it with preview; confirm it with --confirm={found[0].stack.partition('.')[0]}",
        )


def confirmation_note(results: Iterable[StackResult], states: Mapping[str, StackState | None], city: str) -> str:
    """What a preview says of the protected things that an `up` would refuse to delete; empty where there are none."""
    found = [
        str(Deletion(result.stack, change.urn, change.type, change.name))
        for result in results
        for change in result.changes
        if change.op == "delete" and change.urn in guarded_urns(states.get(result.stack))
    ]
    if not found:
        return ""
    shown = ", ".join(found[:_MOST_NAMED]) + (
        f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    )
    return f"`up` will ask for --confirm={city}, because it would delete {shown}"


def data_urns(state: StackState, cluster: Cluster | None) -> frozenset[str]:
    """What of a stack a `destroy` keeps without --delete-data: volumes, and the namespaces that hold some."""
    claims = {item.urn for item in state.resources if item.type in (VOLUME_CLAIM, VOLUME)}
    namespaces = {_object_name(item): item.urn for item in state.resources if item.type == NAMESPACE}
    holding = _with_volumes(namespaces, cluster) if namespaces else frozenset()
    return frozenset(claims | {urn for name, urn in namespaces.items() if name in holding})


def retain_data(backend: Backend, state: StackState, cluster: Cluster | None) -> tuple[str, ...]:
    """Have the engine leave volumes, and namespaces that hold some, where they are; what stays, a line each."""
    kept = data_urns(state, cluster) if state.deployment is not None else frozenset()
    if not kept or state.deployment is None:
        return ()
    backend.store.write(state.stack, retained(state.deployment, kept))
    return tuple(f"kept: {urn.rpartition(':')[2]} (its data; --delete-data deletes it)" for urn in sorted(kept))


def release_data(backend: Backend, state: StackState) -> None:
    """Have the engine delete what its program keeps when it leaves a stack: the data was asked to go too."""
    kept = [item["urn"] for item in (state.deployment or {}).get("resources") or () if item.get("retainOnDelete")]
    if state.deployment is not None and kept:
        backend.store.write(state.stack, retained(state.deployment, kept, retain=False))


def retained(deployment: Deployment, urns: Iterable[str], *, retain: bool = True) -> Deployment:
    """The deployment in which deleting those resources only forgets them, or with `retain` off deletes them."""
    wanted = set(urns)
    done = copy.deepcopy(deployment)
    for item in done.get("resources") or ():
        if item["urn"] in wanted:
            item["retainOnDelete"] = retain
    return done


def _object_name(resource: StateResource) -> str:
    meta = resource.outputs.get("metadata") or resource.inputs.get("metadata") or {}
    return str(meta.get("name", "")) if isinstance(meta, Mapping) else ""


def _with_volumes(namespaces: Mapping[str, str], cluster: Cluster | None) -> frozenset[str]:
    if cluster is None:
        # Nobody can be asked: better keep a namespace too many.
        return frozenset(namespaces)

    async def look(client: KubeClient) -> frozenset[str]:
        served = await client.resource("v1", "PersistentVolumeClaim")
        return frozenset([item["metadata"]["namespace"] for item in await client.list(served, metadata_only=True)])

    return ask(cluster, look)
