"""The entry points of a city: routes of a zone are served by that zone's entry point and by no other.

Pure functions of the files. What a city has beside its gateway follows from the zones in which apps are routed, so that
stacks, placement and rules agree without asking each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from wecityctl.model import naming
from wecityctl.model.city import Capability, City, Cloud
from wecityctl.model.outputs import RouteTarget

# The Service that leads to a gateway's pods from outside.
ENTRY_SERVICE = "entry"
# How the names of those values of the secret store begin that the city's own authority issues.
ISSUED_PREFIX = naming.ENTRY_KEYS
# The certificates of the city's own authority, in the secret store beside what it issues.
AUTHORITY_KEY = naming.secret_key("entry", "authority")


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """One entry point: the gateway that serves it and the zones whose routes it serves.

    `is_main`: it is the gateway that the files name. The others are copies of it, each in a namespace of its zone.
    """

    gateway: Capability
    zones: tuple[str, ...]
    is_main: bool

    @property
    def namespace(self) -> str:
        """The namespace of the gateway's pods and of the Service `entry`."""
        return naming.platform_namespace(self.gateway.platform, self.gateway.zone)


def gateway_of(city: City) -> Capability | None:
    """The gateway that the files name, if the city has one of its own."""
    return next((item for item in city.capabilities if item.is_entry), None)


def main_zones(city: City) -> tuple[str, ...]:
    """The zones that the main entry point serves: the gateway's own; else those of kind `internet`, else the first."""
    gateway = gateway_of(city)
    if gateway is not None and gateway.zone:
        return (gateway.zone,)
    return tuple(zone.name for zone in city.zones if zone.kind == "internet") or (city.zones[0].name,)


def entry_of(city: City, zone: str) -> EntryPoint | None:
    """The entry point that serves routes of `zone`; `None` for a city without a gateway."""
    gateway, zones = gateway_of(city), main_zones(city)
    if gateway is None:
        return None
    if zone in zones:
        return EntryPoint(gateway, zones, is_main=True)
    own = replace(gateway, name=naming.zone_gateway(gateway.name, zone), zone=zone)
    return EntryPoint(own, (zone,), is_main=False)


def entry_points(city: City) -> tuple[EntryPoint, ...]:
    """The main entry point, then one for each other zone in which an app is routed, in the order of the zones."""
    zones = main_zones(city)
    routed = {app.zone for app in city.apps if app.is_routed}
    others = [zone.name for zone in city.zones if zone.name in routed and zone.name not in zones]
    found = [entry_of(city, name) for name in (zones[0], *others)]
    return tuple(item for item in found if item is not None)


def zone_of(city: City, route: RouteTarget) -> str:
    """The zone of a route's app, read from its namespace; empty where the city has no such zone any more."""
    names = (zone.name for zone in city.zones)
    return next((name for name in names if naming.tenant_namespace(route.tenant, name) == route.namespace), "")


def ingress_class_of(city: City, cloud: Cloud, zone: str) -> str:
    """The ingress class that serves routes of `zone` on a cloud with ingress controllers of its own; empty for none."""
    settings = cloud.kubernetes
    return settings.ingress_class if zone in main_zones(city) else settings.zone_ingress_classes.get(zone, "")


def speaks_tls(city: City, cloud: Cloud) -> bool:
    """Whether the gateways on `cloud` speak HTTPS: as the City says, else on an embedded cloud or with a certificate.

    Elsewhere something in front of the gateway may end TLS, and expects plain HTTP behind it.
    """
    tls = city.entry.tls
    if tls.enabled is not None:
        return tls.enabled
    return cloud.provider == "local" or bool(tls.certificates)


def certificate_key(city: City, cloud: Cloud, entry: EntryPoint) -> str:
    """The name of an entry point's certificate and key in the city's secret store; empty for plain HTTP."""
    if not speaks_tls(city, cloud):
        return ""
    given = next((city.entry.tls.certificates[zone] for zone in entry.zones if zone in city.entry.tls.certificates), "")
    return naming.secret_key("tenant", given) if given else naming.secret_key("entry", entry.gateway.name, "tls")


def certificate_keys(city: City, cloud: Cloud) -> tuple[str, ...]:
    """The names of all that the entry points on `cloud` need of the secret store; none for plain HTTP."""
    keys = tuple(filter(None, (certificate_key(city, cloud, entry) for entry in entry_points(city))))
    return (*keys, AUTHORITY_KEY) if any(key.startswith(ISSUED_PREFIX) for key in keys) else keys
