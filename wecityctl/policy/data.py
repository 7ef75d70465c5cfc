"""Where an app's data lies: the app itself and the stores it uses, with their zones, clouds and regions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wecityctl.model.city import App, Capability, Cloud
from wecityctl.policy.model import Posture

# Bindings behind which data is kept; an http service answers and keeps nothing of its caller's.
STORES = frozenset({"postgresql", "redis"})
CITIZENS = frozenset({"L3", "L4"})


@dataclass(frozen=True, slots=True)
class Lodging:
    """One place in which an app's data lies. `capability` is `None` for the app's own pods; `use` is its index."""

    app: App
    cloud: Cloud
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
    yield Lodging(app, city.cloud(placement.apps[(app.tenant, app.name)]), app.zone)
    for index, use in enumerate(app.uses):
        capability = city.capability(use.capability)
        if posture.catalogue[capability.type].binding in STORES:
            cloud = city.cloud(placement.capabilities[capability.name])
            yield Lodging(app, cloud, capability.zone, capability, index)
