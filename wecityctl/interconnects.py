"""Computes the traffic between the clouds of a city: source, target, the declared flow that allows it, and the node
port.

A pure function of the city and its placement. Traffic that no flow allows, or that has no network path, is an error
that names the missing flow or setting. Whether it may be unencrypted is decided by a policy rule, not here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from wecityctl.errors import ConfigurationError
from wecityctl.model import naming, served
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import App, AppUse, Capability, City, Cloud, Flow, Use
from wecityctl.model.entries import gateway_of
from wecityctl.model.provided import ProvidedPort, calls
from wecityctl.model.requirements import Consumer, uses_of
from wecityctl.placement import Placement
from wecityctl.placement.interconnect import (
    app_use_flow,
    is_apart,
    is_closed,
    needed_flows,
    route_flow,
    route_is_encrypted,
    serves_entry,
    use_is_encrypted,
)

# Kubernetes reserves this part of the default node port range (30000–32767) for ports chosen by the user
# (ServiceNodePortStaticSubrange).
STATIC_PORTS = range(30000, 30086)


@dataclass(frozen=True, slots=True)
class UseInterconnect:
    """A use of a capability on another cloud, by an app or a capability. `source` and `target` are clouds; `flows` has
    one for each zone of the user."""

    user: App | Capability
    use: Use
    capability: Capability
    source: str
    target: str
    flows: tuple[Flow, ...]

    @property
    def consumer(self) -> Consumer:
        """Who uses it, as accounts and stacks are named."""
        return Consumer.of(self.user)

    @property
    def subject(self) -> str:
        """The name under which the node port of the target is registered: the capability's."""
        return self.capability.name


@dataclass(frozen=True, slots=True)
class AppUseInterconnect:
    """An app's use of an app on another cloud. `source` and `target` are clouds; `used` is the port there."""

    app: App
    use: AppUse
    used: ProvidedPort
    source: str
    target: str
    flow: Flow

    @property
    def subject(self) -> str:
        """The name under which the node port of the target is registered: `tenant/app/name`."""
        return self.used.subject


@dataclass(frozen=True, slots=True)
class RouteInterconnect:
    """The route from the entry point to an app on another cloud. `source` and `target` are clouds."""

    app: App
    source: str
    target: str
    flow: Flow

    @property
    def subject(self) -> str:
        """The name under which the node port of the target is registered: `tenant/app`."""
        return f"{self.app.tenant}/{self.app.name}"


AnyInterconnect: TypeAlias = UseInterconnect | AppUseInterconnect | RouteInterconnect


@dataclass(frozen=True, slots=True)
class Interconnects:
    """All traffic between the clouds of a city, in file order, and the node ports by (cloud, subject)."""

    uses: tuple[UseInterconnect, ...] = ()
    routes: tuple[RouteInterconnect, ...] = ()
    ports: Mapping[tuple[str, str], int] = field(default_factory=dict)
    app_uses: tuple[AppUseInterconnect, ...] = ()

    def __iter__(self) -> Iterator[AnyInterconnect]:
        yield from self.uses
        yield from self.app_uses
        yield from self.routes

    def use(self, user: App | Capability, alias: str) -> UseInterconnect | None:
        """Return the interconnect of the user's use with this alias; `None` if both are on one cloud."""
        consumer = Consumer.of(user)
        mine = (item for item in self.uses if item.consumer == consumer)
        return next((item for item in mine if item.use.alias == alias), None)

    def app_use(self, app: App, alias: str) -> AppUseInterconnect | None:
        """Return the interconnect of the app's use of another app with this alias; `None` if both are on one cloud."""
        mine = (item for item in self.app_uses if (item.app.tenant, item.app.name) == (app.tenant, app.name))
        return next((item for item in mine if item.use.alias == alias), None)

    def route(self, app: App) -> RouteInterconnect | None:
        """Return the interconnect of the route to the app; `None` if it is on the entry point's cloud."""
        return next((item for item in self.routes if (item.app.tenant, item.app.name) == (app.tenant, app.name)), None)

    def port(self, cloud: str, subject: str) -> int:
        """Return the node port of a capability or app for other clouds; 0 if no other cloud reaches it."""
        return self.ports.get((cloud, subject), 0)

    def in_the_clear(self, city: City, catalogue: Catalogue) -> tuple[AnyInterconnect, ...]:
        """Return the unencrypted interconnects: the protocol is not always encrypted, and not both clouds declare an
        encrypted network between them.
        """
        return tuple(item for item in self if not _encrypted(city, catalogue, item))

    def links(self) -> Mapping[tuple[str, str], tuple[int, ...]]:
        """Return the node ports that one cloud reaches on another, by (source, target)."""
        found: dict[tuple[str, str], set[int]] = {}
        for item in self:
            found.setdefault((item.source, item.target), set()).add(self.ports[(item.target, item.subject)])
        return {pair: tuple(sorted(ports)) for pair, ports in sorted(found.items())}


