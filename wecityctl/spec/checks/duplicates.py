"""Checks for names that are given twice, or from which the same Kubernetes name would be derived."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from wecityctl.errors import Problem
from wecityctl.model import naming
from wecityctl.model.city import App
from wecityctl.model.requirements import CAPABILITY
from wecityctl.spec.checks.check import Check
from wecityctl.spec.nodes import Document, PathItem, SourceLocation, format_path
from wecityctl.spec.parsed_city import ParsedCity, Sourced
from wecityctl.spec.renames import parsed_with_kept_names
from wecityctl.spec.schema import KINDS
from wecityctl.spec.schema.documents import OF_TENANTS


def cities(parsed_city: ParsedCity) -> Iterator[Problem]:
    """There is at most one City. Each further one is reported where it is declared."""
    found = [document for document in parsed_city.documents if document.kind == "City"]
    for document in found[1:]:
        yield _at(document, ("kind",), f"a second City (the first is in {found[0].place(('kind',))})", "one City")


def documents(parsed_city: ParsedCity) -> Iterator[Problem]:
    """No two documents have the same kind and name (for apps: the same tenant and name)."""
    first: dict[tuple[str, str, str], Document] = {}
    for document in parsed_city.documents:
        if document.kind == "City" or document.kind not in KINDS or not document.name:
            continue
        identity = (document.kind, document.tenant if document.kind in OF_TENANTS else "", document.name)
        if identity in first:
            place = first[identity].place(("metadata", "name"))
            owner = f" of tenant {document.tenant!r}" if document.kind in OF_TENANTS else ""
            message = f"{document.kind} {document.name!r}{owner} is declared twice (first in {place})"
            yield _at(document, ("metadata", "name"), message)
        first.setdefault(identity, document)


def names_within_documents(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Zones, pools, components and aliases have unique names in their document; lists of names have no repeats."""
    for city in parsed_city.cities:
        yield from _repeated(city, ("spec", "zones"), "zone", (zone.name for zone in city.value.zones))
    for cloud in parsed_city.clouds:
        yield from _repeated(cloud, ("spec", "pools"), "pool", (pool.name for pool in cloud.value.pools))
        yield from _repeated(cloud, ("spec", "zones"), "zone", cloud.value.zones, field="")
    for app in parsed_city.apps:
        names = (part.name for part in app.value.components)
        yield from _repeated(app, ("spec", "components"), "component", names)
        yield from _repeated(app, ("spec", "uses"), "binding", _aliases(app.value), field="as")
        yield from _repeated(app, ("spec", "provides"), "provided port", (item.name for item in app.value.provides))
        for index, part in enumerate(app.value.components):
            yield from _repeated(app, ("spec", "components", index, "secrets"), "secret", part.secrets, field="")


def _aliases(app: App) -> Iterator[str]:
    """Yield the aliases of all uses in the order of the files."""
    found = {use.index: use.alias for use in app.app_uses} | {index: use.alias for index, use in app.indexed_uses()}
    for index in sorted(found):
        yield found[index]


