"""Derives the pools of a Cloud document from the nodes of a cluster. Pure; the caller passes the API server's objects.

Nodes are grouped by machine type (their capacity). A pool offers the minimum of its nodes' allocatable resources, so
that nothing is placed that does not fit.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import count, groupby
from typing import Any, cast, get_args

from wecityctl.model.city import Pool
from wecityctl.model.naming import POOL_LABEL, SIMULATED_LABEL
from wecityctl.model.quantity import format_bytes, format_cpu, parse_quantity
from wecityctl.model.vendors import Architecture, vendors

ARCHITECTURE = "kubernetes.io/arch"
INSTANCE_TYPE = "node.kubernetes.io/instance-type"
REGION = "topology.kubernetes.io/region"
ZONE = "topology.kubernetes.io/zone"
# Node labels with the name of the pool: our own and those of vendors.
_POOL_NAMES = (POOL_LABEL, *(vendor.pool_label for vendor in vendors().values() if vendor.pool_label))
_OLD_NAMES = {
    ARCHITECTURE: "beta.kubernetes.io/arch",
    INSTANCE_TYPE: "beta.kubernetes.io/instance-type",
    REGION: "failure-domain.beta.kubernetes.io/region",
    ZONE: "failure-domain.beta.kubernetes.io/zone",
}
# Machines of one type differ by a few MiB that their firmware reserves; types differ by far more.
_TOLERANCE = Decimal("0.03")
_ACCELERATOR = re.compile(r"nvidia|gpu|npu|ascend|dcu|mlu|gcu|xpu|tpu|gaudi|fpga", re.IGNORECASE)
_ARCHITECTURES = get_args(Architecture)
_MEBIBYTE = Decimal(1 << 20)


@dataclass(frozen=True, slots=True)
class FoundPools:
    """`remarks` are notes for the reader, by pool name; `left_out` names nodes with the reason."""

    pools: tuple[Pool, ...]
    region: str
    remarks: Mapping[str, tuple[str, ...]]
    left_out: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Machine:
    """A node's properties for pools. The first line of fields is the same for the whole group."""

    pool: str
    architecture: str
    instance_type: str
    zone: str
    cpus: Decimal
    accelerators: tuple[tuple[str, int], ...]
    memory: Decimal
    storage: Decimal
    name: str
    region: str
    labels: Mapping[str, str]
    offers: tuple[Decimal, Decimal, Decimal]
    ready: bool
    simulated: bool

    @property
    def kind(self) -> tuple[Any, ...]:
        return (self.architecture, self.instance_type, self.zone, self.cpus, self.accelerators, self.pool)


def pools_of(nodes: Iterable[Mapping[str, Any]]) -> FoundPools:
    """The pools that the nodes form, by architecture and size, without nodes that accept no pods."""
    machines, left_out = [], {}
    for node in sorted(nodes, key=lambda item: str(item["metadata"]["name"])):
        reason = _reason_to_leave_out(node)
        if reason:
            left_out[str(node["metadata"]["name"])] = reason
        else:
            machines.append(_machine(node))
    groups = [
        group
        for _, kind in groupby(sorted(machines, key=lambda item: item.kind), key=lambda item: item.kind)
        for group in _split(list(kind))
    ]
    names = _names(groups)
    pools = tuple(_pool(name, group) for name, group in zip(names, groups, strict=True))
    remarks = {name: _remarks(group) for name, group in zip(names, groups, strict=True)}
    regions = {machine.region for machine in machines if machine.region}
    return FoundPools(pools, regions.pop() if len(regions) == 1 else "", remarks, left_out)


def _reason_to_leave_out(node: Mapping[str, Any]) -> str:
    spec, labels = node.get("spec") or {}, _labels(node)
    if _label(labels, ARCHITECTURE) not in _ARCHITECTURES:
        return f"its architecture is {_label(labels, ARCHITECTURE) or 'not known'}"
    if labels.get("kubernetes.io/os", "linux") != "linux":
        return f"it runs {labels['kubernetes.io/os']}"
    if spec.get("unschedulable"):
        return "it is cordoned"
    for taint in spec.get("taints") or ():
        key = str(taint.get("key") or "")
        passing = key.startswith(("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/"))
        if (
            taint.get("effect") != "PreferNoSchedule"
            and not passing
            and key != SIMULATED_LABEL
            and not _accelerates(key)
        ):
            return f"it has the taint {key}"
    return ""


