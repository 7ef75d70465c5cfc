"""A middle platform on one cloud: its namespaces and, inside, one component resource for each capability."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from itertools import chain
from typing import Any

import pulumi

from wecityctl.inputs import StackInputs
from wecityctl.model import naming
from wecityctl.model.catalogue import CapabilityType
from wecityctl.model.city import SIZE_FACTORS, Capability
from wecityctl.model.entries import GATEWAY, entry_points
from wecityctl.model.naming import COMPONENT_LABEL, NAME_LABEL, PART_OF_LABEL, PLATFORM_LABEL, ZONE_LABEL
from wecityctl.model.outputs import Endpoint, PlatformOutputs, to_json
from wecityctl.model.service_tls import speaks_tls
from wecityctl.stacks import duties, network, pods
from wecityctl.stacks.objects import Manifest, Scope, open_scope
from wecityctl.stacks.pools import capability_affinity


@dataclass(frozen=True)
class CapabilityScope:
    """What a capability's program is given: the instance, its type, its namespace and where to register."""

    capability: Capability
    type: CapabilityType
    namespace: str
    scope: Scope

    @property
    def selector(self) -> dict[str, str]:
        """The labels that select the capability's pods; they never change in its life."""
        return {
            NAME_LABEL: self.capability.name,
            COMPONENT_LABEL: self.type.name,
            PART_OF_LABEL: self.capability.platform,
        }

    @property
    def storage(self) -> str:
        return self.capability.storage or self.type.storage

    @property
    def admin_key(self) -> str:
        """The name of the administrator's password in the city's secret store."""
        return naming.admin_key(self.capability.name)

    @property
    def tls(self) -> bool:
        """Whether the server has a certificate of the city's own, and refuses plain connections."""
        return speaks_tls(self.capability, self.scope.inputs.catalogue)

    def resources(self) -> dict[str, str]:
        """CPU and memory requests by size: the type's own for small, four times that for each step."""
        factor = SIZE_FACTORS[self.capability.size]
        return {"cpu": _times(self.type.cpu, factor), "memory": _times(self.type.memory, factor)}

    @property
    def affinity(self) -> Manifest | None:
        """The nodes that its pods may run on: of its image's architectures, and of its zone where it names one."""
        inputs = self.scope.inputs
        cloud = inputs.city.cloud(inputs.stack.cloud)
        return capability_affinity(cloud, self.capability, inputs.city.images.architectures)

    def endpoint(self, *, service: str, admin_secret: str = "", image: str = "") -> Endpoint:
        return Endpoint(
            capability=self.capability.name,
            type=self.type.name,
            engine=self.capability.engine or self.type.engines[0],
            namespace=self.namespace,
            service=service,
            port=self.type.port,
            pod_labels=self.selector,
            admin_secret=admin_secret,
            image=image,
        )


Program = Callable[[CapabilityScope, str, pulumi.ResourceOptions], "CapabilityComponent"]


class CapabilityComponent(pulumi.ComponentResource):
    """The base of every capability: one component resource with a stable URN, and an endpoint."""

    endpoint: Endpoint

    def __init__(self, context: CapabilityScope, name: str, opts: pulumi.ResourceOptions) -> None:
        super().__init__(f"wecity:{context.type.platform}:{type(self).__name__}", name, {}, opts)
        self.scope = context.scope.within(self, _labels(context, context.scope.inputs))
        self.endpoint = self._across(context, self.build(context))
        self.register_outputs({"endpoint": asdict(self.endpoint)})

    def _across(self, context: CapabilityScope, endpoint: Endpoint) -> Endpoint:
        """The endpoint with its way in for apps on other clouds, where there are any."""
        inputs = context.scope.inputs
        node_port = inputs.crossings.port(inputs.stack.cloud, context.capability.name)
        if not node_port:
            return endpoint
        name = naming.fit(f"{context.capability.name}-crossing")
        port = context.type.port
        self.scope.add(pods.node_port_service(context.namespace, name, context.selector, port, port, node_port))
        address = inputs.reach[inputs.stack.cloud].address
        return replace(endpoint, external_host=address, external_port=node_port)

    def also(self, context: CapabilityScope) -> Endpoint:
        """Register another instance of the capability, such as the gateway of a zone's own entry point."""
        self.scope = context.scope.within(self, _labels(context, context.scope.inputs))
        return self.build(context)

    def build(self, context: CapabilityScope) -> Endpoint:
        """Register the capability's objects under `self.scope` and return where it answers."""
        raise TypeError(f"{type(self).__name__} defines no build()")


def run(inputs: StackInputs) -> dict[str, Any]:
    """Register the platform's capabilities that are placed on this stack's cloud."""
    platform = next(item for item in inputs.city.platforms if item.name == inputs.stack.subject)
    here = [item for item in platform.capabilities if inputs.placement.capabilities[item.name] == inputs.stack.cloud]
    others = {item.name: _others(inputs, item) for item in here}
    own = {item.zone for item in here}
    zones = own | {item.zone for item in chain.from_iterable(others.values())}
    scope = open_scope(inputs, "platform", platform.name)
    scopes = {zone: _open_namespace(scope, platform.name, zone, retain=zone in own) for zone in sorted(zones)}

    def place(item: Capability) -> CapabilityScope:
        namespace = naming.platform_namespace(platform.name, item.zone)
        return CapabilityScope(item, inputs.catalogue[item.type], namespace, scopes[item.zone])

    endpoints = []
    for capability in here:
        program = _load(inputs.catalogue[capability.type].program)
        component = program(place(capability), capability.name, pulumi.ResourceOptions())
        endpoints += [component.endpoint, *(component.also(place(other)) for other in others[capability.name])]
    return to_json(PlatformOutputs(platform.name, inputs.stack.cloud, tuple(endpoints)))


def _others(inputs: StackInputs, capability: Capability) -> tuple[Capability, ...]:
    """Of the gateway, those of the zones that have an entry point of their own; nothing of other capabilities."""
    entries = entry_points(inputs.city) if capability.type == GATEWAY else ()
    return tuple(entry.gateway for entry in entries if not entry.is_main)


def _load(program: str) -> Program:
    module, _, attribute = program.partition(":")
    loaded: Program = getattr(import_module(module), attribute)
    return loaded


def _open_namespace(scope: Scope, platform: str, zone: str, *, retain: bool) -> Scope:
    """The namespace of a platform (in a zone), closed before anything runs in it.

    `retain`: volumes may live there, and both stay behind a destroy unless the user asks for the data to go.
    """
    name = naming.platform_namespace(platform, zone)
    labels = {PLATFORM_LABEL: platform}
    if zone:
        labels[ZONE_LABEL] = zone
    namespace = scope.add(pods.namespace(name, labels), protect=True, retain=retain)
    inside = scope.after(namespace)
    inside.add_all([*duties.bindings(scope.inputs.city, name)])
    # What stays is as closed as it was.
    return inside.after(inside.add(network.default_deny(name), retain=retain), inside.add(network.allow_dns(name)))


def _labels(context: CapabilityScope, inputs: StackInputs) -> dict[str, str]:
    return naming.standard_labels(
        inputs.city.name,
        name=context.capability.name,
        component=context.type.name,
        part_of=context.capability.platform,
        instance=inputs.city.name,
    )


def _times(quantity: str, factor: int) -> str:
    digits = quantity.rstrip("mKMGTi")
    return f"{int(digits) * factor}{quantity[len(digits) :]}"
