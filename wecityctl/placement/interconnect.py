"""Decides whether a use of a capability or an app, or a route, may cross clouds: only through declared flows.

The stacks implement the network path.
"""

from __future__ import annotations

from dataclasses import dataclass

from wecityctl.model import served
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import App, Capability, City, Cloud, Flow
from wecityctl.model.entries import gateway_of, main_zones
from wecityctl.model.provided import ProvidedPort
from wecityctl.model.requirements import reached, requirements
from wecityctl.model.service_tls import speaks_tls


@dataclass(frozen=True, slots=True)
class NeededFlow:
    """What a use of a capability needs to cross clouds: a flow between two zones with the port, and the first one
    declared, if any."""

    source: str
    target: str
    port: int
    flow: Flow | None


def needed_flows(
    city: City, catalogue: Catalogue, user: App | Capability, capability: Capability
) -> tuple[NeededFlow, ...]:
    """What the use of `capability` needs to cross clouds: a flow from each zone of its user to the capability's zone.

    A capability without a zone is in that of its user: the flow then leads from a zone to itself. A user that is a
    capability without a zone is in the zone of every running app that uses it, directly or indirectly, and in every
    zone of the city while there is none.
    """
    port = catalogue[capability.type].port
    found = []
    for zone in (user.zone,) if user.zone else _zones_of_users(city, catalogue, user.name):
        target = capability.zone or zone
        found.append(NeededFlow(zone, target, port, _flow(city, zone, target, port)))
    return tuple(found)


def _zones_of_users(city: City, catalogue: Catalogue, capability: str) -> tuple[str, ...]:
    graph = requirements(city.capabilities, catalogue)
    zones = (
        app.zone
        for app in city.apps
        if app.runs and any(capability in reached(graph, use.capability) for use in app.uses)
    )
    return tuple(dict.fromkeys(zones)) or tuple(zone.name for zone in city.zones)


def app_use_flow(city: City, app: App, target: ProvidedPort) -> Flow | None:
    """The first declared flow from the app's zone to that of an app that it uses with the used port, if any.

    To cross clouds within a zone, a flow from the zone to itself is needed.
    """
    return _flow(city, app.zone, target.app.zone, target.pod_port)


def route_flow(city: City, app: App) -> Flow | None:
    """The first declared flow by which the entry point may reach the routed pods of the app on another cloud, if any.

    The entry point is in the app's zone, so crossing clouds needs a flow from that zone to itself.
    """
    routed = served.of_route(app) if gateway_of(city) is not None else None
    return _flow(city, app.zone, app.zone, routed.pod_port) if routed is not None else None


def serves_entry(city: City, cloud: Cloud, zone: str) -> bool:
    """Whether the entry point for routes of `zone` may be on `cloud`: an own entry point needs a cloud that serves the
    zone.
    """
    return zone in cloud.zones or zone in main_zones(city)


def ingress_cloud(city: City) -> str:
    """The first cloud with an ingress class, which is the entry point of a city without a gateway; `""` if none."""
    return next((cloud.name for cloud in city.clouds if cloud.kubernetes.ingress_class), "")


def is_closed(city: City, zone: str) -> bool:
    """Whether the zone offers nothing to other clouds, as a government extranet."""
    return any(item.name == zone and item.kind == "government-extranet" for item in city.zones)


def is_apart(one: Cloud, other: Cloud) -> bool:
    """Whether one is embedded with real nodes, whose pods reach embedded clouds only, and the other is not embedded."""
    real = [cloud.provider == "local" and cloud.local.nodes == "real" for cloud in (one, other)]
    return any(real) and not (one.provider == other.provider == "local")


def reaches(source: Cloud, target: Cloud) -> bool:
    """Whether one cloud can reach another: addresses of embedded clouds are known, others come from the files."""
    return source.name == target.name or (
        not is_apart(source, target)
        and (source.provider == "local" or bool(source.interconnect.sources))
        and (target.provider == "local" or bool(target.interconnect.address))
    )


def use_is_encrypted(capability: Capability, catalogue: Catalogue) -> bool:
    """Whether the capability's protocol always encrypts the traffic with its users."""
    return catalogue[capability.type].is_always_encrypted or speaks_tls(capability, catalogue)


def route_is_encrypted(app: App) -> bool:
    """Whether the traffic between the entry point and the app is encrypted."""
    return app.serves_tls


def is_private(user: App | Capability, end: Capability | App, data_class: str, *, encrypted: bool) -> bool:
    """Whether traffic of `user` with `end` may cross clouds only over an encrypted connection.

    That holds for data of class L3 or L4, unless the protocol itself encrypts (`encrypted`). `data_class` is the class
    of the data that passes.
    If users have pinned both ends, the pins decide, and the policy rule `crossing-plaintext` reports it.
    """
    pinned = bool(user.cloud) and bool(end.cloud)
    return data_class in ("L3", "L4") and not encrypted and not pinned


def reaches_encrypted(source: Cloud, target: Cloud) -> bool:
    """Whether one cloud can reach another, and both declare the connection as encrypted."""
    return source.name == target.name or (
        reaches(source, target) and source.interconnect.encrypted and target.interconnect.encrypted
    )


def _flow(city: City, source: str, target: str, port: int) -> Flow | None:
    return next(
        (flow for flow in city.flows if (flow.source, flow.target) == (source, target) and port in flow.ports), None
    )
