"""Reads the outputs of other stacks; values are unknown while a stack has no outputs.

That is the case in a first preview. Names in URNs must be plain strings and are therefore derived from the files.
Everything that another stack decides is an unknown value until then, and never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pulumi

from stacks.objects import unknown
from wecityctl.inputs import StackInputs
from wecityctl.model import naming
from wecityctl.model.city import Capability
from wecityctl.model.entries import EntryPoint
from wecityctl.model.outputs import BaseOutputs, Endpoint, LandingOutputs, PlatformOutputs


@dataclass(frozen=True)
class KnownEndpoint:
    """An endpoint whose fields can be used in manifests, whether known or not."""

    capability: str
    type: str
    engine: pulumi.Input[str]
    namespace: pulumi.Input[str]
    service: pulumi.Input[str]
    host: pulumi.Input[str]
    port: pulumi.Input[int]
    pod_labels: pulumi.Input[Any]
    admin_secret: pulumi.Input[str]
    image: pulumi.Input[str]
    external_host: pulumi.Input[str]
    external_port: pulumi.Input[int]

    def from_outside(self) -> KnownEndpoint:
        """The endpoint as other clouds reach it: at the node port."""
        return replace(self, host=self.external_host, port=self.external_port)


def base_outputs(inputs: StackInputs) -> BaseOutputs | None:
    """The outputs of the base stack of this stack's cloud; `None` if there are none yet."""
    outputs = inputs.upstream.get(naming.stack_name(inputs.city.name, "base", inputs.stack.cloud))
    return outputs if isinstance(outputs, BaseOutputs) else None


def landing_outputs(inputs: StackInputs) -> LandingOutputs | None:
    """The outputs of the landing zone of this stack's cloud; `None` if there are none yet."""
    outputs = inputs.upstream.get(naming.stack_name(inputs.city.name, "landing", inputs.stack.cloud))
    return outputs if isinstance(outputs, LandingOutputs) else None


def endpoint(inputs: StackInputs, capability_name: str) -> KnownEndpoint:
    """The endpoint of a capability; unknown while the stack of its platform has no outputs."""
    return _endpoint(inputs, inputs.city.capability(capability_name), inputs.placement.capabilities[capability_name])


def entry_endpoint(inputs: StackInputs, entry: EntryPoint) -> KnownEndpoint:
    """The endpoint of an entry point's gateway. All entry points of a city are on one cloud."""
    return _endpoint(inputs, entry.gateway, inputs.placement.entry)


def _endpoint(inputs: StackInputs, capability: Capability, cloud: str) -> KnownEndpoint:
    stack = naming.stack_name(inputs.city.name, "platform", capability.platform, cloud)
    outputs = inputs.upstream.get(stack)
    if isinstance(outputs, PlatformOutputs):
        for found in outputs.endpoints:
            if found.capability == capability.name:
                return known(found)
    blank = unknown()
    return KnownEndpoint(capability.name, capability.type, *[blank] * 10)


def known(found: Endpoint) -> KnownEndpoint:
    """Convert an endpoint into values for manifests."""
    return KnownEndpoint(
        found.capability,
        found.type,
        found.engine,
        found.namespace,
        found.service,
        found.host,
        found.port,
        dict(found.pod_labels),
        found.admin_secret,
        found.image,
        found.external_host or unknown(),
        found.external_port or unknown(),
    )
