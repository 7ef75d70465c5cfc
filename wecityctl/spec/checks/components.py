"""Checks that the fields of a component fit each other: ports, probes, jobs and references to bindings."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wecityctl.errors import Problem
from wecityctl.guesses import nearest
from wecityctl.model import provided
from wecityctl.model.binding_values import Invalid, Reference, entries_of, parts
from wecityctl.model.city import App, AppUse, Component, Probe, Use
from wecityctl.model.environments import ENVIRONMENT_NAME
from wecityctl.model.service_tls import speaks_tls
from wecityctl.spec.checks.check import Check
from wecityctl.spec.fields import one_of
from wecityctl.spec.nodes import PathItem
from wecityctl.spec.parsed_city import ParsedCity, Sourced

_Path = tuple[PathItem, ...]
# Fields that a component which ends by itself cannot have, with what each is for.
_SERVING = {
    "port": "requests are served by components that run all the time",
    "ports": "requests are served by components that run all the time",
    "health": "what ends by itself is not asked",
    "probes": "what ends by itself is not asked",
    "metrics": "what ends by itself is not asked",
    "autoscale": "one run has one pod",
    "replicas": "one run has one pod",
    "strategy": "each run is of one version",
}
# A value that is one variable, as `${environment}` is.
_WORD = re.compile(r"\$\{([a-z]+)\}")
_OF_SCHEDULES = ("timeZone", "concurrency")


def ports(parsed_city: ParsedCity) -> Iterator[Problem]:
    """`port` is not given beside `ports`, and no port number has two names."""
    for app, path, part in parsed_city.components():
        if app.has(*path, "port") and app.has(*path, "ports"):
            yield app.problem((*path, "port"), "`ports` gives the ports already", "one of the two", on_key=True)
        first: dict[int, str] = {}
        for name, number in part.ports.items():
            if first.setdefault(number, name) != name and app.has(*path, "ports", name):
                message = f"port {number} is {first[number]!r} already"
                yield app.problem((*path, "ports", name), message, "each port once")


def probes(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Probes are made on a port of the component, and are given in one of two ways."""
    for app, path, part in parsed_city.components():
        if part.probes is None:
            continue
        if part.health_path:
            yield app.problem((*path, "health"), "`probes` says how it is asked already", "one of the two", on_key=True)
        for name, probe in (("ready", part.probes.ready), ("live", part.probes.live)):
            if probe is not None:
                yield from _probe(app, (*path, "probes", name), part, probe)


def _probe(app: Sourced[App], path: _Path, part: Component, probe: Probe) -> Iterator[Problem]:
    if probe.port and probe.port not in part.ports:
        expected = one_of(tuple(part.ports)) if part.ports else "a port of the component under `ports`"
        yield app.problem((*path, "port"), f"the component has no port {probe.port!r}", expected)
    elif not part.ports and not part.is_job:
        yield app.problem(path, "the check is made on the component's port, and it has none", "a port", on_key=True)
    if probe.timeout > probe.every:
        message = f"an answer may take {probe.timeout} s, longer than until the next check after {probe.every} s"
        yield app.problem((*path, "timeout"), message, f"at most {probe.every}, or a larger `every`")


