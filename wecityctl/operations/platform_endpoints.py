"""Reads the capabilities of a platform from its stack's state: what the files say may not be up, or not any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wecityctl.model.outputs import Endpoint, PlatformOutputs, outputs_from_json

if TYPE_CHECKING:
    from wecityctl.engine.state.checkpoint import StackState


@dataclass(frozen=True, slots=True)
class PlatformEndpoints:
    """The endpoints in a platform's outputs, and the names of the resources in its state, `namespace/name`."""

    cloud: str
    endpoints: tuple[Endpoint, ...]
    made: frozenset[str]

    def has(self, endpoint: Endpoint, name: str) -> bool:
        """Whether the state has a resource called `name` in the endpoint's namespace."""
        return f"{endpoint.namespace}/{name}" in self.made

    def is_tls(self, endpoint: Endpoint) -> bool:
        """Whether the capability speaks TLS: it has a certificate."""
        return self.has(endpoint, f"{endpoint.capability}-tls")


def endpoints_in(state: StackState) -> PlatformEndpoints:
    """Return the endpoints of a platform's stack; none where its outputs are not complete."""
    try:
        outputs = outputs_from_json("platform", dict(state.outputs or {}))
    except (ValueError, TypeError):
        return PlatformEndpoints("", (), frozenset())
    assert isinstance(outputs, PlatformOutputs)
    made = frozenset(item.name for item in state.resources)
    return PlatformEndpoints(outputs.cloud, tuple(outputs.endpoints), made)
