"""The program of a platform stack: the platform's namespaces on one cloud, and a component resource per capability.

A capability is registered after those of the same platform that it uses, and depends on these only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import pulumi

from stacks import admin_rbac, manifests, network_policies, observers, pods, pulls, references, stack_references
from stacks.objects import Scope, open_scope
from stacks.platforms.component import CapabilityComponent, CapabilityScope, Used
from wecityctl.inputs import StackInputs
from wecityctl.model import naming
from wecityctl.model.backups import BACKUP_IMAGE
from wecityctl.model.city import Capability, Platform
from wecityctl.model.entries import instances
from wecityctl.model.manifests import COMPONENT, host_of, images_of
from wecityctl.model.naming import PLATFORM_LABEL, ZONE_LABEL
from wecityctl.model.outputs import Endpoint, PlatformOutputs, to_json
from wecityctl.model.registries import resolve_image
from wecityctl.model.requirements import in_order, requirements, uses_of

Program = Callable[[CapabilityScope, str, pulumi.ResourceOptions], CapabilityComponent]


def run(inputs: StackInputs) -> dict[str, Any]:
    """Register the platform's capabilities that are placed on this stack's cloud, and return the stack's outputs."""
    platform = next(item for item in inputs.city.platforms if item.name == inputs.stack.subject)
    here = [item for item in platform.capabilities if inputs.placement.capabilities[item.name] == inputs.stack.cloud]
    others = {item.name: _others(inputs, item) for item in here}
    own = {item.zone for item in here}
    zones = own | {item.zone for item in chain.from_iterable(others.values())}
    scope = open_scope(inputs, "platform", platform.name)
    scopes = {zone: _open_namespace(scope, platform.name, zone, retain=zone in own) for zone in sorted(zones)}

    def place(item: Capability, uses: tuple[Used, ...] = ()) -> CapabilityScope:
        namespace = naming.platform_namespace(platform.name, item.zone)
        return CapabilityScope(item, inputs.catalogue[item.type], namespace, scopes[item.zone], uses)

    made: dict[str, CapabilityComponent] = {}
    copies: dict[str, list[Endpoint]] = {}
    needed = requirements(inputs.city.capabilities, inputs.catalogue)
    for name in in_order({item.name: needed[item.name] for item in here}):
        capability = inputs.city.capability(name)
        program: Program = references.load(inputs.catalogue[capability.type].program, capability.type)
        context = place(capability, _used(inputs, capability, made))
        component = program(context, capability.name, pulumi.ResourceOptions())
        made[name] = component
        copies[name] = [component.also(place(other)) for other in others[name]]
    _add_manifests(scope, platform, here, scopes)
    endpoints = chain.from_iterable((made[item.name].endpoint, *copies[item.name]) for item in here)
    return to_json(PlatformOutputs(platform.name, inputs.stack.cloud, tuple(endpoints)))


def _add_manifests(scope: Scope, platform: Platform, here: Sequence[Capability], scopes: Mapping[str, Scope]) -> None:
    """Register the platform's own manifests, each on the cloud of the capability beside which it runs."""
    hosts = {id(host): host for item in platform.manifests if (host := host_of(platform, item)) in here}
    if not hosts:
        return
    parent = pulumi.ComponentResource("wecity:platform:Manifests", platform.name, {}, pulumi.ResourceOptions())
    labels = naming.standard_labels(
        scope.inputs.city.name,
        name=platform.name,
        component=COMPONENT,
        part_of=platform.name,
        instance=scope.inputs.city.name,
    )
    for host in hosts.values():
        home = scopes[host.zone].within(parent, labels)
        given = manifests.of_platform(scope.inputs, platform, host, labels)
        chosen = [item for item in platform.manifests if host_of(platform, item) is host]
        within = manifests.within(given, chosen, "manifests-within")
        ready = home.after(*home.add_all([within] if within is not None else []))
        manifests.register(given, chosen, home, ready)
    parent.register_outputs({})


def _used(inputs: StackInputs, capability: Capability, made: Mapping[str, CapabilityComponent]) -> tuple[Used, ...]:
    """The capability's uses of others.

    `made` has the components of this stack; other platforms' are read from outputs.
    """
    found = []
    for use in uses_of(capability, inputs.city.capabilities, inputs.catalogue):
        component = made.get(use.capability)
        if inputs.interconnects.use(capability, use.alias) is not None:
            there = stack_references.endpoint(inputs, use.capability).from_outside()
            found.append(Used(use, there, is_across=True))
        elif component is not None:
            found.append(Used(use, stack_references.known(component.endpoint), component))
        else:
            found.append(Used(use, stack_references.endpoint(inputs, use.capability)))
    return tuple(found)


def _others(inputs: StackInputs, capability: Capability) -> tuple[Capability, ...]:
    """For the entry point, the gateways of zones with an entry point of their own; empty for other capabilities."""
    return tuple(item for item in instances(inputs.city, capability) if item != capability)


def _open_namespace(scope: Scope, platform: str, zone: str, *, retain: bool) -> Scope:
    """Register the namespace of a platform (in a zone), with all traffic denied before pods start; returns its scope.

    `retain`: the namespace may contain volumes and is kept by `destroy` unless the user requests to delete the data.
    """
    name = naming.platform_namespace(platform, zone)
    labels = {PLATFORM_LABEL: platform}
    if zone:
        labels[ZONE_LABEL] = zone
    namespace = scope.add(pods.namespace(name, labels), protect=True, retain=retain)
    inside = scope.after(namespace)
    inside.add_all([*admin_rbac.bindings(scope.inputs.city, name), *observers.bindings(scope.inputs, name)])
    inputs = scope.inputs
    whole = next(item for item in inputs.city.platforms if item.name == platform)
    images = {inputs.images[image] for item in whole.capabilities for image in inputs.catalogue[item.type].images}
    if BACKUP_IMAGE in inputs.images:
        images.add(inputs.images[BACKUP_IMAGE])
    images |= {resolve_image(image, inputs.images, inputs.city.images.registry) for image in images_of(whole)}
    # A retained namespace keeps its network policies too.
    return inside.after(
        inside.add(network_policies.default_deny(name), retain=retain),
        inside.add(network_policies.allow_dns(name)),
        *inside.add_all([*pulls.secrets_for(inputs, name, images)]),
    )
