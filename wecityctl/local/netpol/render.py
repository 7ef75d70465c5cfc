"""Renders a program as nft text: one table, replaced in one transaction.

Policies are evaluated for every packet of a connection in both directions, by the connection's real ends: the source of
the original tuple, and the source address and port of the reply tuple. Those are the ends after translation of Service
addresses and before masquerading. Therefore removing a rule ends its connections, a reload does not interrupt allowed
ones, and replies need no rule. Traffic between pods and the node itself depends on who connects: connections of the
node, such as probes, are allowed, and those of a pod need an egress policy with the node's address.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address

from wecityctl.local.netpol.compile import compile_state
from wecityctl.local.netpol.model import Range, State
from wecityctl.local.netpol.program import Chain, Clause, Direction, Program

TABLE = "wecity-netpol"
_SOURCE = "ct original ip saddr"
_DESTINATION = "ct reply ip saddr"
_PORT = "ct reply proto-src"
_COMMENT_LIMIT = 120  # of 128 in the kernel's user data


def render(state: State) -> str:
    """The nft script that replaces all rules by those for `state`."""
    return write(compile_state(state))


def cleanup() -> str:
    """The nft script that removes the table if it exists."""
    return f"table inet {TABLE}\ndelete table inet {TABLE}\n"


def write(program: Program) -> str:
    """The nft script for a compiled program."""
    return "\n".join((cleanup() + f"table inet {TABLE} {{", *_body(program), "}", ""))


def _body(program: Program) -> Iterator[str]:
    yield _set("known", "ipv4_addr", (_ip(each) for each in program.known))
    # A pod may always reach itself, also through a Service.
    yield _set("itself", "ipv4_addr . ipv4_addr", (f"{_ip(each)} . {_ip(each)}" for each in program.known))
    for name, hosts in sorted(program.hosts.items()):
        yield _set(name, "ipv4_addr", map(_ip, hosts))
    for name, blocks in sorted(program.blocks.items()):
        yield _set(name, "ipv4_addr", (f"{_ip(first)}-{_ip(last)}" for first, last in blocks), interval=True)
    for name, named in sorted(program.named.items()):
        yield _set(name, "ipv4_addr . inet_service", (f"{_ip(address)} . {port}" for address, port in named))
    yield from _known_chain(program.pod_cidr)
    yield from _direction("egress", _SOURCE, _DESTINATION, program.egress)
    yield from _direction("ingress", _DESTINATION, _SOURCE, program.ingress)
    yield from _node_chain(program.pod_cidr)


def _known_chain(pod_cidr: str) -> Iterator[str]:
    yield "chain known {"
    yield "type filter hook forward priority -1; policy accept;"
    yield "meta nfproto ipv6 drop"
    yield f"ip saddr {pod_cidr} ip saddr != @known drop"
    yield f"ip daddr {pod_cidr} ip daddr != @known drop"
    # The ends of such packets cannot be determined.
    yield "ct state invalid,untracked drop"
    yield "}"


def _node_chain(pod_cidr: str) -> Iterator[str]:
    """Yield the chain for traffic from pods to the node's own programs.

    It is stricter than NetworkPolicy: a pod that no policy isolates cannot reach them.
    """
    yield "chain node {"
    yield "type filter hook input priority 0; policy accept;"
    yield 'iifname "lo" accept'
    # Traffic that does not come from pods is handled by the base filter.
    yield f"ip saddr != {pod_cidr} accept"
    yield "ct state established,related ct direction reply accept"
    yield "ct state invalid,untracked drop"
    yield f"{_SOURCE} vmap @egress-pods"
    yield "drop"
    yield "}"


def _direction(name: str, subject: str, peer: str, direction: Direction) -> Iterator[str]:
    """Yield a base chain per direction, because an accepted packet then continues to that of the other direction."""
    for chain, content in sorted(direction.chains.items()):
        yield from _policy_chain(chain, peer, content)
    for group, chains in sorted(direction.groups.items()):
        yield f"chain {group} {{"
        yield from (f"jump {chain}" for chain in chains)
        yield "drop"
        yield "}"
    verdicts = (f"{_ip(address)} : goto {group}" for address, group in sorted(direction.pods.items()))
    yield _set(f"{name}-pods", "ipv4_addr : verdict", verdicts, kind="map")
    yield f"chain {name} {{"
    yield f"type filter hook forward priority {0 if name == 'egress' else 1}; policy accept;"
    yield f"{_SOURCE} . {_DESTINATION} @itself accept"
    yield f"{subject} vmap @{name}-pods"
    yield "}"


def _policy_chain(name: str, peer: str, chain: Chain) -> Iterator[str]:
    yield f"chain {name} {{"
    yield f'comment "{chain.comment[:_COMMENT_LIMIT]}"'
    yield from (_clause(peer, clause) for clause in chain.clauses)
    yield "}"


def _clause(peer: str, clause: Clause) -> str:
    words = [f"{peer} @{clause.peers}"] if clause.peers else []
    if clause.protocol:
        words.append(f"meta l4proto {clause.protocol}")
    if clause.ports:
        words.append(f"{_PORT} {{ {', '.join(map(_port_range, clause.ports))} }}")
    if clause.named:
        words.append(f"{_DESTINATION} . {_PORT} @{clause.named}")
    return " ".join((*words, "accept"))


def _port_range(ports: Range) -> str:
    first, last = ports
    return str(first) if first == last else f"{first}-{last}"


def _set(name: str, of: str, elements: Iterable[str], *, kind: str = "set", interval: bool = False) -> str:
    flags = " flags interval;" if interval else ""
    members = ", ".join(elements)
    content = f" elements = {{ {members} }}" if members else ""
    return f"{kind} {name} {{ type {of};{flags}{content} }}"


def _ip(address: int) -> str:
    return str(IPv4Address(address))
