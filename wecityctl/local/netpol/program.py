"""The compiled form of all policies: sets, chains and two maps from a pod's address to its chain. Values only.

`compile` makes it, `render` writes it as nft text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wecityctl.local.netpol.model import Protocol, Range


@dataclass(frozen=True, slots=True)
class Clause:
    """One way of being allowed; all conditions that are given must hold.

    peers    name of a set of addresses (in `Program.hosts` or `Program.blocks`) that the other end must be in.
    protocol and, of it, `ports` (ranges of the destination's port) or `named`: a set of (destination, port).
    """

    peers: str = ""
    protocol: Protocol | None = None
    ports: tuple[Range, ...] = ()
    named: str = ""


@dataclass(frozen=True, slots=True)
class Chain:
    """What one policy allows in one direction."""

    comment: str
    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class Direction:
    """Pods that are isolated in this direction → the group of policies that applies to them → the policies' chains."""

    pods: Mapping[int, str]
    groups: Mapping[str, tuple[str, ...]]
    chains: Mapping[str, Chain]


@dataclass(frozen=True, slots=True)
class Program:
    """The whole ruleset. `known` are the addresses that may send and receive at all."""

    pod_cidr: str
    known: tuple[int, ...]
    hosts: Mapping[str, tuple[int, ...]]
    blocks: Mapping[str, tuple[Range, ...]]
    named: Mapping[str, tuple[tuple[int, int], ...]]
    ingress: Direction
    egress: Direction
