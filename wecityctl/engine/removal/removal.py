"""Finds what an `up` would delete: stacks that were removed from the configuration, and protected resources.

Pure functions over states and names. `takedown` decides what of a destroyed stack is retained.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from wecityctl.engine.context.options import RunOptions
from wecityctl.engine.sdk.resource_types import NAMESPACE, STATEFUL_SET, VOLUME, VOLUME_CLAIM
from wecityctl.engine.state.checkpoint import ROOT_TYPE, StackState, StateResource
from wecityctl.errors import ConfigurationError
from wecityctl.model.events import StackResult
from wecityctl.model.stacknames import StackName
from wecityctl.plan import Plan

_MOST_NAMED = 5
PROTECTED_TYPES = frozenset({NAMESPACE, VOLUME_CLAIM, VOLUME, STATEFUL_SET})


@dataclass(frozen=True, slots=True)
class Deletion:
    """A protected resource of a stack that is no longer in the configuration: an `up` deletes it or drops it."""

    stack: str
    urn: str
    type: str
    name: str
    # Whether the object stays in the cluster, and only leaves the state.
    is_kept: bool = False

    def __str__(self) -> str:
        kept = ", which stays in the cluster with its data" if self.is_kept else ""
        return f"{self.type.rpartition(':')[2]} {self.name} (in {self.stack}){kept}"


def left_over(existing: Iterable[str], full_plan: Plan) -> tuple[str, ...]:
    """Return the existing stacks that are not in the plan, in order of removal."""
    planned = {stack.name for stack in full_plan.stacks}
    return tuple(sorted((name for name in existing if name not in planned), key=lambda name: (-layer_of(name), name)))


def layer_of(stack: str) -> int:
    """Return the rank of a stack's layer in the order of creation, by the stack's name."""
    return StackName.parse(stack).rank


def removal_order(stacks: Iterable[str], plan: Plan) -> dict[str, tuple[str, ...]]:
    """Return for each stack the stacks to delete before it: those of higher layers that are on its cloud or depend on
    it.

    An unreachable cloud therefore blocks only its own stacks and those that they depend on.
    """
    names = tuple(stacks)
    planned = {stack.name: stack for stack in plan.stacks}

    def waits(name: str, other: str) -> bool:
        clouds = {planned[item].cloud if item in planned else StackName.parse(item).cloud for item in (name, other)}
        # The dependencies of a stack that was removed from the configuration are unknown.
        is_needed = other not in planned or name in planned[other].depends_on
        return layer_of(other) > layer_of(name) and (is_needed or "" in clouds or len(clouds) == 1)

    return {
        name: tuple(other for other in names if waits(name, other))
        for name in sorted(names, key=lambda name: -layer_of(name))
    }


def is_protected(resource: StateResource) -> bool:
    """Whether deleting a resource needs confirmation.

    This applies to namespaces, data, whole apps and capabilities, and resources that a program protects, such as a
    landing zone's network and cluster.
    """
    return resource.type in PROTECTED_TYPES or resource.protect or (not resource.custom and resource.type != ROOT_TYPE)


def guarded_urns(state: StackState | None) -> frozenset[str]:
    """Return the URNs of the stack's protected resources."""
    return frozenset(resource.urn for resource in state.resources if is_protected(resource)) if state else frozenset()


def deletions(state: StackState, expected: frozenset[str]) -> tuple[Deletion, ...]:
    """Return the protected resources of a stack that are not among the expected URNs."""
    kept = {item["urn"] for item in (state.deployment or {}).get("resources") or () if item.get("retainOnDelete")}
    return tuple(
        Deletion(state.stack, resource.urn, resource.type, resource.name, resource.urn in kept)
        for resource in state.resources
        if is_protected(resource) and resource.urn not in expected
    )


def require_confirmed(
    states: Iterable[StackState], options: RunOptions, expected: Mapping[str, frozenset[str]]
) -> None:
    """Raise `ConfigurationError` if an `up` would delete protected resources without confirmation."""
    found = [
        deletion
        for state in states
        if not options.confirms(state.stack) and state.stack in expected
        for deletion in deletions(state, expected[state.stack])
    ]
    if found:
        does = "no longer use" if all(deletion.is_kept for deletion in found) else "delete"
        raise ConfigurationError(
            f"this would {does} what was removed from the configuration",
            details="\n".join(str(deletion) for deletion in found),
            resolution=f"look at it with preview; confirm it with --confirm={found[0].stack.partition('.')[0]}",
        )


def confirmation_note(results: Iterable[StackResult], states: Mapping[str, StackState | None], city: str) -> str:
    """Return a preview's note on protected resources that an `up` would refuse to drop; empty if there are none."""
    deleted, kept = list[Deletion](), list[Deletion]()
    for result in results:
        guarded = guarded_urns(states.get(result.stack))
        for change in result.changes:
            if change.op == "delete" and change.urn in guarded:
                deleted.append(Deletion(result.stack, change.urn, change.type, change.name))
        for item in result.kept:
            if item.urn in guarded:
                kept.append(Deletion(result.stack, item.urn, item.type, item.name, is_kept=True))
    told = [f"{does} {_named(found)}" for does, found in (("delete", deleted), ("no longer use", kept)) if found]
    return f"`up` will ask for --confirm={city}, because it would {' and '.join(told)}" if told else ""


def _named(found: Sequence[Deletion]) -> str:
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return ", ".join(map(str, found[:_MOST_NAMED])) + more
