"""What landing zones leave for the layers above them: the kubeconfig in their outputs.

How a kubeconfig becomes a cluster is the caller's business: it hands `run` a function for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.checkpoint import StackState
from wecityctl.model.naming import stack_name
from wecityctl.model.outputs import LandingOutputs, LayerName, outputs_from_json
from wecityctl.model.stacknames import StackName
from wecityctl.resource_graph import SECRET

LAYER: LayerName = "landing"
SECRET_OUTPUTS = frozenset({"kubeconfig"})
# What may hold data in a landing zone, for people.
DATA = "the cluster with its volumes, buckets, keys"


def is_landing(stack: str) -> bool:
    """Whether a stack is a landing zone, by its name: it may were removed from the configuration."""
    return StackName.parse(stack).layer == LAYER


def holds_data(state: StackState) -> bool:
    """Whether a landing zone has made what data may lie in: its program protects that. What it only reads has none."""
    return any(resource.custom and resource.protect for resource in state.resources)


def kept_outputs(backend: Backend, cloud: str) -> LandingOutputs | None:
    """What the cloud's landing zone has put out, as the state has it, decrypted.

    `None` where there is nothing of this version.
    """
    state = backend.read_state(stack_name(backend.city, LAYER, cloud))
    return _outputs_of(state.outputs) if state is not None else None


def kubeconfig_of(outputs: Mapping[str, Any] | None) -> str | None:
    """The kubeconfig in a landing zone's outputs; `None` where there are none of this version."""
    found = _outputs_of(outputs)
    return found.kubeconfig if found is not None else None


def _outputs_of(outputs: Mapping[str, Any] | None) -> LandingOutputs | None:
    try:
        found = outputs_from_json(LAYER, dict(outputs)) if outputs is not None else None
    except (ValueError, TypeError):
        return None
    return found if isinstance(found, LandingOutputs) else None


def redacted(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """A stack's outputs for people: with a mark in place of what is secret."""
    return {key: SECRET if key in SECRET_OUTPUTS and value else value for key, value in outputs.items()}
