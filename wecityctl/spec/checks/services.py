"""Checks routes and `provides` that lead to a Service of the app's manifests: that it is there and serves."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.errors import Problem
from wecityctl.guesses import nearest
from wecityctl.model import naming, served
from wecityctl.model.city import App
from wecityctl.spec.checks.check import Check
from wecityctl.spec.fields import one_of
from wecityctl.spec.nodes import PathItem
from wecityctl.spec.parsed_city import ParsedCity, Sourced

_Path = tuple[PathItem, ...]


def targets(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A Service that a route or `provides` names is among the app's manifests, has the port, and selects pods."""
    for app in parsed_city.apps:
        route = app.value.route
        if route is not None and route.service:
            yield from _target(parsed_city, app, ("spec", "route"), route.service, route.port)
        for index, item in enumerate(app.value.provides):
            if item.service:
                yield from _target(parsed_city, app, ("spec", "provides", index), item.service, item.port)


def _target(parsed_city: ParsedCity, app: Sourced[App], path: _Path, service: str, port: str) -> Iterator[Problem]:
    if app.has(*path, "component"):
        message = "`service` is a Service of the manifests, and `component` a component"
        yield app.problem((*path, "component"), message, "one of the two", on_key=True)
    found = served.of_service(app.value, service, port)
    if isinstance(found, served.Served):
        return
    own = [item.document for item in parsed_city.manifests if item.source.document is app.document]
    document = next((item for item in own if (item.kind, item.name) == ("Service", service)), None)
    if document is not None and found.manifest is None:
        # It has a problem of its own, which is reported.
        return
    where = f" ({document.place(('metadata', 'name'))})" if document is not None else ""
    wanted = service if found.field == "service" else port
    at = (*path, found.field) if app.has(*path, found.field) else path
    expected = one_of(found.known) if found.known else found.expected
    yield app.problem(at, f"{found.message}{where}", expected, nearest(wanted, found.known), on_key=at == path)


def certificates(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Pods behind a Service whose route has `tls` mount the certificate."""
    for app in parsed_city.apps:
        route = app.value.route
        if route is None or not route.service or not route.tls:
            continue
        behind = tuple(served.pods_behind(app.value, route.service))
        if behind and not all(served.holds_certificate(app.value, item) for item in behind):
            secret = naming.tls_secret(route.service)
            message = f"pods behind Service {route.service!r} do not mount the Secret {secret!r} with the certificate"
            yield app.problem(("spec", "route", "tls"), message, f"a volume `secret: {{secretName: {secret}}}`")


CHECKS: tuple[Check, ...] = (targets, certificates)
