"""Checks the names of the objects that the stacks will create: unique in their namespace, and not reserved.

Names are computed with `naming`, as in the stacks' programs. A test records generated cities and compares the names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from wecityctl.errors import Problem
from wecityctl.model import naming
from wecityctl.model.city import App, Capability
from wecityctl.model.entries import ENTRY_SERVICE
from wecityctl.model.provided import component_of
from wecityctl.spec.checks.check import Check
from wecityctl.spec.nodes import PathItem, SourceLocation
from wecityctl.spec.parsed_city import ParsedCity
from wecityctl.spec.renames import parsed_with_kept_names

# Namespaces of every cluster. Every namespace also has a service account `default`.
_KUBERNETES_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease"})
_DEFAULT_ACCOUNT = "default"
_NAME: tuple[PathItem, ...] = ("metadata", "name")
_EXPECTED = "another name for one of the two"


def namespaces(parsed_city: ParsedCity) -> Iterator[Problem]:
    """No tenant's namespace is one of Kubernetes'. That of a tenant without apps is not another tenant's either.

    For tenants with apps, collisions between tenants are reported by `duplicates.derived_names`.
    """
    owners: dict[str, str] = {}
    for app in parsed_city.apps:
        name = naming.tenant_namespace(app.value.tenant, app.value.zone)
        owners.setdefault(name, app.value.tenant)
        if name in _KUBERNETES_NAMESPACES:
            message = f"namespace {name!r} of the tenant in zone {app.value.zone!r} is Kubernetes' own"
            yield app.problem(("metadata", "tenant"), message, "another name for the tenant or the zone")
    if not parsed_city.knows_all("App", "Cloud") or not parsed_city.clouds:
        return
    busy = {app.value.tenant for app in parsed_city.apps if app.value.runs}
    for tenant in parsed_city.tenants:
        if tenant.value.name in busy:
            continue
        zone = parsed_city.clouds[0].value.zones[0]
        name = naming.tenant_namespace(tenant.value.name, zone)
        owner = owners.setdefault(name, tenant.value.name)
        if name in _KUBERNETES_NAMESPACES or owner != tenant.value.name:
            whose = "Kubernetes' own" if name in _KUBERNETES_NAMESPACES else f"that of tenant {owner!r}"
            message = f"namespace {name!r} of the tenant, which begins in zone {zone!r}, is {whose}"
            yield tenant.problem(("metadata", "name"), message, "another name for the tenant or the zone")


def apps(parsed_city: ParsedCity) -> Iterator[Problem]:
    """The objects of apps in one namespace have different names."""
    taken: dict[tuple[str, str, str], tuple[str, SourceLocation]] = {}
    for app in parsed_with_kept_names(parsed_city).apps:
        value, path = app.value, _NAME
        if value.name == _DEFAULT_ACCOUNT:
            message = "an app 'default' would take the service account that Kubernetes makes in every namespace"
            yield app.problem(path, message, "another name")
        namespace = naming.tenant_namespace(value.tenant, value.zone)
        owner = f"app {value.tenant}/{value.name}"
        found = [(namespace, *each) for each in _objects_of(value, interconnect=len(parsed_city.clouds) > 1)]
        if value.is_routed:
            # The Service that routes to the app is in the entry point's namespace, beside those of its other apps.
            name = naming.fit(f"{value.tenant}-{value.name}")
            found.append((f"the entry point of {_entry(parsed_city, value.zone)}", "NetworkPolicy", name, "the route"))
        for place, kind, name, of in found:
            whose, here = f"{of} of {owner}", app.place(*path)
            other, there = taken.setdefault((place, kind, name), (whose, here))
            if other != whose:
                yield app.problem(path, f"{kind} {name!r} would belong to {whose} and to {other} ({there})", _EXPECTED)
    yield from _claims(parsed_city)


def _claims(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Each volume of a component has a claim of its own, also beside those that retired apps leave."""
    taken: dict[tuple[str, str], tuple[str, SourceLocation]] = {}
    for app, path, part in parsed_with_kept_names(parsed_city).components():
        value = app.value
        namespace = naming.tenant_namespace(value.tenant, value.zone)
        workload = naming.component_workload(value.name, part.name)
        for index, volume in enumerate(part.volumes):
            here = (*path, "volumes", index, "name")
            whose = f"volume {volume.name!r} of component {part.name!r} of app {value.tenant}/{value.name}"
            name = naming.volume_claim(workload, volume.name)
            other, there = taken.setdefault((namespace, name), (whose, app.place(*here)))
            if other != whose:
                message = f"claim {name!r} would belong to {whose} and to {other} ({there})"
                yield app.problem(here, message, "names that differ when joined by '-'")


