"""The compiled form of all policies: sets, chains, and a map from pod address to chain for each direction.

Values only. `compile` creates it; `render` writes it as nft text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wecityctl.local.netpol.model import Protocol, Range


@dataclass(frozen=True, slots=True)
class Clause:
    """One alternative for allowing traffic. All given conditions must hold.

    peers     name of an address set (in `Program.hosts` or `Program.blocks`) that the other end must be in.
    protocol  with `ports` (ranges of the destination port) or `named` (name of a set of (destination, port)).
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
    """Rules of one direction: isolated pods and their group of policies, the groups' chains, and the chains."""

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
