"""Checks that referenced names exist. Each problem suggests the nearest existing name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from wecityctl.errors import Problem
from wecityctl.guesses import nearest
from wecityctl.spec.checks.check import Check
from wecityctl.spec.fields import one_of
from wecityctl.spec.nodes import PathItem
from wecityctl.spec.parsed_city import ParsedCity, Sourced


def tenants_of_apps(parsed_city: ParsedCity) -> Iterator[Problem]:
    """The tenant of an app exists."""
    names = tuple(tenant.value.name for tenant in parsed_city.tenants)
    if parsed_city.knows_all("Tenant"):
        for app in parsed_city.apps:
            yield from _missing(app, ("metadata", "tenant"), "tenant", app.value.tenant, names)


def zones(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Zones named by apps, capabilities, clouds and flows are declared in the City."""
    if parsed_city.city is None or not parsed_city.knows_all("City"):
        return
    names = parsed_city.zone_names
    for index, flow in enumerate(parsed_city.city.value.flows):
        yield from _missing(parsed_city.city, ("spec", "flows", index, "from"), "zone", flow.source, names)
        yield from _missing(parsed_city.city, ("spec", "flows", index, "to"), "zone", flow.target, names)
    for cloud in parsed_city.clouds:
        for index, zone in enumerate(cloud.value.zones):
            yield from _missing(cloud, ("spec", "zones", index), "zone", zone, names)
    for platform, path, item in parsed_city.capabilities():
        yield from _missing(platform, (*path, "zone"), "zone", item.zone, names)
    for app in parsed_city.apps:
        yield from _missing(app, ("spec", "zone"), "zone", app.value.zone, names)


def entry_points(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Tenants and zones named under the City's `entry` are declared."""
    if parsed_city.city is None or not parsed_city.knows_all("City"):
        return
    city, entry = parsed_city.city, parsed_city.city.value.entry
    tenants = tuple(tenant.value.name for tenant in parsed_city.tenants)
    for host, names in entry.shared_hosts.items() if parsed_city.knows_all("Tenant") else ():
        for index, name in enumerate(names):
            yield from _missing(city, ("spec", "entry", "sharedHosts", host, index), "tenant", name, tenants)
    path: tuple[PathItem, ...]
    by_zone: tuple[tuple[tuple[str, ...], Mapping[str, object]], ...] = (
        (("tls", "certificates"), entry.tls.certificates),
        (("trustedProxies",), entry.trusted_proxies),
    )
    for fields, zones in by_zone:
        for zone in set(zones).difference(parsed_city.zone_names):
            path = ("spec", "entry", *fields, zone)
            expected, guess = one_of(parsed_city.zone_names), nearest(zone, parsed_city.zone_names)
            yield city.problem(path, f"there is no zone {zone!r}", expected, guess, on_key=True)
    for zone, secret in entry.tls.certificates.items():
        path = ("spec", "entry", "tls", "certificates", zone)
        tenant, _, name = secret.rpartition("/")
        if not tenant:
            yield city.problem(path, f"{secret!r} is not a secret of a tenant", f"<tenant>/{name}")
        elif parsed_city.knows_all("Tenant"):
            yield from _missing(city, path, "tenant", tenant, tenants)
    for cloud in parsed_city.clouds:
        for zone in cloud.value.kubernetes.zone_ingress_classes:
            if zone not in cloud.value.zones:
                path = ("spec", "kubernetes", "zoneIngressClasses", zone)
                message = f"the cloud does not serve zone {zone!r}"
                yield cloud.problem(path, message, one_of(cloud.value.zones), on_key=True)


def cloud_pins(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A `cloud` pin names an existing cloud that serves the zone."""
    if not parsed_city.knows_all("Cloud"):
        return
    for platform, path, item in parsed_city.capabilities():
        yield from _pin(parsed_city, platform, path, item.cloud, item.zone)
    for app in parsed_city.apps:
        yield from _pin(parsed_city, app, ("spec",), app.value.cloud, app.value.zone)


def uses(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A capability that an app uses exists and has a binding."""
    if not parsed_city.knows_all("Platform"):
        return
    names = tuple(parsed_city.capability_by_name)
    for app in parsed_city.apps:
        for index, use in app.value.indexed_uses():
            if not use.capability:
                # `provides.one_of_two` reports it.
                continue
            path = ("spec", "uses", index, "capability")
            item = parsed_city.capability_by_name.get(use.capability)
            if item is None:
                offered = one_of(names) if names else "a Platform document that provides it"
                message = f"no platform provides capability {use.capability!r}"
                yield app.problem(path, message, offered, nearest(use.capability, names))
                continue
            kind = parsed_city.catalogue.get(item.type)
            if kind is not None and not kind.binding:
                yield app.problem(path, f"capability {use.capability!r} has nothing that an app could bind to")


def _missing(
    part: Sourced,  # type: ignore[type-arg]
    path: tuple[PathItem, ...],
    what: str,
    name: str,
    names: Sequence[str],
) -> Iterator[Problem]:
    if name and name not in names:
        expected = one_of(names) if names else f"a {what} that the files declare"
        yield part.problem(path, f"there is no {what} {name!r}", expected, nearest(name, names))


def _pin(
    parsed_city: ParsedCity,
    part: Sourced,  # type: ignore[type-arg]
    path: tuple[PathItem, ...],
    cloud: str,
    zone: str,
) -> Iterator[Problem]:
    if not cloud:
        return
    clouds = parsed_city.cloud_by_name
    if cloud not in clouds:
        yield from _missing(part, (*path, "cloud"), "cloud", cloud, tuple(clouds))
    elif zone and zone not in clouds[cloud].zones:
        serving = [name for name, item in clouds.items() if zone in item.zones]
        expected = one_of(serving) if serving else f"a cloud with zone {zone!r}"
        yield part.problem((*path, "cloud"), f"cloud {cloud!r} does not serve zone {zone!r}", expected)


REFERENCE_CHECKS: tuple[Check, ...] = (
    tenants_of_apps,
    zones,
    entry_points,
    cloud_pins,
    uses,
)
