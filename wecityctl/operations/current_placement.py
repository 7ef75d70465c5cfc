"""Where a city's capabilities and apps stand now, read from its state: what a new placement starts from.

Nothing is read for a city in which nothing can choose.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from wecityctl.model.city import City
from wecityctl.model.outputs import Outputs, outputs_from_json
from wecityctl.model.stacknames import StackName
from wecityctl.placement import Placement
from wecityctl.placement.current import CurrentPlacement, placement_from, placement_of

if TYPE_CHECKING:
    from wecityctl.engine.state.checkpoint import StackState

_APP = "wecity:tenant:App"


def current_placement(city: City) -> Placement | None:
    """The placement that the city's stacks have; `None` where there are none yet, or there is one cloud only.

    Raises `AuthenticationError` when the state cannot be opened.
    """
    if len(city.clouds) < 2:
        return None
    from wecityctl.engine.state.backend import open_backend

    backend = open_backend(city)
    found: list[CurrentPlacement] = []
    for name in backend.list_stacks():
        stack = StackName.parse(name)
        if stack.layer in ("platform", "tenant") and stack.subject:
            state = backend.read_state(name)
            if state is not None:
                found += _of_state(state, stack.layer, stack.subject, stack.cloud)
    return placement_from(found)


def _of_state(state: StackState, layer: str, subject: str, cloud: str) -> Iterator[CurrentPlacement]:
    """What the stack's outputs say, and what its resources show: a run that failed has left no outputs."""
    said = placement_of(_outputs(state, layer), state.last_update)
    if said is not None:
        yield said
    own = [item for item in state.resources if not item.custom and item.type.startswith("wecity:")]
    if layer == "tenant":
        apps = tuple((subject, item.name) for item in own if item.type == _APP)
        yield CurrentPlacement(cloud, (), apps, state.last_update)
    else:
        yield CurrentPlacement(cloud, tuple(item.name for item in own), (), state.last_update)


def _outputs(state: StackState, layer: str) -> Outputs | None:
    try:
        return outputs_from_json("tenant" if layer == "tenant" else "platform", dict(state.outputs or {}))
    except (ValueError, TypeError):
        return None
