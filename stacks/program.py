"""The one program behind every stack: it hands the inputs to the layer's own module.

It returns the stack's outputs as JSON values, some of which may be `pulumi.Output`; the engine exports them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from wecityctl.errors import ConfigurationError
from wecityctl.inputs import StackInputs

_BASES = {
    "local": "wecityctl.stacks.base.kubernetes",
    "kubernetes": "wecityctl.stacks.base.kubernetes",
}
_LAYERS = {
    "platform": "wecityctl.stacks.platforms.platform",
    "tenant": "wecityctl.stacks.tenants.tenant",
    "entry": "wecityctl.stacks.entry.entry",
}


def run(inputs: StackInputs) -> Mapping[str, Any]:
    """Register the resources of `inputs.stack` and return its outputs."""
    program: Callable[[StackInputs], Mapping[str, Any]] = import_module(_module(inputs)).run
    return program(inputs)


def _module(inputs: StackInputs) -> str:
    if inputs.stack.layer != "base":
        return _LAYERS[inputs.stack.layer]
    provider = inputs.city.cloud(inputs.stack.cloud).provider
    if provider not in _BASES:
        raise ConfigurationError(
            f"cloud {inputs.stack.cloud!r}: there is no landing zone for provider {provider!r} yet",
            resolution="use provider local or kubernetes",
        )
    return _BASES[provider]
