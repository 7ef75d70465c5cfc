"""Determines where an app's data is stored: at the app itself and in the stores it uses, by zone, cloud and region."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wecityctl.model.catalogue import CapabilityType
from wecityctl.model.city import App, Capability, City, Cloud
from wecityctl.model.requirements import reached, requirements
from wecityctl.policy.model import PolicyInput

CITIZENS = frozenset({"L3", "L4"})


@dataclass(frozen=True, slots=True)
class Lodging:
    """One place where an app's data is stored. `capability` is `None` for the app's own pods; `use` is its index.

    `cloud` is `None` if nothing can be placed and the files allow more than one cloud. `zone` is empty for a store that
    names none. Such a store counts as in every zone of the running apps that use it (`user_zones`) and of the nodes
    that it may run on (`node_zones`). Both are empty if `zone` is set.
    """

    app: App
    cloud: Cloud | None
    zone: str
    capability: Capability | None = None
    use: int = -1
    user_zones: tuple[str, ...] = ()
    node_zones: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        return f"capability {self.capability.name!r}" if self.capability is not None else "the app"

    @property
    def path(self) -> tuple[str | int, ...]:
        """The path in the App document that leads to this place."""
        return ("spec", "uses", self.use) if self.capability is not None else ("spec", "zone")

    @property
    def zones(self) -> tuple[str, ...]:
        """Every zone in which the place counts."""
        return (self.zone,) if self.zone else tuple(dict.fromkeys((*self.user_zones, *self.node_zones)))

    def lies_in(self, zone: str) -> str:
        """Why the place counts as in `zone`, one of `zones`, in words."""
        if self.zone:
            return f"{self.where} is in zone {zone!r}"
        if zone in self.user_zones:
            return f"{self.where} names no zone and is used from zone {zone!r}"
        return f"{self.where} names no zone and may run on nodes of zone {zone!r}"


def running(policy_input: PolicyInput) -> tuple[App, ...]:
    """The apps that have workloads and therefore hold data."""
    return tuple(app for app in policy_input.city.apps if app.runs)


def is_store(kind: CapabilityType) -> bool:
    """Whether a capability of this type stores data of the apps that are bound to it."""
    return kind.stores_data


def store_users(policy_input: PolicyInput) -> Mapping[str, tuple[App, ...]]:
    """The running apps that store data in each store, by the store's name, in file order.

    This includes the capabilities that an app's capabilities need.
    """
    graph = requirements(policy_input.city.capabilities, policy_input.catalogue)
    stores = {item.name for item in policy_input.city.capabilities if is_store(policy_input.catalogue[item.type])}
    found: dict[str, list[App]] = {}
    for app in running(policy_input):
        for name in dict.fromkeys(name for use in app.uses for name in reached(graph, use.capability)):
            if name in stores:
                found.setdefault(name, []).append(app)
    return {name: tuple(apps) for name, apps in found.items()}


def zones_of(apps: tuple[App, ...]) -> tuple[str, ...]:
    """The zones of the apps without duplicates, in file order."""
    return tuple(dict.fromkeys(app.zone for app in apps))


def lodgings(policy_input: PolicyInput) -> Iterator[Lodging]:
    """Each running app's own place first, then those of the stores it uses."""
    city, placement, users = policy_input.city, policy_input.placement, store_users(policy_input)
    graph = requirements(city.capabilities, policy_input.catalogue)
    capabilities = {item.name: item for item in city.capabilities}
    for app in running(policy_input):
        yield Lodging(app, _cloud(city, placement.apps.get((app.tenant, app.name), app.cloud)), app.zone)
        for index, store in _stores(app, graph, users, capabilities):
            cloud = _cloud(city, placement.capabilities.get(store.name, store.cloud))
            if store.zone:
                yield Lodging(app, cloud, store.zone, store, index)
            else:
                nodes = _node_zones((cloud,) if cloud is not None else city.clouds)
                yield Lodging(app, cloud, "", store, index, zones_of(users[store.name]), nodes)


def _stores(
    app: App,
    graph: Mapping[str, tuple[str, ...]],
    users: Mapping[str, tuple[App, ...]],
    capabilities: Mapping[str, Capability],
) -> Iterator[tuple[int, Capability]]:
    """The stores that an app uses directly or indirectly, each with the index of the use; no indirect one twice."""
    direct = {use.capability for use in app.uses}
    for index, use in app.indexed_uses():
        for name in reached(graph, use.capability):
            if name in users and (name == use.capability or name not in direct):
                direct.add(name)
                yield index, capabilities[name]


def _node_zones(clouds: tuple[Cloud, ...]) -> tuple[str, ...]:
    """The zones that nodes of these clouds serve. A pool that names none serves all zones of its cloud."""
    served = (
        zones for cloud in clouds for zones in [pool.zones or cloud.zones for pool in cloud.pools] or [cloud.zones]
    )
    return tuple(dict.fromkeys(zone for zones in served for zone in zones))


def _cloud(city: City, name: str) -> Cloud | None:
    """The cloud of that name; without a name, the only cloud of the city, if it has one."""
    if name:
        return city.cloud(name)
    return city.clouds[0] if len(city.clouds) == 1 else None
