"""Small programs that the engine's tests run in place of the city's own."""

from __future__ import annotations

from typing import Any

import pulumi

from wecityctl.inputs import StackInputs
from wecityctl.model.outputs import BaseOutputs, TenantOutputs


class Part(pulumi.ComponentResource):
    """A component with nothing in it."""

    def __init__(self, name: str, **inputs: Any) -> None:
        super().__init__("wecity:test:Part", name, inputs, None)
        self.register_outputs({})


def components(inputs: StackInputs) -> dict[str, Any]:
    """Components only: needs no provider and no cluster."""
    stack = inputs.stack
    if stack.layer == "base":
        Part("floor", zones=list(inputs.city.zones[0].name))
        return {
            "cloud": stack.cloud,
            "provider": "local",
            "zones": pulumi.Output.from_input([zone.name for zone in inputs.city.zones]),
            "storage_class": "",
            "ingress_class": "",
            "simulated": True,
        }
    if stack.layer == "platform":
        for name in stack.secrets:
            Part(name, value=pulumi.Output.secret(inputs.secrets.get(name, "none yet")))
        return {"platform": stack.subject, "cloud": stack.cloud, "endpoints": []}
    if stack.layer == "tenant":
        base = next(outputs for outputs in inputs.upstream.values() if isinstance(outputs, BaseOutputs))
        Part(stack.subject, cloud=base.cloud)
        return {"tenant": stack.subject, "cloud": stack.cloud, "namespaces": ["a"], "routes": []}
    tenants = [outputs.tenant for outputs in inputs.upstream.values() if isinstance(outputs, TenantOutputs)]
    Part("entry", tenants=tenants)
    return {"domain": inputs.city.domain, "hosts": tenants, "node_port": 30080, "simulated": True}