def _machine(node: Mapping[str, Any]) -> _Machine:
    labels, status = _labels(node), node.get("status") or {}
    capacity, allocatable = status.get("capacity") or {}, status.get("allocatable") or status.get("capacity") or {}
    ready = any(item.get("type") == "Ready" and item.get("status") == "True" for item in status.get("conditions") or ())
    amounts = ("cpu", "memory", "ephemeral-storage")
    cpus, memory, storage = (_amount(capacity, name) for name in amounts)
    return _Machine(
        pool=next((labels[name] for name in _POOL_NAMES if labels.get(name)), ""),
        architecture=_label(labels, ARCHITECTURE),
        instance_type=_label(labels, INSTANCE_TYPE),
        zone=_label(labels, ZONE),
        cpus=cpus,
        accelerators=_accelerators(allocatable),
        memory=memory,
        storage=storage,
        name=str(node["metadata"]["name"]),
        region=_label(labels, REGION),
        # Labels without a prefix are the user's; others belong to the cluster or the vendor.
        labels={key: value for key, value in labels.items() if "/" not in key},
        offers=(_amount(allocatable, "cpu"), _amount(allocatable, "memory"), _amount(allocatable, "ephemeral-storage")),
        ready=ready,
        simulated=labels.get(SIMULATED_LABEL) == "true",
    )


def _labels(node: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in (node["metadata"].get("labels") or {}).items()}


def _label(labels: Mapping[str, str], name: str) -> str:
    return labels.get(name) or labels.get(_OLD_NAMES[name], "")


def _amount(amounts: Mapping[str, Any], name: str) -> Decimal:
    try:
        return parse_quantity(str(amounts.get(name, "0")))
    except ValueError:
        return Decimal(0)


def _accelerates(name: str) -> bool:
    return bool(_ACCELERATOR.search(name))


def _accelerators(amounts: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    """Extended resources of accelerators, without addresses and interfaces of the vendor's network."""
    found = {}
    for name in amounts:
        prefix, slash, _ = name.partition("/")
        if slash and not prefix.endswith("kubernetes.io") and _accelerates(name):
            found[name] = int(_amount(amounts, name))
    return tuple(sorted((name, count) for name, count in found.items() if count))


def _split(machines: list[_Machine]) -> list[list[_Machine]]:
    """Split machines of one type by memory and disk; nearly equal sizes stay together."""
    groups: list[list[_Machine]] = []
    for machine in sorted(machines, key=lambda item: (item.memory, item.storage, item.name)):
        for group in groups:
            if _near(group[0].memory, machine.memory) and _near(group[0].storage, machine.storage):
                group.append(machine)
                break
        else:
            groups.append([machine])
    return groups


def _near(one: Decimal, other: Decimal) -> bool:
    return abs(one - other) <= _TOLERANCE * max(one, other)


def _pool(name: str, group: list[_Machine]) -> Pool:
    first = group[0]
    shared = dict(set.intersection(*(set(machine.labels.items()) for machine in group)))
    labels = {key: shared[key] for key in sorted(shared)}
    if first.zone:
        labels[ZONE] = first.zone
    cpu, memory, storage = (min(amounts) for amounts in zip(*(machine.offers for machine in group), strict=True))
    return Pool(
        name=name,
        architecture=cast(Architecture, first.architecture),
        nodes=len(group),
        cpu=format_cpu(cpu.quantize(Decimal("0.001"), rounding="ROUND_FLOOR")),
        memory=format_bytes(memory // _MEBIBYTE * _MEBIBYTE),
        # A pool must have storage; a remark says that the nodes report none.
        storage=format_bytes(max(storage // _MEBIBYTE * _MEBIBYTE, _MEBIBYTE)),
        labels=labels,
        accelerators=dict(first.accelerators),
        # Loongson is a domestic architecture. For the others, no label tells.
        domestic=first.architecture == "loong64",
        instance_types=(first.instance_type,) if first.instance_type else (),
    )


def _remarks(group: list[_Machine]) -> tuple[str, ...]:
    found = []
    away = sum(not machine.ready for machine in group)
    if away:
        found.append(f"{away} of {len(group)} not ready when this was read")
    if any(machine.simulated for machine in group):
        found.append("simulated nodes: their pods run nowhere but in the books")
    if not all(machine.offers[2] for machine in group):
        found.append("the nodes report no ephemeral-storage: fill in what they have")
    return tuple(found)


def _names(groups: list[list[_Machine]]) -> list[str]:
    """Unique pool names: the vendor's from the nodes' labels, otherwise derived from the machines."""
    wanted = [_name(group[0]) for group in groups]
    counts = Counter(wanted)
    names: list[str] = []
    for name, group in zip(wanted, groups, strict=True):
        zone = group[0].zone
        base = _word(f"{name}-{zone}") if counts[name] > 1 and zone else name
        numbered = (f"{base[:36]}-{number}" for number in count(2))
        names.append(base if base not in names else next(name for name in numbered if name not in names))
    return names


def _name(machine: _Machine) -> str:
    if machine.pool and _word(machine.pool):
        return _word(machine.pool)
    memory = (machine.memory / (1 << 30)).quantize(Decimal(1), rounding="ROUND_HALF_UP")
    size = f"{machine.architecture}-{format_cpu(machine.cpus)}c-{memory}g"
    devices = "-".join(f"{count}-{name.rpartition('/')[2]}" for name, count in machine.accelerators)
    return _word(f"{size}-{devices}" if devices else size)


def _word(text: str) -> str:
    return re.sub(r"-+", "-", re.sub(r"[^a-z0-9]", "-", text.lower()))[:40].strip("-")
