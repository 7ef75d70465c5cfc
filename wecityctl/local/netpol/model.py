"""The cluster as the agent sees it, as values: namespaces, pods, policies, and the addresses of pods.

`parse` creates these values; `compile` interprets them. Addresses are IPv4 as integers, so that ranges can be compared
and merged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Protocol = Literal["tcp", "udp", "sctp"]
Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]
Labels = Mapping[str, str]
Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Requirement:
    """A condition on labels, with the semantics of apimachinery's `labels.Requirement`."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Labels) -> bool:
        """Whether the labels meet the condition. `NotIn` holds for a missing label, `In` does not."""
        if self.operator == "In":
            return labels.get(self.key) in self.values
        if self.operator == "NotIn":
            return labels.get(self.key) not in self.values
        return (self.key in labels) == (self.operator == "Exists")


@dataclass(frozen=True, slots=True)
class Selector:
    """A label selector. Without requirements it selects everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Labels) -> bool:
        """Whether the labels meet all requirements."""
        return all(requirement.matches(labels) for requirement in self.requirements)


@dataclass(frozen=True, slots=True)
class Peer:
    """An element of `from` or `to`: pods by selectors, or `ranges` of addresses (an ipBlock without its exceptions).

    `namespaces` is `None` for the policy's own namespace.
    """

    pods: Selector = Selector()
    namespaces: Selector | None = None
    ranges: tuple[Range, ...] | None = None


@dataclass(frozen=True, slots=True)
class Port:
    """An element of `ports`: a whole protocol (no `numbers` and no `name`), a range, or the name of a container
    port.
    """

    protocol: Protocol
    numbers: Range | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """An ingress or egress rule. `None` means no restriction."""

    peers: tuple[Peer, ...] | None = None
    ports: tuple[Port, ...] | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """A NetworkPolicy. `None` for a direction: not isolated by this policy. Empty: isolated, with nothing allowed."""

    namespace: str
    name: str
    selector: Selector
    ingress: tuple[Rule, ...] | None
    egress: tuple[Rule, ...] | None


@dataclass(frozen=True, slots=True)
class ContainerPort:
    """A named port of a container."""

    name: str
    protocol: Protocol
    number: int


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod with its own network. `addresses` come from its status, which is updated after the network is set up."""

    namespace: str
    name: str
    uid: str
    labels: Labels
    ports: tuple[ContainerPort, ...] = ()
    addresses: tuple[int, ...] = ()
    finished: bool = False
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """What the CNI plug-in wrote when a pod's sandbox got its addresses."""

    container: str
    namespace: str
    name: str
    uid: str
    addresses: tuple[int, ...]
    written: int = 0


Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class State:
    """All input of the rules. If no CNI plug-in writes records, `records` is `None` and the pods' status is used."""

    pod_cidr: str
    namespaces: Mapping[str, Labels] = field(default_factory=dict)
    pods: Mapping[Key, Pod] = field(default_factory=dict)
    policies: Mapping[Key, Policy] = field(default_factory=dict)
    records: tuple[Record, ...] | None = None
