"""Which underlying cloud carries which capability and app, and why.

Today's rule: a pin wins; else the first cloud, in file order, that serves the zone. The answer is a pure function of
the city, so the same files always give the same placement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wecityctl.errors import ConfigurationError
from wecityctl.model.city import App, Capability, City


@dataclass(frozen=True, slots=True)
class Placement:
    """Cloud names by capability name, by (tenant, app), and the cloud of the entry point."""

    capabilities: Mapping[str, str]
    apps: Mapping[tuple[str, str], str]
    entry: str

    def clouds_of_tenant(self, tenant: str) -> tuple[str, ...]:
        return tuple(sorted({cloud for (owner, _), cloud in self.apps.items() if owner == tenant}))

    def clouds_of_platform(self, city: City, platform: str) -> tuple[str, ...]:
        return tuple(sorted({self.capabilities[item.name] for item in city.capabilities if item.platform == platform}))


def place(city: City) -> Placement:
    """Place everything in `city`. Raises `ConfigurationError` when a zone or pin is served by no cloud."""
    capabilities = {item.name: _choose(city, item.cloud, item.zone, _subject(item)) for item in city.capabilities}
    apps = {(app.tenant, app.name): _choose(city, app.cloud, app.zone, _subject(app)) for app in city.apps}
    gateway = next((capabilities[item.name] for item in city.capabilities if item.type == "gateway"), "")
    return Placement(capabilities, apps, gateway or city.clouds[0].name)


def _subject(item: Capability | App) -> str:
    return f"capability {item.name}" if isinstance(item, Capability) else f"app {item.tenant}/{item.name}"


def _choose(city: City, pin: str, zone: str, subject: str) -> str:
    for cloud in city.clouds:
        if (not pin or cloud.name == pin) and (not zone or zone in cloud.zones):
            return cloud.name
    asked = " and ".join(part for part in (f"cloud {pin!r}" if pin else "", f"zone {zone!r}" if zone else "") if part)
    raise ConfigurationError(
        f"{subject} cannot be placed: no cloud offers {asked}",
        resolution="add the zone to a cloud's spec.zones, or change the pin",
    )
