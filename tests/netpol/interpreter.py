"""Reads the agent's nft text and plays one connection through it, as the kernel would. Knows nothing of policies.

Understands exactly the statements the agent writes; anything else is an error, so that nothing is passed over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

_SET = re.compile(r"(set|map) (\S+) \{ type ([^;]+);( flags interval;)?(?: elements = \{ (.*) \})? \}")
_HOOK = re.compile(r"type filter hook (forward|input) priority (-?\d+); policy accept;")


@dataclass(frozen=True)
class Packet:
    """The first packet of a connection: address texts, `tcp`/`udp`/`sctp`/`icmp`, and the destination's port."""

    source: str
    destination: str
    protocol: str
    port: int


@dataclass
class Ruleset:
    """A parsed script."""

    sets: dict[str, set[str]] = field(default_factory=dict)
    intervals: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    maps: dict[str, dict[str, str]] = field(default_factory=dict)
    chains: dict[str, list[str]] = field(default_factory=dict)
    hooks: dict[str, tuple[str, int]] = field(default_factory=dict)

    def allows(self, packet: Packet, *, hook: str = "forward") -> bool:
        """Whether no base chain drops it; `hook` is `input` for a packet to the node itself."""
        chains = sorted((priority, chain) for chain, (where, priority) in self.hooks.items() if where == hook)
        return all(self._run(chain, packet) != "drop" for _, chain in chains)

    def _run(self, chain: str, packet: Packet) -> str:
        for rule in self.chains[chain]:
            verdict = self._rule(rule, packet)
            if verdict.startswith(("jump ", "goto ")):
                how, target = verdict.split()
                verdict = self._run(target, packet)
                if verdict == "return" and how == "jump":
                    continue
                return "accept" if verdict == "return" and chain in self.hooks else verdict
            if verdict != "continue":
                return verdict
        return "accept" if chain in self.hooks else "return"

    def _rule(self, rule: str, packet: Packet) -> str:
        rest = rule
        values = {
            "ct original ip saddr . ct reply ip saddr": f"{packet.source} . {packet.destination}",
            "ct reply ip saddr . ct reply proto-src": f"{packet.destination} . {packet.port}",
            "ct original ip saddr": packet.source,
            "ct reply ip saddr": packet.destination,
            "ip saddr": packet.source,
            "ip daddr": packet.destination,
            "ct reply proto-src": str(packet.port),
            "meta l4proto": packet.protocol,
            "meta nfproto": "ipv4",
            "ct state": "new",
            "ct direction": "original",
            "iifname": "a pod's",
        }
        while rest:
            if rest in ("accept", "drop") or re.fullmatch(r"(jump|goto) \S+", rest):
                return rest
            name = next((each for each in values if rest.startswith(each + " ")), None)
            if name is None:
                raise ValueError(f"not understood: {rest!r} in {rule!r}")
            rest = rest[len(name) + 1 :]
            if rest.startswith("vmap @"):
                return self.maps[rest.removeprefix("vmap @")].get(values[name], "continue")
            holds, rest = self._compare(values[name], rest)
            if not holds:
                return "continue"
        raise ValueError(f"no verdict in {rule!r}")

    def _compare(self, value: str, rest: str) -> tuple[bool, str]:
        negated = rest.startswith("!= ")
        rest = rest.removeprefix("!= ")
        if rest.startswith("{ "):
            members, _, rest = rest[2:].partition(" } ")
            holds = any(_in_range(int(value), each) for each in members.split(", "))
        else:
            operand, _, rest = rest.partition(" ")
            if operand.startswith("@"):
                holds = self._contains(operand[1:], value)
            elif "/" in operand:
                holds = IPv4Address(value) in IPv4Network(operand)
            else:
                holds = value in operand.split(",")
        return holds != negated, rest

    def _contains(self, name: str, value: str) -> bool:
        if name in self.intervals:
            return any(first <= int(IPv4Address(value)) <= last for first, last in self.intervals[name])
        return value in self.sets[name]


def read(script: str) -> Ruleset:
    """Parse a whole script: the table is removed first, then made."""
    lines = [line.strip() for line in script.strip().splitlines()]
    assert lines[:3] == [
        "table inet wecity-netpol",
        "delete table inet wecity-netpol",
        "table inet wecity-netpol {",
    ], lines[:3]
    assert lines[-1] == "}"
    found, chain = Ruleset(), ""
    for line in lines[3:-1]:
        if chain:
            if line == "}":
                chain = ""
            elif hook := _HOOK.fullmatch(line):
                found.hooks[chain] = (hook.group(1), int(hook.group(2)))
            elif not line.startswith("comment "):
                found.chains[chain].append(line)
        elif line.startswith("chain "):
            chain = line.split()[1]
            assert chain not in found.chains
            found.chains[chain] = []
        else:
            _read_set(found, line)
    return found


def _read_set(found: Ruleset, line: str) -> None:
    match = _SET.fullmatch(line)
    if match is None:
        raise ValueError(f"not understood: {line!r}")
    kind, name, _, interval, text = match.groups()
    elements = text.split(", ") if text else []
    assert len(elements) == len(set(elements)), f"an element twice in {name}"
    if kind == "map":
        found.maps[name] = dict(each.split(" : ") for each in elements)
    elif interval:
        pairs = [tuple(int(IPv4Address(end)) for end in each.split("-")) for each in elements]
        found.intervals[name] = [(first, last) for first, last in pairs]
    else:
        found.sets[name] = set(elements)


def _in_range(value: int, text: str) -> bool:
    first, _, last = text.partition("-")
    return int(first) <= value <= int(last or first)