def find_interconnects(city: City, catalogue: Catalogue, placement: Placement) -> Interconnects:
    """Return the traffic between the clouds of `city`.

    Raises `ConfigurationError` that lists everything that is not allowed or not possible.
    """
    refused: list[str] = []
    uses = tuple(_uses(city, catalogue, placement, refused))
    app_uses = tuple(_app_uses(city, placement, refused))
    routes = tuple(_routes(city, placement, refused))
    found: tuple[AnyInterconnect, ...] = (*uses, *app_uses, *routes)
    for pair in dict.fromkeys((item.source, item.target) for item in found):
        refused += _apart(*map(city.cloud, pair))
    for cloud in dict.fromkeys(item.target for item in found):
        refused += _without_address(city.cloud(cloud))
    for cloud in dict.fromkeys(item.source for item in found):
        refused += _without_sources(city.cloud(cloud))
    if refused:
        raise ConfigurationError(
            "what is placed on different clouds cannot all reach each other",
            details="\n".join(refused),
            resolution="declare the flow, or pin both to one cloud (spec.cloud); "
            "`wecityctl place PATH --explain` says why they lie where they do",
        )
    return Interconnects(uses, routes, _ports(city, found), app_uses)


def _encrypted(city: City, catalogue: Catalogue, item: AnyInterconnect) -> bool:
    if isinstance(item, UseInterconnect):
        by_protocol = use_is_encrypted(item.capability, catalogue)
    elif isinstance(item, AppUseInterconnect):
        by_protocol = item.used.is_tls
    else:
        by_protocol = route_is_encrypted(item.app)
    return by_protocol or all(city.cloud(name).interconnect.encrypted for name in (item.source, item.target))


def _uses(city: City, catalogue: Catalogue, placement: Placement, refused: list[str]) -> Iterator[UseInterconnect]:
    capabilities = {item.name: item for item in city.capabilities}
    for user, uses in _users(city, catalogue):
        if isinstance(user, App):
            source, who = placement.apps.get((user.tenant, user.name), ""), f"app {user.tenant}/{user.name}"
        else:
            source, who = placement.capabilities[user.name], f"capability {user.name}"
        for use in uses:
            capability, target = capabilities[use.capability], placement.capabilities[use.capability]
            if source == target:
                continue
            needed = needed_flows(city, catalogue, user, capability)
            told = f"{who} on cloud {source} uses {capability.name} on cloud {target}"
            shut = [
                _closed(item.target) if is_closed(city, item.target) else _needed(item.source, item.target, item.port)
                for item in needed
                if is_closed(city, item.target) or item.flow is None
            ]
            refused += [f"{told}: {why}" for why in dict.fromkeys(shut)]
            if not shut:
                flows = tuple(item.flow for item in needed if item.flow is not None)
                yield UseInterconnect(user, use, capability, source, target, flows)


def _users(city: City, catalogue: Catalogue) -> Iterator[tuple[App | Capability, tuple[Use, ...]]]:
    """Yield what uses capabilities, with its uses: running apps, then capabilities."""
    yield from ((app, app.uses) for app in city.apps if app.runs)
    yield from ((item, uses_of(item, city.capabilities, catalogue)) for item in city.capabilities)


