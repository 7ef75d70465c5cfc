"""The Pulumi program of every stack: calls the module of the stack's layer.

It returns the stack's outputs as JSON values, some of which may be `pulumi.Output`; the engine exports them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from wecityctl.inputs import StackInputs

_LAYERS = {
    "base": "stacks.base.kubernetes",
    "platform": "stacks.platforms.platform",
    "crossing": "stacks.tenants.interconnect",
    "tenant": "stacks.tenants.tenant",
    "entry": "stacks.entry.entry",
}


def run(inputs: StackInputs) -> Mapping[str, Any]:
    """Register the resources of `inputs.stack` and return its outputs."""
    program: Callable[[StackInputs], Mapping[str, Any]] = import_module(_module(inputs)).run
    return program(inputs)


def _module(inputs: StackInputs) -> str:
    if inputs.stack.layer == "landing":
        vendor = inputs.city.cloud(inputs.stack.cloud).vendor
        assert vendor is not None, "only vendors' clouds have landing zones"
        return vendor.module("landing")
    return _LAYERS[inputs.stack.layer]
