"""Checks what placement rules refer to: apps, capabilities, spread groups, zones of pools, hardware and currencies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from wecityctl.errors import Problem
from wecityctl.guesses import nearest
from wecityctl.model.city import App, Capability, PlacementRules
from wecityctl.spec.checks.check import Check
from wecityctl.spec.fields import one_of
from wecityctl.spec.nodes import PathItem
from wecityctl.spec.parsed_city import ParsedCity, Sourced

_FIELDS = (("affinity", "affinity"), ("anti_affinity", "antiAffinity"))


def affinities(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Affinities name exactly one other app or capability, and none appears as both affinity and anti-affinity."""
    if not parsed_city.knows_all("App", "Platform"):
        return
    for part, path, item in _ruled(parsed_city):
        names = _known_to(parsed_city, item)
        own = {item.name, f"{item.tenant}/{item.name}"} if isinstance(item, App) else {item.name}
        for attribute, field in _FIELDS:
            for index, name in enumerate(getattr(item.placement, attribute)):
                place = (*path, "placement", field, index)
                if isinstance(item, App) and _is_both(parsed_city, item, name):
                    message = f"{name!r} is an app of the same tenant and a capability"
                    yield part.problem(place, message, f"{item.tenant}/{name} for the app, or names that differ")
                elif name in own:
                    yield part.problem(place, f"{name!r} is the {_kind(item)} itself", "another app or capability")
                elif name not in names:
                    own_app = "an app of the same tenant, " if isinstance(item, App) else ""
                    expected = f"an app as <tenant>/<app>, {own_app}or a capability".replace(">, or", "> or")
                    yield part.problem(
                        place, f"there is no app or capability {name!r}", expected, nearest(name, tuple(names))
                    )
                elif field == "antiAffinity" and name in item.placement.affinity:
                    yield part.problem(place, f"{name!r} is under affinity too", "one of the two")


def spread_groups(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A spread group with one member whose name is almost that of another group is reported as a typing error."""
    if not parsed_city.knows_all("App", "Platform"):
        return
    ruled = [found for found in _ruled(parsed_city) if found[2].placement.spread]
    groups = [item.placement.spread for _, _, item in ruled]
    for part, path, item in ruled:
        name = item.placement.spread
        others = tuple(dict.fromkeys(other for other in groups if other != name))
        meant = nearest(name, others) if groups.count(name) == 1 else ""
        if meant:
            message = f"{name!r} is a group with one member, and there is nothing to spread"
            yield part.problem((*path, "placement", "spread"), message, "a group of several", meant)


def zones_of_pools(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A pool serves only zones that its cloud serves."""
    for cloud in parsed_city.clouds:
        for index, pool in enumerate(cloud.value.pools):
            for position, zone in enumerate(pool.zones):
                if zone not in cloud.value.zones:
                    place = ("spec", "pools", index, "zones", position)
                    names = cloud.value.zones
                    yield cloud.problem(
                        place, f"the cloud does not serve zone {zone!r}", one_of(names), nearest(zone, names)
                    )


def accelerators(parsed_city: ParsedCity) -> Iterator[Problem]:
    """At least one pool has the accelerators that a running app requests."""
    if not parsed_city.knows_all("Cloud"):
        return
    offered = tuple(
        dict.fromkeys(name for cloud in parsed_city.clouds for p in cloud.value.pools for name in p.accelerators)
    )
    for app in parsed_city.apps:
        for index, part in enumerate(app.value.components if app.value.runs else ()):
            for name, count in part.resources.accelerators.items():
                if count and name not in offered:
                    place = ("spec", "components", index, "resources", "accelerators", name)
                    expected = one_of(offered) if offered else "a pool with accelerators"
                    yield app.problem(
                        place, f"no pool of a cloud declares {name!r}", expected, nearest(name, offered), on_key=True
                    )


def domestic_hardware(parsed_city: ParsedCity) -> Iterator[Problem]:
    """If domestic hardware is required, at least one pool is declared as domestic."""
    if not parsed_city.knows_all("Cloud") or any(
        pool.domestic for cloud in parsed_city.clouds for pool in cloud.value.pools
    ):
        return
    for part, path, item in _ruled(parsed_city):
        if item.placement.domestic and (isinstance(item, Capability) or item.runs):
            message = "no pool of a cloud declares domestic hardware 信创"
            yield part.problem((*path, "placement", "domestic"), message, "a pool with domestic: true")


def currencies(parsed_city: ParsedCity) -> Iterator[Problem]:
    """The prices of all clouds are in one currency, because placement compares them."""
    by_cloud = {cloud.value.name: cloud.value.prices.currency for cloud in parsed_city.clouds if cloud.value.prices}
    if len(set(by_cloud.values())) < 2:
        return
    # The most frequent currency is taken as the intended one; among equals, the first.
    meant = Counter(by_cloud.values()).most_common(1)[0][0]
    others = ", ".join(repr(name) for name, currency in by_cloud.items() if currency == meant)
    clouds = "cloud" if list(by_cloud.values()).count(meant) == 1 else "clouds"
    for cloud in parsed_city.clouds:
        prices = cloud.value.prices
        if prices is not None and prices.currency != meant:
            message = f"prices are in {prices.currency}, those of {clouds} {others} in {meant}"
            yield cloud.problem(("spec", "prices", "currency"), message, "one currency")


def _ruled(parsed_city: ParsedCity) -> Iterator[tuple[Sourced, tuple[PathItem, ...], App | Capability]]:  # type: ignore[type-arg]
    for platform, path, item in parsed_city.capabilities():
        if item.placement != PlacementRules():
            yield platform, path, item
    for app in parsed_city.apps:
        if app.value.placement != PlacementRules():
            yield app, ("spec",), app.value


def _is_both(parsed_city: ParsedCity, item: App, name: str) -> bool:
    """Whether `name` is a capability and, for the tenant of `item`, an app too."""
    apps = {(app.value.tenant, app.value.name) for app in parsed_city.apps}
    return name in parsed_city.capability_by_name and (item.tenant, name) in apps


def _known_to(parsed_city: ParsedCity, item: App | Capability) -> Sequence[str]:
    apps = [app.value for app in parsed_city.apps]
    own = [app.name for app in apps if isinstance(item, App) and app.tenant == item.tenant]
    return list(dict.fromkeys([*own, *parsed_city.capability_by_name, *(f"{app.tenant}/{app.name}" for app in apps)]))


def _kind(item: App | Capability) -> str:
    return "app" if isinstance(item, App) else "capability"


CHECKS: tuple[Check, ...] = (
    affinities,
    spread_groups,
    zones_of_pools,
    accelerators,
    domestic_hardware,
    currencies,
)
