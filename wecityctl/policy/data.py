"""Where an app's data lies: the app itself and the stores it uses, with their zones, clouds and regions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wecityctl.model.city import App, Capability, City, Cloud
from wecityctl.policy.model import Posture

# Bindings behind which data is kept; an http service answers and keeps nothing of its caller's.
STORES = frozenset({"postgresql", "redis"})
CITIZENS = frozenset({"L3", "L4"})


@dataclass(frozen=True, slots=True)
class Lodging:
    """One place in which an app's data lies. `capability` is `None` for the app's own pods; `use` is its index.

    `cloud` is `None` where nothing can be placed and the files leave more than one to choose from."""

    app: App
    cloud: Cloud | None
    zone: str
    capability: Capability | None = None
    use: int = -1

    @property
    def where(self) -> str:
        return f"capability {self.capability.name!r}" if self.capability is not None else "the app"

    @property
    def path(self) -> tuple[str | int, ...]:
        """What in the App document leads there."""
        return ("spec", "uses", self.use) if self.capability is not None else ("spec", "zone")


def running(posture: Posture) -> tuple[App, ...]:
    """The apps that have workloads and so hold data."""
    return tuple(app for app in posture.city.apps if app.runs)


def lodgings(posture: Posture, app: App) -> Iterator[Lodging]:
    """The app's own place first, then those of the stores it uses."""
    city, placement = posture.city, posture.placement
    own = placement.apps.get((app.tenant, app.name), app.cloud)
    yield Lodging(app, _cloud(city, own), app.zone)
    for index, use in enumerate(app.uses):
        capability = city.capability(use.capability)
        if posture.catalogue[capability.type].binding in STORES:
            chosen = placement.capabilities.get(capability.name, capability.cloud)
            yield Lodging(app, _cloud(city, chosen), capability.zone, capability, index)


def _cloud(city: City, name: str) -> Cloud | None:
    """The cloud of that name; without one, the only cloud that there is."""
    if name:
        return city.cloud(name)
    return city.clouds[0] if len(city.clouds) == 1 else None
