"""Computes what a city requests of its clouds: each capability and running app as an item with workloads.

Amounts are whole numbers: CPU in millicores, memory and storage in KiB, accelerators in pieces. Capacity is reserved
for an app's maximum (`autoscale.max`). Its cost is computed for its minimum (`autoscale.min`), because nobody knows how
long it will be scaled up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import App, Capability, City, Component, PlacementRules
from wecityctl.model.entries import entry_points
from wecityctl.model.manifests import host_of, workload_of
from wecityctl.model.quantity import parse_quantity
from wecityctl.model.requirements import reached, requirements
from wecityctl.placement.model import Key, Source, app_key, capability_key, subject_of

CPU, MEMORY, STORAGE = "cpu", "memory", "storage"
_UNITS = {CPU: Decimal("0.001"), MEMORY: Decimal(1024), STORAGE: Decimal(1024)}
Amounts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Workload:
    """Replicas of one kind of pod, as amounts by resource.

    `replica` is the request of one replica, `room` the capacity reserved for all, and `paid` the amounts that are paid
    for. Of a workload on `each_node` there is nothing in `room`, since each node of the cloud has that much less for
    all others (`supply`); `paid` is for one node.
    """

    name: str
    architectures: frozenset[str]
    replica: Amounts
    room: Amounts
    paid: Amounts
    accelerators: frozenset[str]
    source: Source
    each_node: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """An item to place: a capability or an app."""

    key: Key
    zone: str
    pin: str
    rules: PlacementRules
    workloads: tuple[Workload, ...]
    source: Source
    data_class: str = ""
    has_data: bool = False
    app: App | None = None
    capability: Capability | None = None

    @property
    def subject(self) -> str:
        return subject_of(self.key)

    def at(self, *path: str | int) -> Source:
        """A field of the item's document, for messages."""
        return Source(self.source.kind, self.source.name, (*self.source.path, *path))


@dataclass(slots=True)
class Reader:
    """Parses quantities to whole numbers, each distinct text once."""

    _known: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def __call__(self, resource: str, text: str, rounding: str = ROUND_CEILING) -> int:
        key = (resource, text, rounding)
        if key not in self._known:
            value = parse_quantity(text) / _UNITS[resource]
            self._known[key] = int(value.to_integral_value(rounding=rounding))
        return self._known[key]

    def floor(self, resource: str, text: str) -> int:
        """A capacity, rounded down; requests are rounded up."""
        return self(resource, text, ROUND_FLOOR)


def items_of(city: City, catalogue: Catalogue, read: Reader) -> tuple[Item, ...]:
    """Everything that runs, sorted by kind and name, so that the result does not depend on the order of the files."""
    classes = data_classes(city, requirements(city.capabilities, catalogue))
    found = [*_capabilities(city, catalogue, classes, read), *(_app(app, read) for app in city.apps if app.runs)]
    return tuple(sorted(found, key=lambda item: (item.app is not None, item.key)))


def _capabilities(city: City, catalogue: Catalogue, classes: Mapping[str, str], read: Reader) -> Iterator[Item]:
    entries = len(entry_points(city))
    for platform in city.platforms:
        for index, item in enumerate(platform.capabilities):
            kind = catalogue[item.type]
            source = Source("Platform", platform.name, ("spec", "capabilities", index))
            copies = entries if item.is_entry else 1
            architectures = frozenset(kind.architectures_in(city.images.architectures))
            workloads = []
            for pods in kind.workloads(item.size, item.replicas, item.storage, item.cpu):
                one = {CPU: read(CPU, pods.total["cpu"]), MEMORY: read(MEMORY, pods.total["memory"])}
                if pods.storage:
                    one[STORAGE] = read(STORAGE, pods.storage)
                name, count = f"{item.name}-{pods.name}" if pods.name else item.name, pods.replicas * copies
                total = {resource: amount * (0 if pods.each_node else count) for resource, amount in one.items()}
                paid = one if pods.each_node else total
                workloads.append(
                    Workload(name, architectures, one, total, paid, frozenset(), source, each_node=pods.each_node)
                )
            workloads += [
                _stated(part, Source("Platform", platform.name, ("spec", "manifests")), read)
                for manifest in platform.manifests
                if host_of(platform, manifest) is item and (part := workload_of(platform, manifest)) is not None
            ]
            yield Item(
                capability_key(item.name),
                item.zone,
                item.cloud,
                item.placement,
                tuple(workloads),
                source,
                classes.get(item.name, ""),
                bool(kind.storage),
                capability=item,
            )


def _app(app: App, read: Reader) -> Item:
    source = Source("App", f"{app.tenant}/{app.name}")
    workloads = tuple(
        _workload(app, ("spec", "components", index), part, read) for index, part in enumerate(app.components)
    )
    stated = (workload_of(app, item) for item in app.manifests)
    workloads += tuple(_workload(app, ("spec", "manifests"), part, read) for part in stated if part is not None)
    return Item(
        app_key(app.tenant, app.name),
        app.zone,
        app.cloud,
        app.placement,
        workloads,
        Source(source.kind, source.name, ("spec",)),
        app.data_class,
        app=app,
    )


def _workload(app: App, path: tuple[str | int, ...], part: Component, read: Reader) -> Workload:
    source = Source("App", f"{app.tenant}/{app.name}", path)
    return _stated(part, source, read, is_suspended=app.stage == "suspended")


def _stated(part: Component, source: Source, read: Reader, *, is_suspended: bool = False) -> Workload:
    one = {CPU: read(CPU, part.resources.cpu), MEMORY: read(MEMORY, part.resources.memory)}
    one |= {name: count for name, count in part.resources.accelerators.items() if count}
    if part.volumes:
        one[STORAGE] = sum(read(STORAGE, volume.size) for volume in part.volumes)
    most = part.autoscale.max if part.autoscale else part.replicas
    least = 0 if is_suspended else part.autoscale.min if part.autoscale else part.replicas
    return Workload(
        part.name,
        frozenset(part.architectures),
        one,
        {name: amount * most for name, amount in one.items()},
        {name: amount * least for name, amount in one.items()},
        frozenset(name for name, count in part.resources.accelerators.items() if count),
        source,
    )


def data_classes(city: City, graph: Mapping[str, tuple[str, ...]]) -> Mapping[str, str]:
    """The highest data class that each capability holds: that of its direct and indirect users."""
    found: dict[str, str] = {}
    for app in city.apps:
        for use in app.uses if app.runs else ():
            for name in reached(graph, use.capability):
                found[name] = max(found.get(name, ""), app.data_class)
    return found