def _app_uses(city: City, placement: Placement, refused: list[str]) -> Iterator[AppUseInterconnect]:
    for app, use, used in calls(city):
        source = placement.apps.get((app.tenant, app.name), "")
        target = placement.apps.get((use.tenant, use.app), "")
        if source == target:
            continue
        who = f"app {app.tenant}/{app.name} on cloud {source} uses app {use.tenant}/{use.app} on cloud {target}"
        flow = app_use_flow(city, app, used)
        if is_closed(city, used.app.zone):
            refused.append(f"{who}: {_closed(used.app.zone)}")
        elif flow is None:
            refused.append(f"{who}: {_needed(app.zone, used.app.zone, used.pod_port)}")
        else:
            yield AppUseInterconnect(app, use, used, source, target, flow)


def _routes(city: City, placement: Placement, refused: list[str]) -> Iterator[RouteInterconnect]:
    gateway = gateway_of(city)
    if gateway is None and not city.cloud(placement.entry).kubernetes.ingress_class:
        return
    for app in city.apps:
        target = placement.apps.get((app.tenant, app.name), "")
        routed = served.of_route(app) if app.is_routed else None
        if routed is None or target == placement.entry:
            continue
        who = f"app {app.tenant}/{app.name} on cloud {target} is routed from the entry point on {placement.entry}"
        if gateway is None:
            refused.append(f"{who}, and the ingress class there leads to its own cluster only: a gateway is needed")
        elif is_closed(city, app.zone):
            refused.append(f"{who}: {_closed(app.zone)}")
        elif not serves_entry(city, city.cloud(placement.entry), app.zone):
            refused.append(f"{who}, and that cloud does not serve zone {app.zone}, whose entry point would be there")
        elif (flow := route_flow(city, app)) is None:
            refused.append(f"{who}: {_needed(app.zone, app.zone, routed.pod_port)}")
        else:
            yield RouteInterconnect(app, placement.entry, target, flow)


def _needed(source: str, target: str, port: int) -> str:
    return f"no declared flow lets it; it would be {{from: {source}, to: {target}, ports: [{port}]}} in the City"


def _closed(zone: str) -> str:
    return f"in the government extranet {zone} nothing is offered to other clouds"


def _apart(source: Cloud, target: Cloud) -> Iterator[str]:
    if is_apart(source, target):
        yield (
            f"no way leads from cloud {source.name} to {target.name}: "
            "an embedded cloud's real node reaches other embedded clouds of its machine alone"
        )


def _without_address(cloud: Cloud) -> Iterator[str]:
    if cloud.provider != "local" and not cloud.interconnect.address:
        yield (
            f"cloud {cloud.name} says nowhere how other clouds reach its node ports: "
            "set spec.interconnect.address of the Cloud"
        )


def _without_sources(cloud: Cloud) -> Iterator[str]:
    if cloud.provider != "local" and not cloud.interconnect.sources:
        yield (
            f"cloud {cloud.name} says nowhere from which addresses it reaches other clouds: "
            "set spec.interconnect.sources of the Cloud"
        )


def _ports(city: City, interconnects: Iterable[AnyInterconnect]) -> Mapping[tuple[str, str], int]:
    """Choose a node port for each target: the one that the Cloud fixes, else one derived from the target's name.

    Targets whose names lead to the same port are assigned in the order of their digests, so that a port changes only
    when such a collision appears or disappears.
    """
    wanted: dict[str, set[str]] = {}
    for item in interconnects:
        wanted.setdefault(item.target, set()).add(item.subject)
    ports: dict[tuple[str, str], int] = {}
    for cloud, subjects in wanted.items():
        fixed = city.cloud(cloud).interconnect.ports
        taken = set(fixed.values())
        ports |= {(cloud, subject): fixed[subject] for subject in subjects if subject in fixed}
        for digest, subject in sorted((naming.digest(city.name, name), name) for name in subjects - fixed.keys()):
            port = _free(int(digest, 16), taken, cloud)
            taken.add(port)
            ports[(cloud, subject)] = port
    return ports


def _free(number: int, taken: set[int], cloud: str) -> int:
    for step in range(len(STATIC_PORTS)):
        port = STATIC_PORTS[(number + step) % len(STATIC_PORTS)]
        if port not in taken:
            return port
    raise ConfigurationError(
        f"more than {len(STATIC_PORTS)} capabilities and apps of cloud {cloud} are reached from other clouds",
        resolution="fix node ports for some of them with spec.interconnect.ports of the Cloud",
    )
