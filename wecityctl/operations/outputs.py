"""`outputs`: reads the outputs of a city's stacks from their states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wecityctl.errors import NoSuchStackError

if TYPE_CHECKING:
    from wecityctl.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputsOptions:
    """`stack` is a stack's name or a part of it; empty for all. With `show_secrets`, secret values are not redacted."""

    stack: str = ""
    show_secrets: bool = False


def outputs(session: Session, options: OutputsOptions) -> Mapping[str, Mapping[str, Any]]:
    """Return the outputs by stack, in the order of the plan; never those of the secret store.

    Raises `NoSuchStackError` if there are none, and what a selection raises for a name that matches no stack.
    """
    from wecityctl.engine.context.landing_outputs import redacted
    from wecityctl.engine.state.backend import open_backend

    plan, stack = session.plan, options.stack
    wanted = plan.stacks if not stack else [item for item in plan.only([stack]).stacks if stack in item.name]
    backend = open_backend(session.city)
    found: dict[str, Mapping[str, Any]] = {}
    for item in wanted:
        state = backend.read_state(item.name) if item.layer != "secrets" else None
        if state is not None and state.outputs is not None:
            found[item.name] = dict(state.outputs) if options.show_secrets else redacted(state.outputs)
    if not found:
        raise NoSuchStackError(
            f"{session.city.name} has no outputs" + (f" of {stack!r}" if stack else ""),
            resolution=f"bring it up first: wecityctl up {session.arguments}",
        )
    return found
