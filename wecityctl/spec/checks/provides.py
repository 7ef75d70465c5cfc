"""Checks what apps provide to other apps, and uses of it: that both ends exist, agree and are deployed."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.errors import Problem
from wecityctl.guesses import nearest
from wecityctl.model import provided
from wecityctl.model.city import App, AppUse, Provided
from wecityctl.model.words import some
from wecityctl.spec.checks.check import Check
from wecityctl.spec.fields import one_of
from wecityctl.spec.nodes import PathItem
from wecityctl.spec.parsed_city import ParsedCity, Sourced

_Path = tuple[PathItem, ...]
_LIMITS = ("storage", "connections", "memory", "statementSeconds")


def one_of_two(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A use names a capability or an app, and limits only for a capability."""
    for app in parsed_city.apps:
        for index, use in app.value.indexed_uses():
            if not use.capability:
                message = "the use names neither a capability nor an app"
                yield app.problem(("spec", "uses", index), message, "`capability` or `app`")
        for other in app.value.app_uses:
            path: _Path = ("spec", "uses", other.index)
            if app.has(*path, "capability"):
                yield app.problem((*path, "app"), "the use names a capability already", "one of the two", on_key=True)
            for field in _LIMITS:
                if app.has(*path, field):
                    message = f"{field} is a limit of a capability, and this use is of an app"
                    yield app.problem((*path, field), message, f"no {field}", on_key=True)


def ports(parsed_city: ParsedCity) -> Iterator[Problem]:
    """What an app provides is one port of one of its components that run all the time."""
    for app in parsed_city.apps:
        serving = {part.name: part for part in app.value.components if part.ports}
        for index, item in enumerate(app.value.provides):
            if item.service:
                # `services` checks it.
                continue
            path: _Path = ("spec", "provides", index)
            users = _users(parsed_city, app.value, item)
            if item.component and item.component not in serving:
                message = f"the app has no component {item.component!r} with a port{users}"
                expected = one_of(tuple(serving)) if serving else "a component with a port"
                yield app.problem((*path, "component"), message, expected, nearest(item.component, tuple(serving)))
                continue
            component = provided.component_of(app.value, item)
            if component is None and not serving:
                message = f"the app has no component with a port{users}"
                yield app.problem(path, message, "a component with a port")
            elif component is None:
                message = f"it can be any of {len(serving)} components with a port{users}"
                yield app.problem(path, message, f"component: {one_of(tuple(serving))}")
            elif item.port and item.port not in component.ports:
                message = f"component {component.name!r} has no port {item.port!r}{users}"
                names = tuple(component.ports)
                yield app.problem((*path, "port"), message, one_of(names), nearest(item.port, names))
            elif provided.port_of(app.value, item) is None:
                message = f"it can be any of the {len(component.ports)} ports of component {component.name!r}{users}"
                yield app.problem(path, message, f"port: {one_of(tuple(component.ports))}")


def _users(parsed_city: ParsedCity, provider: App, item: Provided) -> str:
    """Who uses what the app provides and where, as the end of a sentence; empty if nobody does."""
    found = [
        f"{app.value.tenant}/{app.value.name} ({app.place('spec', 'uses', use.index, 'app')})"
        for app in parsed_city.apps
        for use in app.value.app_uses
        if (use.tenant, use.app) == (provider.tenant, provider.name)
        and provided.provided_of(provider, use.provided) == item
    ]
    return f", and it is used by {some(found)}" if found else ""


