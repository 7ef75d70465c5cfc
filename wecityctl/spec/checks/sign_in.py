"""Checks routes at which people sign in: the city has what they need, and nobody else can speak for their hosts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from wecityctl.errors import Problem
from wecityctl.model.city import App, Capability, City
from wecityctl.model.entries import main_zones, speaks_tls
from wecityctl.model.requirements import uses_of
from wecityctl.model.service_tls import speaks_tls as has_certificate
from wecityctl.model.signing_in import HOST
from wecityctl.spec.checks.check import Check
from wecityctl.spec.checks.possible_clouds import on_one, possible_clouds
from wecityctl.spec.fields import one_of
from wecityctl.spec.parsed_city import ParsedCity, Sourced

_PATH = ("spec", "route", "signIn")


def sign_in(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A route with `signIn` needs a service for it, an entry point that speaks HTTPS, and a host of one tenant."""
    if parsed_city.city is None or not parsed_city.knows_all("City", "Cloud", "Platform"):
        return
    asking = [app for app in parsed_city.apps if app.value.route is not None and app.value.route.sign_in != "none"]
    services = [item for _, _, item in parsed_city.capabilities() if _lets_sign_in(parsed_city, item)]
    whole = replace(parsed_city.city.value, platforms=tuple(item.value for item in parsed_city.platforms))
    for app in asking:
        yield from _serves(parsed_city, app, whole, services)
        yield from _host(parsed_city, app)
    if services:
        yield from _reserved(parsed_city)


def _lets_sign_in(parsed_city: ParsedCity, item: Capability) -> bool:
    kind = parsed_city.catalogue.get(item.type)
    return kind is not None and bool(kind.sign_in)


def _serves(parsed_city: ParsedCity, app: Sourced[App], whole: City, services: list[Capability]) -> Iterator[Problem]:
    gateway = next((item for item in whole.capabilities if item.is_entry), None)
    kinds = [kind.name for kind in parsed_city.catalogue.values() if kind.sign_in]
    if gateway is None:
        message = "people sign in at the city's own gateway, and the city has none"
        yield app.problem(_PATH, message, "a capability of type gateway, or signIn: none")
        return
    if not services:
        message = "the city has no capability where people sign in"
        yield app.problem(_PATH, message, f"a capability of type {one_of(kinds)}, or signIn: none")
        return
    if app.value.zone not in main_zones(whole):
        message = f"people sign in at the main entry point, and zone {app.value.zone!r} has one of its own"
        yield app.problem(_PATH, message, f"an app in zone {one_of(main_zones(whole))}, or signIn: none")
        return
    if not all(speaks_tls(whole, cloud) for cloud in possible_clouds(parsed_city, gateway.cloud, gateway.zone)):
        message = "the entry point may speak plain HTTP, over which nobody signs in"
        yield app.problem(_PATH, message, "spec.entry.tls.enabled: true of the City, or signIn: none")
    people = {use.capability for use in uses_of(services[0], whole.capabilities, parsed_city.catalogue)}
    three = [gateway, services[0], *(item for item in whole.capabilities if item.name in people)]
    if not on_one(cloud for item in three for cloud in possible_clouds(parsed_city, item.cloud, item.zone)):
        names = ", ".join(item.name for item in three)
        message = f"{names} may be placed on different clouds, and people sign in on one"
        yield app.problem(_PATH, message, "one `cloud` for all of them, or signIn: none")
    for item in three[1:]:
        if not has_certificate(item, parsed_city.catalogue):
            message = f"capability {item.name!r} speaks plain HTTP, over which nobody signs in"
            yield app.problem(_PATH, message, f"no `tls: false` at {item.name}, or signIn: none")


def _host(parsed_city: ParsedCity, app: Sourced[App]) -> Iterator[Problem]:
    """Pages of one host act with one another's sessions, so that it is no other tenant's."""
    assert app.value.route is not None
    for other in parsed_city.apps:
        route = other.value.route
        if route is None or not other.value.runs or other.value.tenant == app.value.tenant:
            continue
        if route.host == app.value.route.host:
            message = (
                f"tenant {other.value.tenant!r} has a route on host {route.host!r} as well "
                f"({other.place('spec', 'route', 'host')}), and its pages could act for whoever signs in"
            )
            yield app.problem(_PATH, message, "a host of its own, or signIn: none")
            return


def _reserved(parsed_city: ParsedCity) -> Iterator[Problem]:
    """The host of the pages where people sign in is nobody else's, and nor is one below it."""
    for app in parsed_city.apps:
        route = app.value.route
        if route is not None and app.value.runs and (route.host == HOST or route.host.endswith(f".{HOST}")):
            message = f"host {HOST!r} is that of the pages where people sign in"
            yield app.problem(("spec", "route", "host"), message, "another host")


def one_service(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A city has at most one service where people sign in, as it has one entry point that asks it."""
    found = [entry for entry in parsed_city.capabilities() if _lets_sign_in(parsed_city, entry[2])]
    for platform, path, _ in found[1:]:
        message = f"a second capability where people sign in (the first is {found[0][2].name!r})"
        yield platform.problem((*path, "name"), message, "one of them")


CHECKS: tuple[Check, ...] = (sign_in, one_service)