def _entry(parsed_city: ParsedCity, zone: str) -> str:
    """The entry point of the zone: that of the zone itself, or the one that zones of kind `internet` share."""
    kinds = {item.name: item.kind for city in parsed_city.cities for item in city.value.zones}
    return "the internet" if kinds.get(zone) == "internet" else zone


def capabilities(parsed_city: ParsedCity) -> Iterator[Problem]:
    """The objects of capabilities in one namespace have different names."""
    taken: dict[tuple[str, str, str], str] = {}
    for _, _, item in parsed_city.capabilities():
        if item.is_entry:
            taken[(_namespace(item), "Service", ENTRY_SERVICE)] = "the city's entry point"
            # Routes may be added to any zone later, and the zone then gets an entry point.
            for zone in parsed_city.zone_names:
                own = replace(item, name=naming.zone_gateway(item.name, zone), zone=zone)
                names = (("Service", ENTRY_SERVICE), *_objects_of_capability(own, interconnect=False))
                taken |= {(_namespace(own), *each): f"the entry point of zone {zone!r}" for each in names}
    for platform, path, item in parsed_city.capabilities():
        whose = f"capability {item.name!r}"
        for kind, name in _objects_of_capability(item, interconnect=len(parsed_city.clouds) > 1):
            other = taken.setdefault((_namespace(item), kind, name), whose)
            if other != whose:
                message = f"{kind} {name!r} would belong to {whose} and to {other}"
                yield platform.problem((*path, "name"), message, _EXPECTED)


def flows(parsed_city: ParsedCity) -> Iterator[Problem]:
    """No two flows have the same zones and ports, from which the network policies are named."""
    for city in parsed_city.cities:
        first: dict[tuple[str, str, tuple[int, ...]], int] = {}
        for index, flow in enumerate(city.value.flows):
            place: tuple[PathItem, ...] = ("spec", "flows", index)
            line = city.place("spec", "flows", first.setdefault((flow.source, flow.target, flow.ports), index)).line
            if first[(flow.source, flow.target, flow.ports)] != index:
                message = f"the flow from {flow.source!r} to {flow.target!r} is given twice (first in line {line})"
                yield city.problem(place, message)
            if len(set(flow.ports)) < len(flow.ports):
                yield city.problem((*place, "ports"), "a port is given twice", "each port once", on_key=True)


def _objects_of(app: App, *, interconnect: bool) -> Iterator[tuple[str, str, str]]:
    """Yield kind, name and purpose of an app's objects other than workloads, which `duplicates` checks."""
    if not app.runs:
        return
    if len(app.components) > 1:
        yield "NetworkPolicy", naming.fit(f"{app.name}-within"), "the components"
    if app.is_routed:
        yield "NetworkPolicy", naming.fit(f"{app.name}-from-entry"), "the route"
    for alias in [use.alias for use in app.uses] + [use.alias for use in app.app_uses]:
        yield "NetworkPolicy", naming.fit(f"{app.name}-to-{alias}"), f"binding {alias!r}"
        yield "Secret", naming.binding_secret(app.name, alias), f"binding {alias!r}"
    for item in app.provides:
        yield "NetworkPolicy", naming.fit(f"{app.name}-provides-{item.name}"), f"provided port {item.name!r}"
    for part in app.components:
        workload = naming.component_workload(app.name, part.name)
        if part.secrets:
            yield "Secret", f"{workload}-secrets", f"component {part.name!r}"
        if part.port is not None:
            yield "Service", workload, f"component {part.name!r}"
        if app.serves_tls and part is app.web_component:
            yield "Secret", naming.tls_secret(workload), f"the certificate of component {part.name!r}"
    for item in app.provides if interconnect else ():
        component = component_of(app, item)
        if component is not None:
            workload = naming.component_workload(app.name, component.name)
            yield "Service", naming.provided_service(workload, item.name), f"provided port {item.name!r}"
    web = app.web_component
    if interconnect and app.is_routed and web is not None:
        workload = naming.component_workload(app.name, web.name)
        yield "Service", naming.fit(f"{workload}-crossing"), "the route"


def _objects_of_capability(item: Capability, *, interconnect: bool) -> Iterable[tuple[str, str]]:
    name = item.name
    return (
        ("Service", name),
        *([("Service", naming.fit(f"{name}-crossing"))] if interconnect else []),
        ("ConfigMap", f"{name}-configuration"),
        ("ConfigMap", f"{name}-routes"),
    )


def _namespace(item: Capability) -> str:
    return naming.platform_namespace(item.platform, item.zone)


CHECKS: tuple[Check, ...] = (
    namespaces,
    apps,
    capabilities,
    flows,
)