def permissions(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Whoever may use what an app provides exists."""
    if not parsed_city.knows_all("Tenant", "App"):
        return
    tenants = tuple(tenant.value.name for tenant in parsed_city.tenants)
    apps = tuple(f"{tenant}/{name}" for tenant, name in parsed_city.app_by_name)
    for app in parsed_city.apps:
        for index, item in enumerate(app.value.provides):
            for number, to in enumerate(item.to):
                path: _Path = ("spec", "provides", index, "to", number)
                tenant, _, name = to.partition("/")
                if tenant not in tenants:
                    guess = nearest(tenant, tenants)
                    suggestion = f"{guess}/{name}" if guess else ""
                    yield app.problem(path, f"there is no tenant {tenant!r}", one_of(tenants), suggestion)
                elif name != "*" and to not in apps:
                    own = tuple(other for other in apps if other.startswith(f"{tenant}/"))
                    expected = one_of((*own, f"{tenant}/*"))
                    yield app.problem(path, f"there is no app {to!r}", expected, nearest(to, own))


def providers(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A use of an app names another app."""
    if not parsed_city.knows_all("App", "Tenant"):
        return
    for app in parsed_city.apps:
        for use in app.value.app_uses:
            path: _Path = ("spec", "uses", use.index, "app")
            if (use.tenant, use.app) == (app.value.tenant, app.value.name):
                message = f"the app uses itself ({app.place('metadata', 'name')})"
                yield app.problem(path, message, "another app; its own components reach each other without a use")
            elif (use.tenant, use.app) not in parsed_city.app_by_name:
                yield _no_app(parsed_city, app, path, use)


def uses(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Another app that is used provides it, to this one, and is deployed. The problem has both places."""
    sources = {(app.value.tenant, app.value.name): app for app in parsed_city.apps}
    for app in parsed_city.apps:
        for use in app.value.app_uses:
            provider = sources.get((use.tenant, use.app))
            if provider is not None and provider.value is not app.value:
                yield from _provided(app, ("spec", "uses", use.index, "app"), use, provider)


def _no_app(parsed_city: ParsedCity, app: Sourced[App], path: _Path, use: AppUse) -> Problem:
    names = tuple(f"{tenant}/{name}" for tenant, name in parsed_city.app_by_name)
    wanted = f"{use.tenant}/{use.app}"
    providing = tuple(f"{item.value.tenant}/{item.value.name}" for item in parsed_city.apps if item.value.provides)
    expected = one_of(providing) if providing else "an app that `provides` something"
    guess = nearest(wanted, names)
    suggestion = f"{guess}/{use.provided}" if guess and use.provided else guess
    return app.problem(path, f"there is no app {wanted!r}", expected, suggestion)


def _provided(app: Sourced[App], path: _Path, use: AppUse, provider: Sourced[App]) -> Iterator[Problem]:
    """Yield the problems of a use of a known app; each has the place in the provider's document, too."""
    value = provider.value
    name = f"app {value.tenant}/{value.name}"
    names = tuple(item.name for item in value.provides)
    item = provided.provided_of(value, use.provided)
    if not names:
        where = provider.place("metadata", "name")
        yield app.problem(path, f"{name} provides nothing ({where})", "`provides` in that app")
    elif item is None and use.provided:
        where = provider.place("spec", "provides", on_key=True)
        guess = nearest(use.provided, names)
        suggestion = f"{value.tenant}/{value.name}/{guess}" if guess else ""
        yield app.problem(path, f"{name} provides no {use.provided!r} ({where})", one_of(names), suggestion)
    elif item is None:
        where = provider.place("spec", "provides", on_key=True)
        message = f"{name} provides {len(names)} ports ({where})"
        expected = one_of(tuple(f"{value.tenant}/{value.name}/{each}" for each in names))
        yield app.problem(path, message, expected)
    else:
        yield from _allowed(app, path, provider, item)


def _allowed(app: Sourced[App], path: _Path, provider: Sourced[App], item: Provided) -> Iterator[Problem]:
    value, user = provider.value, app.value
    name = f"app {value.tenant}/{value.name}"
    if not provided.admits(value, item, user):
        where = provider.place("spec", "provides", value.provides.index(item))
        message = f"{name} provides {item.name!r} to others only ({where})"
        yield app.problem(path, message, f"{user.tenant}/{user.name} under `to` there")
    if user.runs and not value.runs:
        where = provider.place("spec", "stage")
        message = f"{name} is {_stage(value)} and not deployed ({where})"
        yield app.problem(path, message, "an app that is deployed, or no use of it")


def _stage(app: App) -> str:
    return "a draft" if app.stage == "draft" else app.stage


CHECKS: tuple[Check, ...] = (one_of_two, ports, uses)
REFERENCE_CHECKS: tuple[Check, ...] = (permissions, providers)
