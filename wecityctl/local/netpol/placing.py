"""Determines which pod has which address: from the CNI plug-in's records on this node, from the status for others.

An address without a certain owner is unknown to the rules, and its traffic is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network

from wecityctl.local.netpol.model import Pod, State


@dataclass(frozen=True, slots=True)
class Placement:
    """`local`: pods by address in the pod CIDR; `everywhere`: these and others; `containers`: sandboxes with
    addresses.
    """

    local: Mapping[int, Pod]
    everywhere: Mapping[int, Pod]
    containers: frozenset[str]


def place(state: State) -> Placement:
    """Compute the placement. Pure. A finished pod has no address, whatever its status says."""
    network = IPv4Network(state.pod_cidr)
    first, last = int(network.network_address), int(network.broadcast_address)
    claims: dict[int, list[Pod]] = {}
    for pod in state.pods.values():
        if not pod.finished:
            for address in pod.addresses:
                claims.setdefault(address, []).append(pod)
    by_status = {address: one for address, pods in claims.items() if (one := _one(pods)) is not None}
    remote = {address: pod for address, pod in by_status.items() if not first <= address <= last}
    if state.records is None:
        local = {address: pod for address, pod in by_status.items() if first <= address <= last}
        return Placement(local, {**remote, **local}, frozenset())
    owners: dict[int, tuple[str, Pod]] = {}
    for record in sorted(state.records, key=lambda each: (each.written, each.container)):
        owner = state.pods.get((record.namespace, record.name))
        fits = owner is not None and not owner.finished and record.uid in ("", owner.uid)
        for address in record.addresses:
            # A later record takes over the address, even if its own pod is not known yet.
            owners.pop(address, None)
            if fits and owner is not None and first <= address <= last:
                owners[address] = (record.container, owner)
    local = {address: pod for address, (_, pod) in owners.items()}
    return Placement(local, {**remote, **local}, frozenset(container for container, _ in owners.values()))


def _one(pods: list[Pod]) -> Pod | None:
    """The owner of an address that several pods show, which happens briefly while one of them terminates."""
    staying = [pod for pod in pods if not pod.leaving] if len(pods) > 1 else pods
    return staying[0] if len(staying) == 1 else None
