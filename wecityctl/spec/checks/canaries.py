"""Checks that a canary is possible: its steps, that somebody counts its requests where the files have a limit for them,
and that our gateway serves the component on the app's own cloud."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from wecityctl.errors import Problem
from wecityctl.model import naming
from wecityctl.model.city import App, Cloud, Component, Strategy
from wecityctl.model.quantity import parse_duration
from wecityctl.spec.checks.check import Check
from wecityctl.spec.checks.possible_clouds import on_one, possible_clouds
from wecityctl.spec.fields import one_of
from wecityctl.spec.nodes import PathItem
from wecityctl.spec.parsed_city import ParsedCity, Sourced

_Path = tuple[PathItem, ...]
# Seconds. A shorter pause ends before a failing probe counts; for a longer one `up` would have to run for days.
LEAST_PAUSE, MOST_PAUSE = 5, 24 * 3600


def steps(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A canary has steps, each with a larger share than the one before, and a pause that `up` can wait for."""
    for app, path, part in parsed_city.components():
        stated, here = part.strategy, (*path, "strategy")
        if stated is None or part.is_job:
            continue
        if stated.type != "canary":
            for field in ("steps", "pause", "abortAbove"):
                if app.has(*here, field):
                    message = f"{field} is about a canary, and this strategy is {stated.type}"
                    yield app.problem((*here, field), message, f"type: canary, or no {field}", on_key=True)
            continue
        if not stated.steps:
            message = "a canary gets its requests in steps, and there is none"
            yield app.problem(here, message, "steps, such as [10, 50]", on_key=True)
        for index, (before, after) in enumerate(pairwise(stated.steps), 1):
            if after <= before:
                message = f"a step of {after} % comes after one of {before} %"
                yield app.problem((*here, "steps", index), message, "steps that increase")
        yield from _pause(app, here, stated)
        yield from _counted(parsed_city, app, here, stated)


def _pause(app: Sourced[App], path: _Path, stated: Strategy) -> Iterator[Problem]:
    if not app.has(*path, "pause"):
        return
    seconds = parse_duration(stated.pause)
    if not LEAST_PAUSE <= seconds <= MOST_PAUSE:
        message = f"a pause of {stated.pause} is too {'short' if seconds < LEAST_PAUSE else 'long'}"
        yield app.problem((*path, "pause"), message, "5s to 24h")


def _counted(parsed_city: ParsedCity, app: Sourced[App], path: _Path, stated: Strategy) -> Iterator[Problem]:
    """Requests that fail are counted by a store of metrics."""
    if stated.abort_above is None or not parsed_city.knows_all("Platform"):
        return
    kinds = [kind.name for kind in parsed_city.catalogue.values() if kind.scrapes]
    if not any(item.type in kinds for _, _, item in parsed_city.capabilities()):
        message = "the city has no capability that counts the requests of a canary"
        expected = f"a capability of type {one_of(kinds)}, or no abortAbove" if kinds else "no abortAbove"
        yield app.problem((*path, "abortAbove"), message, expected, on_key=True)


def routed(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A canary is the component that the app's route leads to, at our gateway and on the gateway's cloud."""
    for app, path, part in parsed_city.components():
        if part.strategy is None or part.strategy.type != "canary" or part.is_job or part.volumes:
            continue
        here = (*path, "strategy", "type")
        if app.value.route is None:
            message = "the shares of a canary are those of requests at the entry point, and the app has no route"
            yield app.problem(here, message, "a route, or another strategy")
        elif app.value.route.service:
            message = f"the route leads to Service {app.value.route.service!r}, and only a component can be a canary"
            yield app.problem(here, message, "rolling or recreate, or a route that leads to this component")
        elif app.value.web_component is not None and part is not app.value.web_component:
            message = f"the route leads to component {app.value.web_component.name!r}, and only that can be a canary"
            yield app.problem(here, message, "rolling or recreate")
        else:
            yield from _names(app, path, part)
            yield from _deployers(parsed_city, app, here)
            yield from _clouds(parsed_city, app, here)


def _names(app: Sourced[App], path: _Path, part: Component) -> Iterator[Problem]:
    """The canary's objects have names of their own."""
    own = naming.component_workload(app.value.name, naming.canary_component(part.name))
    for index, other in enumerate(app.value.components):
        if naming.component_workload(app.value.name, other.name) == own:
            message = f"component {other.name!r} has the name that the canary of {part.name!r} gets"
            yield app.problem((*path[:-1], index, "name"), message, "another name")


def _deployers(parsed_city: ParsedCity, app: Sourced[App], path: _Path) -> Iterator[Problem]:
    tenant = next((item for item in parsed_city.tenants if item.value.name == app.value.tenant), None)
    if tenant is not None and tenant.value.deployers:
        place = tenant.place("spec", "deployers")
        message = f"the tenant has deployers ({place}), and they may not change the entry point's weights"
        yield app.problem(path, message, "rolling or recreate, or a tenant without deployers")


def _clouds(parsed_city: ParsedCity, app: Sourced[App], path: _Path) -> Iterator[Problem]:
    gateway = next((item for _, _, item in parsed_city.capabilities() if item.is_entry), None)
    apps_clouds = possible_clouds(parsed_city, app.value.cloud, app.value.zone)
    if any(_own_ingress(cloud, app.value.zone) for cloud in apps_clouds):
        message = "the entry point is the cluster's own ingress controller, which has no shares of requests"
        yield app.problem(path, message, "rolling or recreate, or the gateway as the entry point")
    elif gateway is not None and not on_one([*apps_clouds, *possible_clouds(parsed_city, gateway.cloud, gateway.zone)]):
        message = "the app and the gateway may be placed on different clouds, and shares are kept on one"
        yield app.problem(path, message, f"one `cloud` for the app and for {gateway.name!r}, or another strategy")


def _own_ingress(cloud: Cloud, zone: str) -> bool:
    settings = cloud.kubernetes
    return bool(settings.ingress_class or settings.zone_ingress_classes.get(zone))


CHECKS: tuple[Check, ...] = (steps, routed)
