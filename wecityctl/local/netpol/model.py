"""What the agent knows of the cluster, as small values: namespaces, pods, policies, and which pod has which address.

Parsing is `parse`'s, meaning is `compile`'s. Addresses are IPv4, as integers, because ranges are compared and merged.
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
    """One condition on labels, with the meaning of apimachinery's `labels.Requirement`."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Labels) -> bool:
        """`NotIn` holds for an absent label, `In` does not."""
        if self.operator == "In":
            return labels.get(self.key) in self.values
        if self.operator == "NotIn":
            return labels.get(self.key) not in self.values
        return (self.key in labels) == (self.operator == "Exists")


@dataclass(frozen=True, slots=True)
class Selector:
    """A label selector; without requirements it selects everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Labels) -> bool:
        """Whether every requirement holds."""
        return all(requirement.matches(labels) for requirement in self.requirements)


@dataclass(frozen=True, slots=True)
class Peer:
    """One element of `from` or `to`: either pods by selectors, or `ranges` of addresses (an ipBlock less its excepts).

    `namespaces` None means the policy's own namespace.
    """

    pods: Selector = Selector()
    namespaces: Selector | None = None
    ranges: tuple[Range, ...] | None = None


@dataclass(frozen=True, slots=True)
class Port:
    """One element of `ports`: a whole protocol (`numbers` None, no name), a range, or a container port's name."""

    protocol: Protocol
    numbers: Range | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """An ingress or egress rule. None means no restriction."""

    peers: tuple[Peer, ...] | None = None
    ports: tuple[Port, ...] | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """A NetworkPolicy. A direction that is None is not isolated by it; an empty one is isolated and allows nothing."""

    namespace: str
    name: str
    selector: Selector
    ingress: tuple[Rule, ...] | None
    egress: tuple[Rule, ...] | None


@dataclass(frozen=True, slots=True)
class ContainerPort:
    """A named port of a pod's container."""

    name: str
    protocol: Protocol
    number: int


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod with a network of its own. `addresses` are its status's, which comes later than the network itself."""

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
    """What the CNI plug-in wrote when it gave a pod's sandbox its addresses."""

    container: str
    namespace: str
    name: str
    uid: str
    addresses: tuple[int, ...]
    written: int = 0


Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class State:
    """Everything the rules depend on. `records` None means that no CNI plug-in writes any: the pods' status counts."""

    pod_cidr: str
    namespaces: Mapping[str, Labels] = field(default_factory=dict)
    pods: Mapping[Key, Pod] = field(default_factory=dict)
    policies: Mapping[Key, Policy] = field(default_factory=dict)
    records: tuple[Record, ...] | None = None
