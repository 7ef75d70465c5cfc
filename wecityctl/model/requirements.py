"""Resolves dependencies between capabilities: the graph that checks, placement, plan, policy and programs share.

A capability type declares its dependencies (`CapabilityType.uses`); this module resolves them to instances of the city.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from wecityctl.model import naming
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import App, Capability, Use

# Takes the place of the tenant in names of accounts that capabilities have in each other.
CAPABILITY = "capability"


@dataclass(frozen=True, slots=True)
class Consumer:
    """The user of a capability: an app (`group` is its tenant) or another capability (`group` is `capability`)."""

    group: str
    name: str

    @classmethod
    def of(cls, user: App | Capability) -> Consumer:
        """Create the consumer of an app or capability."""
        return cls(user.tenant if isinstance(user, App) else CAPABILITY, user.name)

    def parts(self, use: Use) -> tuple[str, str, str]:
        """The parts that identify a use in the city: group, name and alias."""
        return self.group, self.name, use.alias

    def object_name(self, prefix: str, use: Use, limit: int = 63) -> str:
        """The name of an object for one use, in the namespace of the used capability."""
        return naming.fit("-".join((prefix, *self.parts(use))), limit)


def candidates(capability: Capability, wanted: str, city: Iterable[Capability], catalogue: Catalogue) -> list[str]:
    """The names of the instances that can satisfy the dependency of `capability` on type `wanted`, preferred ones
    first.

    Without itself and without dedicated instances. The nearest come first: those of its own zone and, among these, of
    its own platform.
    """
    found = [
        item
        for item in city
        if item.name != capability.name
        and item.dedicated is None
        and item.type in catalogue
        and wanted in (item.type, *catalogue[item.type].provides)
    ]
    best = min((_distance(capability, item) for item in found), default=None)
    nearest = [item.name for item in found if _distance(capability, item) == best]
    return [*nearest, *(item.name for item in found if item.name not in nearest)]


def is_ambiguous(capability: Capability, wanted: str, city: Iterable[Capability], catalogue: Catalogue) -> bool:
    """Whether several instances are equally near to `capability`, so that the files have to name one."""
    known = {item.name: item for item in city}
    distances = [_distance(capability, known[name]) for name in candidates(capability, wanted, city, catalogue)]
    return distances.count(min(distances, default=(0, 0))) > 1


def uses_of(capability: Capability, city: Iterable[Capability], catalogue: Catalogue) -> tuple[Use, ...]:
    """The uses of an instance: for each dependency of its type, the instance that the files name, or the nearest one.

    A dependency that no instance satisfies is omitted; the checks of the files report it.
    """
    everything = tuple(city)
    kind = catalogue.get(capability.type)
    found = []
    for wanted in kind.uses if kind is not None else ():
        named = next((use for use in capability.uses if use.alias == wanted.alias), None)
        names = [] if named is not None else candidates(capability, wanted.type, everything, catalogue)
        if named is not None:
            found.append(wanted.of(named.capability, named))
        elif names:
            found.append(wanted.of(names[0]))
    return tuple(found)


def requirements(city: Iterable[Capability], catalogue: Catalogue) -> Mapping[str, tuple[str, ...]]:
    """For each instance of the city, the names of the instances that it uses, without repeats, in file order."""
    everything = tuple(city)
    return {
        item.name: tuple(dict.fromkeys(use.capability for use in uses_of(item, everything, catalogue)))
        for item in everything
    }


def reached(graph: Mapping[str, Iterable[str]], name: str) -> tuple[str, ...]:
    """`name` and everything that it uses directly or indirectly, without repeats."""
    found = [name]
    for item in found:
        found += [other for other in graph.get(item, ()) if other not in found]
    return tuple(found)


def find_cycle(graph: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """A cycle that starts with its alphabetically first name, each name before the one it needs; empty without a
    cycle.
    """
    try:
        TopologicalSorter({name: sorted(needed) for name, needed in sorted(graph.items())}).prepare()
    except CycleError as error:
        # `CycleError` lists each node before those that need it, and the first one twice.
        cycle = list(reversed(error.args[1]))[:-1]
        first = cycle.index(min(cycle))
        return tuple(cycle[first:] + cycle[:first])
    return ()


def in_order(graph: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """The names of `graph` in topological order, each after the names that it needs, otherwise in the order of the
    graph.

    Needed names that are not a key of the graph are not returned. Raises `graphlib.CycleError`.
    """
    position = {name: number for number, name in enumerate(graph)}
    sorter = TopologicalSorter({name: [item for item in needed if item in position] for name, needed in graph.items()})
    sorter.prepare()
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=position.__getitem__)
        yield from ready
        sorter.done(*ready)


def _distance(capability: Capability, other: Capability) -> tuple[int, int]:
    return int(other.zone != capability.zone), int(other.platform != capability.platform)
