"""Computes which traffic between zones the recorded NetworkPolicies allow, without a cluster.

Source of the semantics: networking.k8s.io/v1. Namespaces are kept per cloud, since several may use the same name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from wecityctl.model.city import City
from wecityctl.model.naming import CITY_LABEL, TENANT_LABEL, ZONE_LABEL
from wecityctl.policy.model import PolicyInput
from wecityctl.policy.objects import cloud_of, labels_of, name_of, namespace_of
from wecityctl.resource_graph import UNKNOWN, RecordedResource

Direction = Literal["ingress", "egress"]
NAMESPACE_LABEL = "kubernetes.io/metadata.name"
# A range with a prefix this short is not an address of somebody but means the whole world.
WORLD_BITS = 8
UNNUMBERED = -1

_PEERS: dict[Direction, str] = {"ingress": "from", "egress": "to"}


@dataclass(frozen=True, slots=True)
class Allowance:
    """The traffic that one rule of one policy allows, for one zone.

    `zones` are the zones at the other end that it selects. `anyone`: it names no peer, so it allows all. `ranges` are
    the CIDRs that it names; `strangers` are selectors of namespaces outside the city. `ports` is `None` for all ports;
    a port that is only known by name is `UNNUMBERED`.
    """

    stack: str
    cloud: str
    zone: str
    policy: RecordedResource = field(hash=False)
    direction: Direction
    zones: frozenset[str]
    ports: frozenset[int] | None
    anyone: bool = False
    ranges: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()

    @property
    def wide(self) -> bool:
        """Whether it allows traffic to or from the whole world."""
        return self.anyone or any(is_world(text) for text in self.ranges)

    def ends(self, zone: str) -> tuple[str, str]:
        """The zones (from, to) of traffic with `zone` at the other end."""
        return (zone, self.zone) if self.direction == "ingress" else (self.zone, zone)


class Namespaces:
    """The namespaces of one cloud, by label.

    Each zone of the city has two additional ones, a platform's and a tenant's, because a policy may select them before
    the zone has any namespace.
    """

    def __init__(self, city: City) -> None:
        self._labels: dict[str, Mapping[str, str]] = {}
        self._by_label: dict[tuple[str, str], set[str]] = {}
        self._answers: dict[str, frozenset[str] | None] = {}
        for zone in city.zones:
            labels = {ZONE_LABEL: zone.name, CITY_LABEL: city.name}
            self.add(f"({zone.name})", labels)
            self.add(f"({zone.name}, tenant)", {**labels, TENANT_LABEL: ""})

    def add(self, name: str, labels: Mapping[str, str]) -> None:
        known = {NAMESPACE_LABEL: name, **labels}
        self._labels[name] = known
        for pair in known.items():
            self._by_label.setdefault(pair, set()).add(name)

    def zone(self, name: str) -> str:
        """The zone of a namespace; empty for the platforms' own and for those outside the city."""
        return self._labels.get(name, {}).get(ZONE_LABEL, "")

    def zones(self, selector: Mapping[str, Any]) -> frozenset[str] | None:
        """The zones of the namespaces that `selector` selects; `None` if it selects none of the city's."""
        key = repr(selector)
        if key not in self._answers:
            found = [name for name in self._candidates(selector) if _fits(self._labels[name], selector)]
            zones = frozenset(self.zone(name) for name in found) - {""}
            self._answers[key] = zones if found else None
        return self._answers[key]

    def selects(self, selector: Mapping[str, Any], name: str) -> bool:
        """Whether `selector` selects the namespace of that name.

        An unrecorded namespace has only its name as a label.
        """
        return _fits(self._labels.get(name, {NAMESPACE_LABEL: name}), selector)

    def _candidates(self, selector: Mapping[str, Any]) -> Iterable[str]:
        """The namespaces with the rarest of the requested labels: no others can match."""
        wanted = selector.get("matchLabels") or {}
        if not wanted or UNKNOWN in wanted.values():
            return self._labels
        return min((self._by_label.get(pair, set()) for pair in wanted.items()), key=len)


