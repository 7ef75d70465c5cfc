"""Reads the current placement of a city's capabilities and apps from its states, as the start of a new placement.

Nothing is read for a city with a single cloud.
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
    """Return the placement in the states of the city's stacks; `None` if there are none, or only one cloud.

    Raises `AuthenticationError` if the states cannot be decrypted.
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
    """Yield the placement in the stack's outputs and in its resources: a failed run leaves no outputs."""
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
