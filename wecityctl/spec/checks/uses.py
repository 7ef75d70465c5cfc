"""Checks the limits that an app's use of a capability states, and access to dedicated capabilities."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.errors import Problem
from wecityctl.guesses import nearest
from wecityctl.model.city import Use
from wecityctl.spec.checks.check import Check
from wecityctl.spec.fields import one_of
from wecityctl.spec.parsed_city import ParsedCity

# Fields of a use that are limits: the name in the file, and in the model. `storage` is not listed: it is older than
# limits, is allowed for every type, and counts towards the tenant's quota.
_LIMITS = {"connections": "connections", "memory": "memory", "statementSeconds": "statement_seconds"}


def limits(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A use states only limits that the type of the capability supports."""
    for app in parsed_city.apps:
        for index, use in app.value.indexed_uses():
            for name, message, expected in _unknown_limits(parsed_city, use):
                yield app.problem(("spec", "uses", index, name), message, expected, on_key=True)
    for platform, path, item in parsed_city.capabilities():
        for index, use in enumerate(item.uses):
            for name, message, expected in _unknown_limits(parsed_city, use):
                yield platform.problem((*path, "uses", index, name), message, expected, on_key=True)


def _unknown_limits(parsed_city: ParsedCity, use: Use) -> Iterator[tuple[str, str, str]]:
    """Yield message and expected value for each limit of the use that the capability's type does not support."""
    item = parsed_city.capability_by_name.get(use.capability)
    kind = parsed_city.catalogue.get(item.type) if item is not None else None
    if kind is None:
        return
    offered = [name for name, field in _LIMITS.items() if getattr(kind.limits, field)]
    for name, field in _LIMITS.items():
        if getattr(use, field) and name not in offered:
            message = f"capability type {kind.name!r} has no limit {name!r} for one app"
            yield name, message, one_of(offered) if offered else "no limit"


def owners(parsed_city: ParsedCity) -> Iterator[Problem]:
    """`dedicated` names an existing tenant, or an app of it, and the capability's type has a binding."""
    tenants = tuple(tenant.value.name for tenant in parsed_city.tenants)
    for platform, path, item in parsed_city.capabilities():
        if item.dedicated is None:
            continue
        owner = item.dedicated
        kind = parsed_city.catalogue.get(item.type)
        if kind is not None and not kind.binding:
            message = f"capability type {item.type!r} has nothing that an app could bind to, so it is nobody's alone"
            yield platform.problem((*path, "dedicated"), message, on_key=True)
            continue
        if parsed_city.knows_all("Tenant") and owner.tenant not in tenants:
            expected = one_of(tenants) if tenants else "a tenant that the files declare"
            message = f"there is no tenant {owner.tenant!r}"
            where = (*path, "dedicated", "tenant")
            yield platform.problem(where, message, expected, nearest(owner.tenant, tenants))
        elif owner.app and parsed_city.knows_all("App"):
            apps = tuple(app.value.name for app in parsed_city.apps if app.value.tenant == owner.tenant)
            if owner.app not in apps:
                expected = one_of(apps) if apps else f"an app of tenant {owner.tenant!r}"
                message = f"tenant {owner.tenant!r} has no app {owner.app!r}"
                yield platform.problem((*path, "dedicated", "app"), message, expected, nearest(owner.app, apps))


def dedicated(parsed_city: ParsedCity) -> Iterator[Problem]:
    """An app does not use a capability that is dedicated to another app or tenant."""
    for app in parsed_city.apps:
        for index, use in app.value.indexed_uses():
            item = parsed_city.capability_by_name.get(use.capability)
            if item is None or item.dedicated is None or item.dedicated.admits(app.value):
                continue
            others = tuple(
                name
                for name, other in parsed_city.capability_by_name.items()
                if other.type == item.type and (other.dedicated is None or other.dedicated.admits(app.value))
            )
            message = f"capability {use.capability!r} is dedicated to {item.dedicated.owner}"
            expected = one_of(others) if others else f"another capability with type: {item.type}"
            yield app.problem(("spec", "uses", index, "capability"), message, expected)


CHECKS: tuple[Check, ...] = (
    owners,
    dedicated,
    limits,
)
