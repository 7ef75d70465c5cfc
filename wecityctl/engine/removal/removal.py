"""What would be deleted: stacks that were removed from the configuration, and protected things that leave a stack
that stays.

Pure over states and names. What of a stack that is taken down is kept is `takedown`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from wecityctl.engine.run.options import RunOptions
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
    return StackName.parse(stack).rank


def removal_order(stacks: Iterable[str], plan: Plan) -> dict[str, tuple[str, ...]]:
    """What each stack waits for on the way down: every stack of a higher layer that is on its cloud or needs it.

    So a cloud that does not answer holds up its own stacks and what they stand on, and no other cloud.
    """
    names = tuple(stacks)
    planned = {stack.name: stack for stack in plan.stacks}

    def waits(name: str, other: str) -> bool:
        clouds = {planned[item].cloud if item in planned else StackName.parse(item).cloud for item in (name, other)}
        # What a stack that was removed from the configuration stood on is not known any more.
        is_needed = other not in planned or name in planned[other].depends_on
        return layer_of(other) > layer_of(name) and (is_needed or "" in clouds or len(clouds) == 1)

    return {
        name: tuple(other for other in names if waits(name, other))
        for name in sorted(names, key=lambda name: -layer_of(name))
    }


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
            "this would delete what was removed from the configuration",
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