def _fits(labels: Mapping[str, str], selector: Mapping[str, Any]) -> bool:
    exact = selector.get("matchLabels") or {}
    # A value that is only known during a run may match.
    if any(value not in (labels.get(key), UNKNOWN) for key, value in exact.items()):
        return False
    return all(holds(item, labels) for item in selector.get("matchExpressions") or ())


def holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether labels match one expression of a selector. An unknown operator counts as a match."""
    key, values = expression.get("key", ""), expression.get("values") or ()
    match expression.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case _:
            return True


def namespaces(policy_input: PolicyInput) -> dict[str, Namespaces]:
    """The recorded namespaces, by cloud."""
    found = {cloud.name: Namespaces(policy_input.city) for cloud in policy_input.city.clouds}
    for recording, item in policy_input.objects("Namespace"):
        found[cloud_of(policy_input, recording)].add(name_of(item), labels_of(item))
    return found


def allowances(policy_input: PolicyInput) -> Iterator[Allowance]:
    """The traffic that policies in namespaces of a zone allow, one rule at a time."""
    known = namespaces(policy_input)
    for recording, item in policy_input.objects("NetworkPolicy"):
        cloud = cloud_of(policy_input, recording)
        here = known[cloud]
        zone = here.zone(namespace_of(item))
        if not zone:
            continue
        spec = item.inputs.get("spec") or {}
        for direction, peers_key in _PEERS.items():
            for entry in spec.get(direction) or ():
                peers = entry.get(peers_key) or ()
                yield Allowance(
                    stack=recording.stack,
                    cloud=cloud,
                    zone=zone,
                    policy=item,
                    direction=direction,
                    zones=frozenset().union(*(_zones_of(peer, here) or () for peer in peers)),
                    ports=_ports(entry.get("ports") or ()),
                    anyone=not peers,
                    ranges=tuple(str(peer["ipBlock"].get("cidr", "")) for peer in peers if peer.get("ipBlock")),
                    strangers=tuple(_words(peer) for peer in peers if _zones_of(peer, here) is None),
                )


def _zones_of(peer: Mapping[str, Any], here: Namespaces) -> frozenset[str] | None:
    """The zones of a peer's namespaces; none for the policy's own namespace and for addresses."""
    selector = peer.get("namespaceSelector")
    return here.zones(selector) if isinstance(selector, Mapping) and not is_name_server(peer) else frozenset()


def is_name_server(peer: Mapping[str, Any]) -> bool:
    """Whether the peer is the cluster's DNS, which belongs to no zone and which every pod needs."""
    namespace = (peer.get("namespaceSelector") or {}).get("matchLabels") or {}
    pods = (peer.get("podSelector") or {}).get("matchLabels") or {}
    return namespace.get(NAMESPACE_LABEL) == "kube-system" and pods.get("k8s-app") == "kube-dns"


def _words(peer: Mapping[str, Any]) -> str:
    selector = peer["namespaceSelector"]
    labels = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    return ", ".join([*labels, *(str(item.get("key")) for item in selector.get("matchExpressions") or ())])


def _ports(entries: Iterable[Mapping[str, Any]]) -> frozenset[int] | None:
    """The port numbers; a named port is an unknown number, and an entry without a port means all."""
    found: set[int] = set()
    for entry in entries:
        port, end = entry.get("port"), entry.get("endPort")
        if port is None:
            return None
        if isinstance(port, int):
            found |= set(range(port, end + 1)) if isinstance(end, int) else {port}
        else:
            found.add(UNNUMBERED)
    return frozenset(found) if found else None


def is_world(cidr: str) -> bool:
    """Whether the range is so wide that it means the whole outside world."""
    try:
        network = ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        return False
    return network.prefixlen < WORLD_BITS
