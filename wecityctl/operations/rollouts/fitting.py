"""Finds out whether a version of a component that was recorded can still run in the app as its files say it now."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.model.binding_values import references
from wecityctl.model.city import App, Component


def unfit(app: App, version: Component) -> str:
    """Return what this version does not have, or needs and the files have no more; empty if it can run.

    A route and other apps lead to ports of it by name; its variables name bindings; its volumes are in the cluster.
    """
    return next(_reasons(app, version), "")


def leads_to(app: App, version: Component) -> bool:
    """Whether the app's route leads to a port that this version of its component has; else both cannot be served."""
    port = app.route.port if app.route is not None else ""
    return bool(version.ports) and port in ("", *version.ports)


def _reasons(app: App, version: Component) -> Iterator[str]:
    web = app.web_component
    if app.route is not None and web is not None and web.name == version.name and not leads_to(app, version):
        yield "the route leads to a port that it does not have"
    for item in app.provides:
        is_of_it = item.component == version.name or (
            not item.component and web is not None and web.name == version.name
        )
        if not item.service and is_of_it and (not version.ports or item.port not in ("", *version.ports)):
            yield f"the app provides {item.name!r}, a port that it does not have"
    aliases = {use.alias for use in app.uses} | {use.alias for use in app.app_uses}
    for name, value in version.env.items():
        gone = next((item.alias for item in references(value) if item.alias not in aliases), "")
        if gone:
            yield f"its variable {name} is of the binding {gone!r}, which the files have no more"
    said = next((part for part in app.components if part.name == version.name), None)
    if said is not None and {item.name for item in said.volumes} != {item.name for item in version.volumes}:
        yield "its volumes are others than those of the files"
