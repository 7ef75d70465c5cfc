"""The dashboards of a city, one for the city and each tenant, app and capability. Pure functions.

The panels of all capabilities and apps are in `panels`; a capability type adds its own (`CapabilityType.dashboard`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from wecityctl.dashboards import panels

if TYPE_CHECKING:
    from wecityctl.model.catalogue import Catalogue, Panel
    from wecityctl.model.city import App, City
    from wecityctl.placement import Placement

Kind = Literal["city", "tenant", "app", "capability"]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page of charts about one thing. `name` is `tenant/app` for an app.

    `labels` select its series in the stores of `clouds`; none select all.
    """

    kind: Kind
    name: str
    title: str
    clouds: tuple[str, ...]
    labels: Mapping[str, str]
    panels: tuple[Panel, ...]

    @property
    def file(self) -> str:
        """The name of its page where that is not the first of the pages."""
        return ".".join((self.kind, *self.name.split("/"), "html"))


def all_of(city: City, catalogue: Catalogue, placement: Placement) -> Iterator[Dashboard]:
    """Yield all dashboards of a city: first its own, then those of tenants with their apps, and of capabilities."""
    clouds = tuple(cloud.name for cloud in city.clouds)
    yield Dashboard("city", city.name, "", clouds, {}, panels.CITY)
    for tenant in city.tenants:
        yield from of_tenant(city, placement, tenant.name)
    for capability in city.capabilities:
        if capability.name in placement.capabilities:
            yield of_capability(city, catalogue, placement, capability.name)


def of_tenant(city: City, placement: Placement, name: str) -> Iterator[Dashboard]:
    """Yield the dashboard of a tenant and those of its apps, which show its series alone."""
    clouds = tuple(cloud.name for cloud in city.clouds)
    yield Dashboard("tenant", name, city.tenant(name).title, clouds, {"tenant": name}, panels.TENANT)
    for app in city.apps_of(name):
        if (app.tenant, app.name) in placement.apps:
            yield of_app(placement, app)


def of_app(placement: Placement, app: App) -> Dashboard:
    """The dashboard of an app."""
    cloud = placement.apps[app.tenant, app.name]
    labels = {"tenant": app.tenant, "app": app.name}
    return Dashboard("app", f"{app.tenant}/{app.called}", "", (cloud,), labels, panels.APP)


def of_capability(city: City, catalogue: Catalogue, placement: Placement, name: str) -> Dashboard:
    """The dashboard of an instance of a capability: the panels of all capabilities, then those of its type."""
    kind = catalogue[city.capability(name).type]
    cloud = placement.capabilities[name]
    found = (*panels.CAPABILITY, *kind.dashboard)
    return Dashboard("capability", name, kind.title, (cloud,), {"capability": name}, found)
