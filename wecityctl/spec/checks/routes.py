"""Checks routes of apps, the entry points and ports that they need, and flows between zones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from wecityctl.errors import Problem
from wecityctl.model.entries import gateway_of, ingress_class_of
from wecityctl.spec.checks.check import Check
from wecityctl.spec.nodes import PathItem
from wecityctl.spec.parsed_city import ParsedCity


def routes_lead_somewhere(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A published route needs a component with a port, and the city needs an entry point."""
    entry = any(item.is_entry for item in parsed_city.capability_by_name.values())
    entry = entry or any(cloud.value.kubernetes.ingress_class for cloud in parsed_city.clouds)
    entry = entry or not parsed_city.knows_all("Platform", "Cloud")
    for app in parsed_city.apps:
        if not app.value.is_routed:
            continue
        route = app.value.route
        if app.value.web_component is None and not (route is not None and route.service):
            yield app.problem(
                ("spec", "route"), "the route leads to no component", "a component with a port", on_key=True
            )
        if not entry:
            message = "the city has no entry point for this route"
            expected = "a capability of type gateway on the application platform, or a cloud with an ingressClass"
            yield app.problem(("spec", "route"), message, expected, on_key=True)


def ingress_classes_of_zones(parsed_city: ParsedCity) -> Iterator[Problem]:
    """If ingress classes are the entry points, each zone with routes has a class of its own."""
    city = parsed_city.city
    if city is None or not parsed_city.knows_all("City", "Cloud", "Platform"):
        return
    whole = replace(city.value, platforms=tuple(item.value for item in parsed_city.platforms))
    if gateway_of(whole) is not None:
        return
    entry = next((cloud for cloud in parsed_city.clouds if cloud.value.kubernetes.ingress_class), None)
    if entry is None:
        return
    settings = entry.value.kubernetes
    owners = {settings.ingress_class: "ingressClass"}
    for zone, name in settings.zone_ingress_classes.items():
        path: tuple[PathItem, ...] = ("spec", "kubernetes", "zoneIngressClasses", zone)
        if owners.setdefault(name, zone) != zone:
            yield entry.problem(path, f"ingress class {name!r} serves {owners[name]} already", "a class of its own")
    for app in parsed_city.apps:
        if app.value.is_routed and not ingress_class_of(whole, entry.value, app.value.zone):
            message = f"no ingress class of cloud {entry.value.name!r} serves zone {app.value.zone!r}"
            expected = f"one for {app.value.zone} under spec.kubernetes.zoneIngressClasses of the Cloud"
            yield app.problem(("spec", "route"), message, expected, on_key=True)


def tls_needs_the_gateway(parsed_city: ParsedCity) -> Iterator[Problem]:
    """`route.tls` needs the city's own gateway: the ingress controller of an existing cluster does not know the CA."""
    if not parsed_city.knows_all("Platform"):
        return
    if any(item.is_entry for item in parsed_city.capability_by_name.values()):
        return
    for app in parsed_city.apps:
        if app.value.route is not None and app.value.route.tls:
            message = "the entry point is a cluster's ingress controller, which does not know the app's certificate"
            yield app.problem(("spec", "route", "tls"), message, "no tls, or a capability of type gateway")


def limits_of_routes(parsed_city: ParsedCity) -> Iterator[Problem]:
    """`route.limits` and `trustedProxies` need the city's own gateway, and a burst needs a rate that it is beyond."""
    needs_gateway = parsed_city.knows_all("Platform")
    needs_gateway = needs_gateway and not any(item.is_entry for item in parsed_city.capability_by_name.values())
    city = parsed_city.city
    if needs_gateway and city is not None and city.value.entry.trusted_proxies:
        message = "the entry point is a cluster's ingress controller, which decides by itself whom it believes"
        expected = "no trustedProxies, or a capability of type gateway"
        yield city.problem(("spec", "entry", "trustedProxies"), message, expected, on_key=True)
    for app in parsed_city.apps:
        route, path = app.value.route, ("spec", "route", "limits")
        if route is None or not app.has(*path):
            continue
        if needs_gateway:
            message = "the entry point is a cluster's ingress controller, which has limits of its own"
            yield app.problem(path, message, "no limits, or a capability of type gateway", on_key=True)
        elif route.limits.burst is not None and route.limits.requests_per_second is None:
            message = "a burst is what is taken beyond a rate, and there is none"
            yield app.problem((*path, "burst"), message, "requestsPerSecond beside it, or no burst", on_key=True)


def health_needs_a_port(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A component with a health path has a port, on which the probe is made."""
    for app in parsed_city.apps:
        for index, part in enumerate(app.value.components):
            if part.health_path and part.port is None:
                path = ("spec", "components", index, "health")
                yield app.problem(
                    path, "health is asked on the component's port, and it has none", "a port", on_key=True
                )


def flows_between_zones(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A flow connects two different zones, or two clouds that serve one zone. Within that, `uses` opens the network."""
    if not parsed_city.knows_all("Cloud"):
        return
    for city in parsed_city.cities:
        for index, flow in enumerate(city.value.flows):
            serving = [cloud for cloud in parsed_city.clouds if flow.source in cloud.value.zones]
            if flow.source == flow.target and len(serving) < 2:
                path = ("spec", "flows", index, "to")
                message = (
                    f"a flow from zone {flow.source!r} to itself crosses clouds, and fewer than two serve the zone"
                )
                yield city.problem(path, message, "another zone")


CHECKS: tuple[Check, ...] = (
    routes_lead_somewhere,
    ingress_classes_of_zones,
    tls_needs_the_gateway,
    limits_of_routes,
    health_needs_a_port,
    flows_between_zones,
)
