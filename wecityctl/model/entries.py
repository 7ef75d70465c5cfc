"""Derives a city's entry points. The routes of a zone are served by the entry point of that zone only.

Pure functions of the files. Entry points other than the main one follow from the zones with routed apps, so that
stacks, placement and rules compute the same result independently.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from wecityctl.model import naming
from wecityctl.model.city import Capability, City, Cloud
from wecityctl.model.outputs import RouteTarget

# The Service through which a gateway is reached from outside.
ENTRY_SERVICE = "entry"
# Prefix of the secret store keys of certificates that the city's own CA issues.
ISSUED_PREFIX = naming.ENTRY_KEYS
# The secret store key of the certificates of the city's own CA.
AUTHORITY_KEY = naming.secret_key("entry", "authority")


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """An entry point: its gateway, and the zones whose routes it serves.

    `is_main`: it is the gateway that the files declare. The others are copies of it in a namespace of their zone.
    """

    gateway: Capability
    zones: tuple[str, ...]
    is_main: bool

    @property
    def namespace(self) -> str:
        """The namespace of the gateway's pods and of the Service `entry`."""
        return naming.platform_namespace(self.gateway.platform, self.gateway.zone)


def gateway_of(city: City) -> Capability | None:
    """The gateway that the files declare; `None` if the city has none."""
    return next((item for item in city.capabilities if item.is_entry), None)


def main_zones(city: City) -> tuple[str, ...]:
    """The zones of the main entry point: the gateway's zone; else those of kind `internet`; else the first zone."""
    gateway = gateway_of(city)
    if gateway is not None and gateway.zone:
        return (gateway.zone,)
    return tuple(zone.name for zone in city.zones if zone.kind == "internet") or (city.zones[0].name,)


def entry_of(city: City, zone: str) -> EntryPoint | None:
    """The entry point that serves the routes of `zone`; `None` for a city without a gateway."""
    gateway, zones = gateway_of(city), main_zones(city)
    if gateway is None:
        return None
    if zone in zones:
        return EntryPoint(gateway, zones, is_main=True)
    own = replace(gateway, name=naming.zone_gateway(gateway.name, zone), zone=zone)
    return EntryPoint(own, (zone,), is_main=False)


def entry_points(city: City) -> tuple[EntryPoint, ...]:
    """The main entry point, then one for each other zone with a route, in the order of the zones."""
    zones = main_zones(city)
    routed = {app.zone for app in city.apps if app.holds_route}
    others = [zone.name for zone in city.zones if zone.name in routed and zone.name not in zones]
    found = [entry_of(city, name) for name in (zones[0], *others)]
    return tuple(item for item in found if item is not None)


def instances(city: City, capability: Capability) -> tuple[Capability, ...]:
    """The capability; for the gateway that the files declare, the gateways of all entry points."""
    return tuple(entry.gateway for entry in entry_points(city)) if capability.is_entry else (capability,)


def zone_of(city: City, route: RouteTarget) -> str:
    """The zone of a route's app, derived from its namespace; empty if the city no longer has this zone."""
    names = (zone.name for zone in city.zones)
    return next((name for name in names if naming.tenant_namespace(route.tenant, name) == route.namespace), "")


def ingress_class_of(city: City, cloud: Cloud, zone: str) -> str:
    """The ingress class for the routes of `zone` on a cloud with its own ingress controllers; empty if there is
    none.
    """
    settings = cloud.kubernetes
    return settings.ingress_class if zone in main_zones(city) else settings.zone_ingress_classes.get(zone, "")


def speaks_tls(city: City, cloud: Cloud) -> bool:
    """Whether the gateways on `cloud` speak HTTPS.

    The City decides. Without its setting, they do on an embedded cloud, or with a given certificate. Elsewhere a load
    balancer in front of the gateway may terminate TLS, and expects plain HTTP behind it.
    """
    tls = city.entry.tls
    if tls.enabled is not None:
        return tls.enabled
    return cloud.provider == "local" or bool(tls.certificates)


def certificate_key(city: City, cloud: Cloud, entry: EntryPoint) -> str:
    """The secret store key of an entry point's certificate and private key; empty for plain HTTP."""
    if not speaks_tls(city, cloud):
        return ""
    given = next((city.entry.tls.certificates[zone] for zone in entry.zones if zone in city.entry.tls.certificates), "")
    return naming.secret_key("tenant", given) if given else naming.secret_key("entry", entry.gateway.name, "tls")


def certificate_keys(city: City, cloud: Cloud) -> tuple[str, ...]:
    """All secret store keys that the entry points on `cloud` need; empty for plain HTTP."""
    keys = tuple(filter(None, (certificate_key(city, cloud, entry) for entry in entry_points(city))))
    return (*keys, AUTHORITY_KEY) if any(key.startswith(ISSUED_PREFIX) for key in keys) else keys