def metrics(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Metrics are served on a port of the component."""
    for app, path, part in parsed_city.components():
        if part.metrics is None or part.is_job:
            continue
        here = (*path, "metrics")
        if not part.ports:
            message = "metrics are read from the component's port, and it has none"
            yield app.problem(here, message, "a port", on_key=True)
        elif part.metrics.port and part.metrics.port not in part.ports:
            guess = nearest(part.metrics.port, tuple(part.ports))
            message = f"the component has no port {part.metrics.port!r}"
            yield app.problem((*here, "port"), message, one_of(tuple(part.ports)), guess)


def jobs(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A component that ends by itself has nothing of one that serves requests, and the reverse."""
    for app, path, part in parsed_city.components():
        if part.schedule and part.run is not None:
            message = f"a component with a schedule runs at its times, not {part.run}"
            yield app.problem((*path, "run"), message, "one of the two", on_key=True)
        for field, why in _SERVING.items():
            if part.is_job and app.has(*path, field):
                yield app.problem((*path, field), f"{why}, and this one ends by itself", f"no {field}", on_key=True)
        for field in _OF_SCHEDULES:
            if not part.schedule and app.has(*path, field):
                message = f"{field} is about a schedule, and this component has none"
                yield app.problem((*path, field), message, f"a schedule, or no {field}", on_key=True)
        if not part.is_job and app.has(*path, "timeout"):
            message = "a component that runs all the time has no longest time"
            yield app.problem((*path, "timeout"), message, "a schedule or run, or no timeout", on_key=True)


def strategies(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A strategy can replace pods, and says only what it takes."""
    for app, path, part in parsed_city.components():
        stated, here = part.strategy, (*path, "strategy")
        if stated is None or part.is_job:
            continue
        if part.volumes:
            message = "a component with a volume has one pod, which ends before the next one starts"
            yield app.problem(here, message, "no strategy", on_key=True)
        elif stated.type == "recreate":
            for field in ("surge", "unavailable"):
                if app.has(*here, field):
                    message = f"{field} is about rolling updates, and here all pods end first"
                    yield app.problem((*here, field), message, f"type: rolling, or no {field}", on_key=True)
        elif stated.surge == 0 and (stated.unavailable == 0 or (stated.unavailable is None and part.replicas == 1)):
            message = "no pod may be added and none be missing, so none can be replaced"
            yield app.problem((*here, "surge"), message, "at least 1 of one of the two")


def binding_values(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Each `${ALIAS.KEY}` in a variable names a binding of the app and an entry of it."""
    for app, path, part in parsed_city.components():
        for name, value in part.env.items():
            word = _WORD.fullmatch(value)
            if word and word[1] != "environment" and nearest(word[1], ("environment",)):
                message = f"{value} is not the environment's name, and arrives as it is written"
                yield app.problem((*path, "env", name), message, "another variable's name", ENVIRONMENT_NAME)
            for item in parts(value):
                here = (*path, "env", name)
                if isinstance(item, Invalid):
                    message = f"{item.text!r} names no entry of a binding"
                    yield app.problem(here, message, "${ALIAS.KEY}, or $${ for the two characters ${")
                elif isinstance(item, Reference):
                    yield from _reference(parsed_city, app, here, item)


def _reference(parsed_city: ParsedCity, app: Sourced[App], path: _Path, item: Reference) -> Iterator[Problem]:
    aliases: dict[str, Use | AppUse] = {use.alias: use for use in app.value.uses}
    aliases |= {use.alias: use for use in app.value.app_uses}
    if item.alias not in aliases:
        expected = f"a binding under `uses`: {one_of(tuple(aliases))}" if aliases else "a binding under `uses`"
        guess = nearest(item.alias, tuple(aliases))
        suggestion = f"${{{guess}.{item.key}}}" if guess else ""
        yield app.problem(path, f"the app has no binding {item.alias!r}", expected, suggestion)
        return
    keys = _keys(parsed_city, aliases[item.alias])
    if keys is not None and item.key not in keys:
        guess = nearest(item.key, keys)
        suggestion = f"${{{item.alias}.{guess}}}" if guess else ""
        yield app.problem(path, f"the binding {item.alias!r} has no entry {item.key!r}", one_of(keys), suggestion)


def _keys(parsed_city: ParsedCity, use: Use | AppUse) -> tuple[str, ...] | None:
    """The keys of a binding; `None` if what is used is unknown, which other checks report."""
    if isinstance(use, AppUse):
        target = provided.resolve(parsed_city.app_by_name, use)
        return provided.entries_of(target) if target is not None else None
    capability = parsed_city.capability_by_name.get(use.capability)
    kind = parsed_city.catalogue.get(capability.type) if capability is not None else None
    if capability is None or kind is None:
        return None
    return entries_of(kind, is_tls=speaks_tls(capability, parsed_city.catalogue))


def routes(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A route says which component and port it leads to wherever there is more than one."""
    for app in parsed_city.apps:
        route = app.value.route
        if route is None or route.service:
            # `services` checks the Services of manifests.
            continue
        serving = {part.name: part for part in app.value.components if part.ports and not part.is_job}
        if route.component and route.component not in serving:
            expected = one_of(tuple(serving)) if serving else "a component with a port"
            message = f"the app has no component {route.component!r} with a port"
            guess = nearest(route.component, tuple(serving))
            yield app.problem(("spec", "route", "component"), message, expected, guess)
        elif not route.component and len(serving) > 1:
            message = f"the route can lead to any of {len(serving)} components with a port"
            yield app.problem(("spec", "route"), message, f"component: {one_of(tuple(serving))}", on_key=True)
        web = app.value.web_component
        if web is None:
            continue
        if route.port and route.port not in web.ports:
            message = f"component {web.name!r} has no port {route.port!r}"
            yield app.problem(("spec", "route", "port"), message, one_of(tuple(web.ports)))
        elif not route.port and len(web.ports) > 1:
            message = f"the route can lead to any of the {len(web.ports)} ports of component {web.name!r}"
            yield app.problem(("spec", "route"), message, f"port: {one_of(tuple(web.ports))}", on_key=True)


def volumes(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A component with volumes has one replica and no schedule, and each volume a directory of its own."""
    for app, path, part in parsed_city.components():
        if not part.volumes:
            continue
        if part.is_job:
            message = "a volume belongs to one pod, and runs of this component may overlap"
            yield app.problem((*path, "volumes"), message, "a component that runs all the time", on_key=True)
        if part.replicas > 1 or part.autoscale is not None:
            field = "autoscale" if part.autoscale is not None else "replicas"
            message = "a volume is one pod's at a time, so that a component with volumes has one replica"
            expected = "one replica, or a capability under `uses` that several pods can share"
            yield app.problem((*path, field), message, expected, on_key=True)
        names: dict[str, int] = {}
        for index, volume in enumerate(part.volumes):
            here = (*path, "volumes", index)
            if names.setdefault(volume.name, index) != index:
                yield app.problem((*here, "name"), f"volume {volume.name!r} is given twice", "another name")
            for other in part.volumes[:index]:
                if _within(volume.path, other.path) or _within(other.path, volume.path):
                    message = f"{volume.path} and {other.path} lie in each other"
                    yield app.problem((*here, "path"), message, "directories beside each other")
            for file in part.files:
                if _within(file, volume.path) or _within(volume.path, file):
                    message = f"the file {file} lies in the volume at {volume.path}"
                    yield app.problem((*path, "files", file), message, "another path", on_key=True)


def _within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(f"{directory}/")


CHECKS: tuple[Check, ...] = (ports, probes, metrics, jobs, routes, volumes, strategies)
REFERENCE_CHECKS: tuple[Check, ...] = (binding_values,)
