"""Decides whether an app may use a capability, or be routed to, across clouds: only through a declared flow.

The stacks implement the network path.
"""

from __future__ import annotations

from wecityctl.model import served
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import App, Capability, City, Cloud, Flow
from wecityctl.model.entries import gateway_of, main_zones
from wecityctl.model.provided import ProvidedPort
from wecityctl.model.service_tls import speaks_tls


def offered_zone(app: App, capability: Capability) -> str:
    """The zone in which the app meets the capability; the app's own if the capability names none."""
    return capability.zone or app.zone


def interconnect_flow(city: City, catalogue: Catalogue, app: App, capability: Capability) -> Flow | None:
    """The first declared flow from the app's zone to the capability's that contains the capability's port, if any.

    To cross clouds to a capability without a zone, a flow from the app's zone to itself is needed.
    """
    return _flow(city, app.zone, offered_zone(app, capability), catalogue[capability.type].port)


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


def is_private(app: App, end: Capability | App, *, encrypted: bool, data_class: str = "") -> bool:
    """Whether traffic of the app with `end` may cross clouds only over an encrypted connection.

    That holds for data of class L3 or L4, unless the protocol itself encrypts (`encrypted`). `data_class` is the class
    of the data that passes (empty: the app's).
    If users have pinned both ends, the pins decide, and the policy rule `crossing-plaintext` reports it.
    """
    pinned = bool(app.cloud) and bool(end.cloud)
    return (data_class or app.data_class) in ("L3", "L4") and not encrypted and not pinned


def reaches_encrypted(source: Cloud, target: Cloud) -> bool:
    """Whether one cloud can reach another, and both declare the connection as encrypted."""
    return source.name == target.name or (
        reaches(source, target) and source.interconnect.encrypted and target.interconnect.encrypted
    )


def _flow(city: City, source: str, target: str, port: int) -> Flow | None:
    return next(
        (flow for flow in city.flows if (flow.source, flow.target) == (source, target) and port in flow.ports), None
    )