def capabilities_across_platforms(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A capability's name is unique in the city, because apps refer to it without the platform."""
    first: dict[str, SourceLocation] = {}
    for platform, path, item in parsed_city.capabilities():
        if item.name in first:
            message = f"capability {item.name!r} is declared twice (first in {first[item.name]})"
            yield platform.problem((*path, "name"), message, "another name; `type` says what it is")
        first.setdefault(item.name, platform.place(*path, "name"))


def routes(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Each host and path is the route of one app only."""
    first: dict[tuple[str, str], Sourced[App]] = {}
    shared = parsed_city.city.value.entry.shared_hosts if parsed_city.city is not None else {}
    for app in parsed_city.apps:
        route = app.value.route
        if route is None or not app.value.runs:
            continue
        key = (route.host, route.path.rstrip("/"))
        other = first.setdefault(key, app)
        # If the host belongs to another tenant, `hosts` reports that instead.
        if other is not app and _taken(app, other, shared) is None:
            message = (
                f"{route.host}{route.path} already leads to app {other.value.tenant}/{other.value.name} "
                f"({other.place('spec', 'route')})"
            )
            yield app.problem(("spec", "route"), message, "another host or path")


def hosts(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A host and its subdomains belong to one tenant unless the City shares the host.

    A page on a subdomain can set cookies for the parent host, and a page on the same host can read them.
    """
    if parsed_city.city is None or not parsed_city.knows_all("City"):
        return
    shared = parsed_city.city.value.entry.shared_hosts
    owners: dict[str, Sourced[App]] = {}
    below: dict[str, Sourced[App]] = {}
    for app in parsed_city.apps:
        route = app.value.route
        if route is None or not app.value.runs:
            continue
        labels = route.host.split(".")
        above = [".".join(labels[index:]) for index in range(1, len(labels))]
        found = [*(owners.get(host) for host in (route.host, *above)), below.get(route.host)]
        taken = (_taken(app, owner, shared) for owner in found if owner is not None)
        yield from islice((problem for problem in taken if problem is not None), 1)
        owners.setdefault(route.host, app)
        for host in above:
            below.setdefault(host, app)


def _taken(app: Sourced[App], owner: Sourced[App], shared: Mapping[str, tuple[str, ...]]) -> Problem | None:
    assert app.value.route is not None
    assert owner.value.route is not None
    host, other = app.value.route.host, owner.value.route.host
    tenants = {app.value.tenant, owner.value.tenant}
    if len(tenants) == 1 or any(tenants <= set(shared.get(name, ())) for name in (host, other)):
        return None
    message = (
        f"host {other!r} belongs to tenant {owner.value.tenant!r}, whose app {owner.value.name!r} has it "
        f"({owner.place('spec', 'route', 'host')})"
    )
    expected = f"another host, or {other} with both tenants under spec.entry.sharedHosts of the City"
    return app.problem(("spec", "route", "host"), message, expected)


def derived_names(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Names derived by joining do not collide: `a-b` with `c` and `a` with `b-c` would both give `a-b-c`.

    Applies to the names of namespaces, workloads and accounts.
    """
    platforms: dict[str, str] = {}
    for platform, _, item in parsed_city.capabilities():
        for zone in {"", item.zone}:
            platforms[naming.platform_namespace(platform.value.name, zone)] = f"platform {platform.value.name!r}"
        if item.is_entry:
            # Each zone with routes has an entry point of its own, in a namespace of that zone.
            for zone in parsed_city.zone_names:
                platforms[naming.platform_namespace(platform.value.name, zone)] = f"platform {platform.value.name!r}"
    namespaces = dict(platforms)
    # Accounts that capabilities have in each other are named like those of apps, with a fixed word as the tenant.
    databases: dict[str, str] = {}
    for platform, place, item in parsed_city.capabilities():
        kind = parsed_city.catalogue.get(item.type)
        for wanted in kind.uses if kind is not None else ():
            name = naming.account_name("_", CAPABILITY, item.name, wanted.alias)
            owner = f"capability {item.name!r} as {wanted.alias!r}"
            if databases.setdefault(name, owner) != owner:
                message = f"account {name!r} would belong to {owner} and to {databases[name]}"
                yield platform.problem((*place, "name"), message, "names that differ when joined by '_'")
    for tenant in parsed_city.tenants:
        # A capability's account reads what is all tenants', and its stack is named so.
        if tenant.value.name == CAPABILITY:
            message = f"tenant {CAPABILITY!r} would own the accounts that capabilities have in each other"
            yield tenant.problem(("metadata", "name"), message, "another name")
    workloads: dict[tuple[str, str], str] = {}
    for app in parsed_with_kept_names(parsed_city).apps:
        value, path = app.value, ("metadata", "name")
        namespace = naming.tenant_namespace(value.tenant, value.zone)
        owner = f"tenant {value.tenant!r} in zone {value.zone!r}"
        if namespaces.setdefault(namespace, owner) != owner:
            message = f"namespace {namespace!r} would belong to {owner} and to {namespaces[namespace]}"
            yield app.problem(("metadata", "tenant"), message, "names that differ when joined by '-'")
        for use in value.uses:
            database = naming.account_name("_", value.tenant, value.name, use.alias)
            owner = f"{value.tenant}/{value.name}/{use.alias}"
            if databases.setdefault(database, owner) != owner:
                message = f"account {database!r} would belong to {owner} and to {databases[database]}"
                yield app.problem(path, message, "names that differ when joined by '_'")
        for part in value.components:
            workload = naming.component_workload(value.name, part.name)
            owner = f"{value.tenant}/{value.name}/{part.name}"
            if workloads.setdefault((namespace, workload), owner) != owner:
                message = f"workload {workload!r} would belong to {owner} and to {workloads[(namespace, workload)]}"
                yield app.problem(path, message, "names that differ when joined by '-'")


def _repeated(
    part: Sourced,  # type: ignore[type-arg]
    path: tuple[PathItem, ...],
    what: str,
    names: Iterable[str],
    field: str = "name",
) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        here = (*path, index, field) if field else (*path, index)
        if name in first:
            line = part.place(*path, first[name]).line
            yield part.problem(here, f"{what} {name!r} is given twice (first in line {line})")
        first.setdefault(name, index)


def _at(document: Document, path: tuple[PathItem, ...], message: str, expected: str = "") -> Problem:
    place = document.place(path)
    return Problem(place.file, place.line, place.column, format_path(path), message, expected)


CHECKS: tuple[Check, ...] = (
    cities,
    documents,
    names_within_documents,
    routes,
    hosts,
    derived_names,
)
REFERENCE_CHECKS: tuple[Check, ...] = (capabilities_across_platforms,)
