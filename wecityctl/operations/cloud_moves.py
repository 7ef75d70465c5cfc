"""Moves of capabilities and apps between clouds: finds those of a run, and requires their confirmation."""

from __future__ import annotations

from collections.abc import Sequence

from wecityctl.errors import ConfigurationError
from wecityctl.placement import Move
from wecityctl.plan import Plan


def moves_within(moves: Sequence[Move], plan: Plan) -> tuple[Move, ...]:
    """Return the moves from or to one of the plan's stacks."""
    return tuple(
        move for move in moves if any(_touches(move, plan, stack.cloud, stack.subject) for stack in plan.stacks)
    )


def _touches(move: Move, plan: Plan, cloud: str, subject: str) -> bool:
    if cloud not in (move.source, move.target):
        return False
    kind, name = move.owner
    if kind == "app":
        return subject == name.partition("/")[0]
    return subject == plan.city.capability(name).platform


def require_confirmed(moves: Sequence[Move], city: str, *, confirmed: bool) -> None:
    """Raise `ConfigurationError` if an `up` would move something without confirmation."""
    if moves and not confirmed:
        raise ConfigurationError(
            "this would move what runs from one cloud to another",
            details="\n".join(map(str, moves)),
            resolution=f"pin it to the cloud where it stands (spec.cloud), or confirm with --confirm={city}",
        )
