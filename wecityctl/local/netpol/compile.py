"""Compiles the cluster's state into a program: the semantics of networking.k8s.io/v1 for the current pod addresses.

Pure and deterministic. Names of sets and chains are digests of their content, so equal sets are created once and equal
states give equal text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from wecityctl.local.netpol.model import Peer, Pod, Policy, Port, Range, Rule, Selector, State
from wecityctl.local.netpol.placing import Placement, place
from wecityctl.local.netpol.program import Chain, Clause, Direction, Program
from wecityctl.local.netpol.ranges import merge

_EVERYWHERE = ((0, 2**32 - 1),)


def compile_state(state: State, placement: Placement | None = None) -> Program:
    """The program for `state`. `placement` avoids computing it again."""
    return _Compiler(state, placement or place(state)).program()


class _Compiler:
    """Caches look-ups within one compilation, because policies repeat each other's selectors."""

    def __init__(self, state: State, placement: Placement) -> None:
        self._state = state
        self._placement = placement
        self._hosts: dict[str, tuple[int, ...]] = {}
        self._blocks: dict[str, tuple[Range, ...]] = {}
        self._named: dict[str, tuple[tuple[int, int], ...]] = {}
        self._found: dict[tuple[str | None, Selector, Selector | None], tuple[int, ...]] = {}
        self._sets: dict[frozenset[int], str] = {}
        self._by_namespace: dict[str, list[tuple[int, Pod]]] = {}
        for address, pod in sorted(placement.everywhere.items()):
            self._by_namespace.setdefault(pod.namespace, []).append((address, pod))
        self._ports = _container_ports(placement.everywhere)

    def program(self) -> Program:
        ingress, egress = self._direction("ingress"), self._direction("egress")
        return Program(
            pod_cidr=self._state.pod_cidr,
            known=tuple(sorted(self._placement.local)),
            hosts=self._hosts,
            blocks=self._blocks,
            named=self._named,
            ingress=ingress,
            egress=egress,
        )

    def _direction(self, name: Literal["ingress", "egress"]) -> Direction:
        chains: dict[str, Chain] = {}
        selecting: dict[int, list[str]] = {}
        for _, policy in sorted(self._state.policies.items()):
            rules = policy.ingress if name == "ingress" else policy.egress
            if rules is None:
                continue
            selected = [a for a in self._select(policy.namespace, policy.selector) if a in self._placement.local]
            if not selected:
                continue
            chain = _named(f"{name}-", f"{policy.namespace}/{policy.name}")
            chains[chain] = Chain(f"{policy.namespace}/{policy.name}", self._clauses(policy, rules))
            for address in selected:
                selecting.setdefault(address, []).append(chain)
        groups: dict[str, tuple[str, ...]] = {}
        pods: dict[int, str] = {}
        names: dict[tuple[str, ...], str] = {}
        for address, found in sorted(selecting.items()):
            members = tuple(found)
            group = names.get(members)
            if group is None:
                group = names[members] = _named(f"{name}-of-", " ".join(members))
                groups[group] = members
            pods[address] = group
        return Direction(pods, groups, chains)

    def _clauses(self, policy: Policy, rules: Iterable[Rule]) -> tuple[Clause, ...]:
        clauses: dict[Clause, None] = {}
        for rule in rules:
            ports = list(self._port_clauses(rule.ports))
            for peers in self._peer_sets(policy.namespace, rule.peers):
                for port in ports:
                    clauses[Clause(peers, port.protocol, port.ports, port.named)] = None
        return tuple(clauses)

    def _peer_sets(self, namespace: str, peers: tuple[Peer, ...] | None) -> Iterator[str]:
        """Yield names of sets, "" for no restriction. Yields nothing if the peers match no address."""
        if peers is None:
            yield ""
            return
        hosts: set[int] = set()
        ranges: list[Range] = []
        for peer in peers:
            if peer.ranges is None:
                hosts.update(self._select(namespace, peer.pods, peer.namespaces))
            else:
                ranges += peer.ranges
        block = merge(ranges)
        if block == _EVERYWHERE:
            yield ""
            return
        if hosts:
            yield self._host_set(frozenset(hosts))
        if block:
            name = _named("blocks-", repr(block))
            self._blocks[name] = block
            yield name

    def _select(self, namespace: str, pods: Selector, namespaces: Selector | None = None) -> tuple[int, ...]:
        """Addresses of the selected pods in this namespace or, with `namespaces`, in the selected namespaces."""
        key = (namespace if namespaces is None else None, pods, namespaces)
        found = self._found.get(key)
        if found is None:
            among = [namespace] if namespaces is None else self._namespaces(namespaces)
            members = (each for name in among for each in self._by_namespace.get(name, ()))
            found = self._found[key] = tuple(address for address, pod in members if pods.matches(pod.labels))
        return found

    def _namespaces(self, selector: Selector) -> list[str]:
        return [name for name, labels in self._state.namespaces.items() if selector.matches(labels)]

    def _host_set(self, hosts: frozenset[int]) -> str:
        name = self._sets.get(hosts)
        if name is None:
            members = tuple(sorted(hosts))
            name = self._sets[hosts] = _named("hosts-", repr(members))
            self._hosts[name] = members
        return name

    def _port_clauses(self, ports: tuple[Port, ...] | None) -> Iterator[Clause]:
        """Yield clauses without peers: one per protocol for all its port numbers, one per port name."""
        if ports is None:
            yield Clause()
            return
        whole = {port.protocol for port in ports if port.numbers is None and not port.name}
        numbers: dict[str, list[Range]] = {}
        for port in ports:
            if port.protocol in whole:
                continue
            if port.numbers is not None:
                numbers.setdefault(port.protocol, []).append(port.numbers)
            elif members := self._ports.get((port.protocol, port.name)):
                name = _named("ports-", f"{port.protocol} {port.name}")
                self._named[name] = members
                yield Clause(protocol=port.protocol, named=name)
        for port in ports:
            if port.protocol in whole:
                whole.discard(port.protocol)
                yield Clause(protocol=port.protocol)
            elif port.protocol in numbers:
                yield Clause(protocol=port.protocol, ports=merge(numbers.pop(port.protocol)))


def _container_ports(pods: Mapping[int, Pod]) -> dict[tuple[str, str], tuple[tuple[int, int], ...]]:
    """Map (protocol, name) to (address, number) for all pods that name a port of theirs."""
    found: dict[tuple[str, str], set[tuple[int, int]]] = {}
    for address, pod in pods.items():
        for port in pod.ports:
            found.setdefault((port.protocol, port.name), set()).add((address, port.number))
    return {key: tuple(sorted(members)) for key, members in found.items()}


def _named(prefix: str, content: str) -> str:
    digest = hashlib.blake2b(content.encode(), digest_size=8).hexdigest()
    return prefix + digest
