"""Whether an app may use a capability, or be routed to, on another cloud: the declared flow that lets it through.

How the traffic then finds its way is the stacks' business.
"""

from __future__ import annotations

from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import App, Capability, City, Cloud, Flow
from wecityctl.model.entries import gateway_of, main_zones
from wecityctl.model.service_tls import speaks_tls


def offered_zone(app: App, capability: Capability) -> str:
    """The zone in which the app meets the capability: one that names none counts as being in the app's."""
    return capability.zone or app.zone


def interconnect_flow(city: City, catalogue: Catalogue, app: App, capability: Capability) -> Flow | None:
    """The first declared flow from the app's zone to the capability's that names the capability's port, if any.

    Crossing to a capability without a zone takes a flow from the app's zone to itself.
    """
    return _flow(city, app.zone, offered_zone(app, capability), catalogue[capability.type].port)


def route_flow(city: City, app: App) -> Flow | None:
    """The first declared flow through which the entry point may reach the app's web component from another cloud, if
    any. The entry point is in the app's zone: crossing clouds takes a flow from that zone to itself.
    """
    web = app.web_component
    if gateway_of(city) is None or web is None or web.port is None:
        return None
    return _flow(city, app.zone, app.zone, web.port)


def serves_entry(city: City, cloud: Cloud, zone: str) -> bool:
    """Whether the entry point for routes of `zone` may be on `cloud`: a zone's own lies where the zone does."""
    return zone in cloud.zones or zone in main_zones(city)


def ingress_cloud(city: City) -> str:
    """The first cloud with an ingress class of its own, `""` for none: the entry point of a city without a gateway."""
    return next((cloud.name for cloud in city.clouds if cloud.kubernetes.ingress_class), "")


def is_closed(city: City, zone: str) -> bool:
    """Whether nothing in the zone is offered to other clouds: so it is in a government extranet."""
    return any(item.name == zone and item.kind == "government-extranet" for item in city.zones)


def is_apart(one: Cloud, other: Cloud) -> bool:
    """Whether one of the clouds is on a real embedded node, which lets its pods out to its like alone, and not both."""
    real = [cloud.provider == "local" and cloud.local.nodes == "real" for cloud in (one, other)]
    return any(real) and not (one.provider == other.provider == "local")


def reaches(source: Cloud, target: Cloud) -> bool:
    """Whether a way leads from one cloud to another: an embedded cloud's addresses are known, others' are written."""
    return source.name == target.name or (
        not is_apart(source, target)
        and (source.provider == "local" or bool(source.interconnect.sources))
        and (target.provider == "local" or bool(target.interconnect.address))
    )


def use_is_encrypted(capability: Capability, catalogue: Catalogue) -> bool:
    """Whether what users of the capability say to it is encrypted by its protocol, always."""
    return catalogue[capability.type].encrypted or speaks_tls(capability, catalogue)


def route_is_encrypted(app: App) -> bool:
    """Whether the entry point's way to the app is encrypted."""
    return app.serves_tls


def is_private(app: App, *ends: Capability, encrypted: bool) -> bool:
    """Whether what the app and `ends` say to each other crosses clouds encrypted or not at all: data of class L3 or L4.

    Where people have pinned both ends their word stands here, and the policy rule `crossing-plaintext` judges it.
    """
    pinned = bool(app.cloud) and all(end.cloud for end in ends)
    return app.data_class in ("L3", "L4") and not encrypted and not pinned


def reaches_encrypted(source: Cloud, target: Cloud) -> bool:
    """Whether a way leads from one cloud to another of which both say that it is encrypted."""
    return source.name == target.name or (
        reaches(source, target) and source.interconnect.encrypted and target.interconnect.encrypted
    )


def _flow(city: City, source: str, target: str, port: int) -> Flow | None:
    return next(
        (flow for flow in city.flows if (flow.source, flow.target) == (source, target) and port in flow.ports), None
    )
