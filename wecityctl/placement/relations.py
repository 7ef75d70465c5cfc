"""The relations between items: colocations and anti-affinities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from wecityctl.model import provided, served
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import App, Capability, City, Cloud
from wecityctl.model.entries import gateway_of
from wecityctl.model.requirements import uses_of
from wecityctl.placement.demand import Item
from wecityctl.placement.interconnect import (
    NeededFlow,
    app_use_flow,
    is_closed,
    is_private,
    needed_flows,
    reaches,
    reaches_encrypted,
    route_flow,
    route_is_encrypted,
    serves_entry,
    use_is_encrypted,
)
from wecityctl.placement.model import Constraint, ConstraintKind, Key, Source, app_key, capability_key, subject_of

Numbers = Mapping[Key, int]


@dataclass(frozen=True, slots=True)
class Colocation:
    """The cloud of `item` must reach one of `others`.

    `reach[c]` are the clouds that cloud c reaches, including c itself.
    """

    item: int
    others: tuple[int, ...]
    reach: tuple[frozenset[int], ...]
    constraint: Constraint

    @property
    def is_together(self) -> bool:
        """Whether it requires the same cloud as one other item."""
        return len(self.others) == 1 and all(reached == {cloud} for cloud, reached in enumerate(self.reach))


@dataclass(frozen=True, slots=True)
class AntiAffinity:
    """Two items must be on different clouds."""

    left: int
    right: int
    constraint: Constraint


def colocations_of(city: City, catalogue: Catalogue, items: Sequence[Item], numbers: Numbers) -> tuple[Colocation, ...]:
    """The colocations from uses, requirements, routes and affinities."""
    return tuple(_Colocations(city, catalogue, items, numbers).all())


def anti_affinities_of(items: Sequence[Item], numbers: Numbers) -> tuple[AntiAffinity, ...]:
    """The anti-affinities, each pair once."""
    found: dict[tuple[int, int], AntiAffinity] = {}
    for number, item in enumerate(items):
        for index, name in enumerate(item.rules.anti_affinity):
            other = named(item, name, numbers)
            if other is not None and other != number:
                text = f"{item.subject} shares no cloud with {items[other].subject} (antiAffinity)"
                source = item.at("placement", "antiAffinity", index)
                pair = (min(number, other), max(number, other))
                subjects = (item.subject, items[other].subject)
                found.setdefault(pair, AntiAffinity(*pair, Constraint("anti-affinity", subjects, text, source)))
    return tuple(found.values())


def named(item: Item, name: str, numbers: Numbers) -> int | None:
    """The item that a rule of another item names; `None` if it does not run.

    `<tenant>/<app>` names an app. Any other name is an app of the same tenant if one exists, otherwise a capability.
    """
    if "/" in name:
        return numbers.get(app_key(*name.split("/", 1)))
    own = numbers.get(app_key(item.app.tenant, name)) if item.app is not None else None
    return own if own is not None else numbers.get(capability_key(name))


class _Colocations:
    def __init__(self, city: City, catalogue: Catalogue, items: Sequence[Item], numbers: Numbers) -> None:
        self._city = city
        self._catalogue = catalogue
        self._items = items
        self._numbers = numbers
        self._own = tuple(frozenset({cloud}) for cloud in range(len(city.clouds)))
        self._forward = self._reach(reaches, backwards=False)
        self._backward = self._reach(reaches, backwards=True)
        self._encrypted = self._reach(reaches_encrypted, backwards=False)
        self._encrypted_backward = self._reach(reaches_encrypted, backwards=True)
        self._capabilities = {item.name: item for item in city.capabilities}

    def _reach(self, way: Callable[[Cloud, Cloud], bool], *, backwards: bool) -> tuple[frozenset[int], ...]:
        clouds = list(enumerate(self._city.clouds))
        return tuple(
            frozenset(b for b, other in clouds if (way(other, cloud) if backwards else way(cloud, other)))
            for _, cloud in clouds
        )

    def all(self) -> Iterator[Colocation]:
        for number, item in enumerate(self._items):
            yield from self._uses(number, item)
            yield from self._app_uses(number, item)
            yield from self._requires(number, item)
            yield from self._route(number, item)
            yield from self._affinity(number, item)

    def _uses(self, number: int, item: Item) -> Iterator[Colocation]:
        app = item.app
        if app is None:
            return
        seen: set[str] = set()
        for index, use in app.indexed_uses():
            if use.capability in seen:
                continue
            seen.add(use.capability)
            text = f"{item.subject} uses capability {use.capability}, and"
            yield self._use(number, app, use.capability, "uses", text, item.at("uses", index))

    def _requires(self, number: int, item: Item) -> Iterator[Colocation]:
        user = item.capability
        for use in uses_of(user, self._city.capabilities, self._catalogue) if user is not None else ():
            assert user is not None
            text = f"{item.subject} uses capability {use.capability} (as {use.alias}), and"
            yield self._use(number, user, use.capability, "requires", text, item.at("name"))

    def _use(
        self, number: int, user: App | Capability, used: str, kind: ConstraintKind, text: str, source: Source
    ) -> Colocation:
        """The colocation of an app or capability with a capability that it uses."""
        item, capability = self._items[number], self._capabilities[used]
        needed = needed_flows(self._city, self._catalogue, user, capability)
        private = is_private(user, capability, item.data_class, encrypted=use_is_encrypted(capability, self._catalogue))
        shut = [each for each in needed if each.flow is None or is_closed(self._city, each.target)]
        told: NeededFlow = (shut or needed)[0]
        why = self._shut(told.source, told.target, told.port, open_=told.flow is not None, private=private)
        constraint = Constraint(kind, (item.subject, f"capability {used}"), f"{text} {why}", source)
        open_reach = self._encrypted if private else self._forward
        other = self._numbers[capability_key(used)]
        return Colocation(number, (other,), self._own if shut else open_reach, constraint)

    def _app_uses(self, number: int, item: Item) -> Iterator[Colocation]:
        app = item.app
        seen: set[str] = set()
        for use, target in provided.uses_of(self._city, app) if app is not None and app.app_uses else ():
            other = self._numbers.get(app_key(use.tenant, use.app))
            if other is None or target.subject in seen:
                continue
            seen.add(target.subject)
            assert app is not None
            data_class = max(app.data_class, target.data_class)
            private = is_private(app, target.app, data_class, encrypted=target.is_tls)
            zone = target.app.zone
            open_ = app_use_flow(self._city, app, target) is not None
            why = self._shut(app.zone, zone, target.pod_port, open_=open_, private=private)
            constraint = Constraint(
                "uses",
                (item.subject, self._items[other].subject),
                f"{item.subject} uses {self._items[other].subject}, and {why}",
                item.at("uses", use.index),
            )
            open_reach = self._encrypted if private else self._forward
            reach = open_reach if open_ and not is_closed(self._city, zone) else self._own
            yield Colocation(number, (other,), reach, constraint)

    def _route(self, number: int, item: Item) -> Iterator[Colocation]:
        app = item.app
        routed = served.of_route(app) if app is not None and app.is_routed else None
        if app is None or routed is None:
            return
        gateway = gateway_of(self._city)
        if gateway is None:
            return
        flow = route_flow(self._city, app)
        private = is_private(app, gateway, app.data_class, encrypted=route_is_encrypted(app))
        why = self._shut(app.zone, app.zone, routed.pod_port, open_=flow is not None, private=private)
        text = f"the entry point (capability {gateway.name}) leads to {item.subject}, and {why}"
        constraint = Constraint("route", (item.subject, f"capability {gateway.name}"), text, item.at("route"))
        open_ = flow is not None and not is_closed(self._city, app.zone)
        other = self._numbers[capability_key(gateway.name)]
        open_reach = self._encrypted_backward if private else self._backward
        serving = {n for n, cloud in enumerate(self._city.clouds) if serves_entry(self._city, cloud, app.zone)}
        reach = tuple(here & (serving | {cloud}) for cloud, here in enumerate(open_reach))
        yield Colocation(number, (other,), reach if open_ else self._own, constraint)

    def _shut(self, source: str, target: str, port: int, *, open_: bool, private: bool) -> str:
        """Why it may not cross clouds, or between which clouds it may."""
        if is_closed(self._city, target):
            return f"nothing in the government extranet {target} is offered to other clouds"
        if open_ and private:
            return (
                "data of its class crosses only between clouds whose spec.interconnect says that the way is encrypted"
            )
        if open_:
            return "crosses only between clouds whose spec.interconnect says how they reach each other"
        return f"no declared flow {{from: {source}, to: {target}, ports: [{port}]}} lets that cross clouds"

    def _affinity(self, number: int, item: Item) -> Iterator[Colocation]:
        for index, name in enumerate(item.rules.affinity):
            other = named(item, name, self._numbers)
            if other is not None and other != number:
                text = f"{item.subject} shares its cloud with {subject_of(self._items[other].key)} (affinity)"
                source = item.at("placement", "affinity", index)
                subjects = (item.subject, self._items[other].subject)
                yield Colocation(number, (other,), self._own, Constraint("affinity", subjects, text, source))
