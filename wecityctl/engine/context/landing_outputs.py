"""Reads the outputs of landing zones for the layers above them: the kubeconfig.

The caller passes `run` a function that turns a kubeconfig into a cluster.
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
# The parts of a landing zone that can hold data, as text for users.
DATA = "the cluster with its volumes, buckets, keys"


def is_landing(stack: str) -> bool:
    """Whether a stack is a landing zone, by its name alone: the stack may have been removed from the configuration."""
    return StackName.parse(stack).layer == LAYER


def holds_data(state: StackState) -> bool:
    """Whether a landing zone created resources that can hold data. Its program protects those; resources it only reads
    are not protected.
    """
    return any(resource.custom and resource.protect for resource in state.resources)


def kept_outputs(backend: Backend, cloud: str) -> LandingOutputs | None:
    """Return the decrypted outputs of the cloud's landing zone from its state; `None` without
    outputs of this version.
    """
    state = backend.read_state(stack_name(backend.city, LAYER, cloud))
    return _outputs_of(state.outputs) if state is not None else None


def kubeconfig_of(outputs: Mapping[str, Any] | None) -> str | None:
    """Return the kubeconfig in a landing zone's outputs; `None` without outputs of this version."""
    found = _outputs_of(outputs)
    return found.kubeconfig if found is not None else None


def _outputs_of(outputs: Mapping[str, Any] | None) -> LandingOutputs | None:
    try:
        found = outputs_from_json(LAYER, dict(outputs)) if outputs is not None else None
    except (ValueError, TypeError):
        return None
    return found if isinstance(found, LandingOutputs) else None


def redacted(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stack's outputs for display, with a mark in place of secret values."""
    return {key: SECRET if key in SECRET_OUTPUTS and value else value for key, value in outputs.items()}
