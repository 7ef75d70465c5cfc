"""Apps that were renamed (`moved` of their Tenant) keep the names that they have in the clusters.

In a city an app has the name that it was created with, so that its objects, databases and volumes stay as they are, and
`known_as` is its name in the files. Whatever names an app in the files is translated here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from wecityctl.model.city import App, Capability, City, Cloud, PlacementRules, Tenant, Waiver
from wecityctl.spec.parsed_city import ParsedCity

# The name in the clusters by tenant and name in the files.
KeptNames = Mapping[tuple[str, str], str]


def kept_names(tenants: Iterable[Tenant]) -> KeptNames:
    """The kept name of each renamed app; the first of several renamings counts."""
    found: dict[tuple[str, str], str] = {}
    for tenant in tenants:
        before = {item.target: item.source for item in tenant.moved}
        for name in before:
            first, seen = name, set[str]()
            while first in before and first not in seen:
                seen.add(first)
                first = before[first]
            found[(tenant.name, name)] = first
    return found


def with_kept_names(city: City) -> City:
    """The city with every renamed app, and all that refer to it, under the name that it keeps."""
    names = kept_names(city.tenants)
    if not names:
        return city
    return replace(
        city,
        apps=tuple(_app(app, names) for app in city.apps),
        platforms=tuple(
            replace(item, capabilities=tuple(_capability(each, names) for each in item.capabilities))
            for item in city.platforms
        ),
        clouds=tuple(_cloud(cloud, names) for cloud in city.clouds),
        waivers=tuple(_waiver(waiver, names) for waiver in city.waivers),
        lifecycles=tuple(
            replace(item, name=names.get((item.tenant, item.name), item.name)) for item in city.lifecycles
        ),
    )


def parsed_with_kept_names(parsed_city: ParsedCity) -> ParsedCity:
    """The parsed city with its apps under the names that they keep, for checks of names in the clusters."""
    names = kept_names(item.value for item in parsed_city.tenants)
    if not names:
        return parsed_city
    return replace(parsed_city, apps=tuple(replace(item, value=_app(item.value, names)) for item in parsed_city.apps))


def _app(app: App, names: KeptNames) -> App:
    kept = names.get((app.tenant, app.name))
    return replace(
        app,
        name=kept or app.name,
        known_as=app.name if kept else "",
        placement=_placement(app.placement, app.tenant, names),
        app_uses=tuple(replace(use, app=names.get((use.tenant, use.app), use.app)) for use in app.app_uses),
        provides=tuple(
            replace(item, to=tuple(_reference(other, "", names) for other in item.to)) for item in app.provides
        ),
    )


def _capability(item: Capability, names: KeptNames) -> Capability:
    owner = item.dedicated
    if owner is not None:
        owner = replace(owner, app=names.get((owner.tenant, owner.app), owner.app))
    return replace(item, dedicated=owner, placement=_placement(item.placement, "", names))


def _cloud(cloud: Cloud, names: KeptNames) -> Cloud:
    ports = {_port_owner(key, names): port for key, port in cloud.interconnect.ports.items()}
    return replace(cloud, interconnect=replace(cloud.interconnect, ports=ports))


def _port_owner(text: str, names: KeptNames) -> str:
    """A capability, `<tenant>/<app>` or `<tenant>/<app>/<what it provides>`, under the kept name."""
    tenant, _, rest = text.partition("/")
    app, slash, provided = rest.partition("/")
    return f"{_reference(f'{tenant}/{app}', '', names)}{slash}{provided}" if app else text


def _waiver(waiver: Waiver, names: KeptNames) -> Waiver:
    return replace(waiver, subjects=tuple(_reference(subject, "", names) for subject in waiver.subjects))


def _placement(rules: PlacementRules, tenant: str, names: KeptNames) -> PlacementRules:
    return replace(
        rules,
        affinity=tuple(_reference(name, tenant, names) for name in rules.affinity),
        anti_affinity=tuple(_reference(name, tenant, names) for name in rules.anti_affinity),
    )


def _reference(text: str, tenant: str, names: KeptNames) -> str:
    """`<tenant>/<app>`, or `<app>` of `tenant`, under the kept name; other texts as they are."""
    owner, slash, name = text.rpartition("/")
    kept = names.get((owner or tenant, name))
    return f"{owner}{slash}{kept}" if kept else text
