"""Creates Node objects for a city's pools, and synchronises the API server with them.

`declared` is a pure function of the spec, `plan` compares, and only `synchronise` accesses the API server.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from wecityctl.local.api import Api
from wecityctl.local.spec import CloudSpec, PoolSpec
from wecityctl.model.naming import POOL_LABEL, SIMULATED_LABEL, ZONE_LABEL
from wecityctl.model.quantity import parse_quantity

Node = dict[str, Any]

TOPOLOGY_ZONE = "topology.kubernetes.io/zone"
SELECTOR = f"{SIMULATED_LABEL}=true"
# An annotation with the labels that came from the pool, so that only these are removed when the pool drops them.
_POOL_LABELS = "wecity.dev/pool-labels"
_TAINT = {"key": SIMULATED_LABEL, "value": "true", "effect": "NoSchedule"}
# A kubelet's default. With more, a plan could fit on simulated nodes and fail on real ones.
_PODS_PER_NODE = "110"
_NODES = "/api/v1/nodes"
_CONDITIONS = (
    ("Ready", "True", "KubeletReady"),
    ("MemoryPressure", "False", "KubeletHasSufficientMemory"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID"),
    ("NetworkUnavailable", "False", "RouteCreated"),
)
_FIRST_ADDRESS = ipaddress.IPv4Address("10.64.0.1")


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes needed to get the declared nodes. `patched` maps names to (metadata and spec, status)."""

    created: tuple[Node, ...]
    patched: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]
    deleted: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.created or self.patched or self.deleted)


def declared(spec: CloudSpec, kubernetes_version: str) -> tuple[Node, ...]:
    """The nodes of all pools, in order; none for a cloud with a real node."""
    if not spec.simulated:
        return ()
    return tuple(_nodes(spec, kubernetes_version))


def plan(wanted: Iterable[Node], live: Iterable[Node]) -> Plan:
    """Compare the declared nodes with the existing simulated ones."""
    existing = {node["metadata"]["name"]: node for node in live}
    created: list[Node] = []
    patched: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}
    names: set[str] = set()
    for node in wanted:
        name = node["metadata"]["name"]
        names.add(name)
        if name not in existing:
            created.append(node)
            continue
        main, status = _main_patch(node, existing[name]), _status_patch(node, existing[name])
        if main or status:
            patched[name] = (main, status)
    _give_addresses(created, existing.values())
    return Plan(tuple(created), patched, tuple(sorted(set(existing) - names)))


def synchronise(api: Api, spec: CloudSpec, kubernetes_version: str) -> Plan:
    """Make the simulated nodes in the API server equal to the declared ones; returns the changes made."""
    live = api.get(_NODES, labelSelector=SELECTOR)["items"]
    todo = plan(declared(spec, kubernetes_version), live)
    if todo:
        with ThreadPoolExecutor(8) as pool:
            futures = [pool.submit(api.create, _NODES, _born_ready(node)) for node in todo.created]
            futures += [pool.submit(_patch, api, name, *patches) for name, patches in todo.patched.items()]
            deletions = [pool.submit(api.delete, f"{_NODES}/{name}") for name in todo.deleted]
            for future in futures:
                future.result()
            for deletion in deletions:
                deletion.result()
    return todo


def _born_ready(node: Node) -> Node:
    """`node` with the conditions of a ready node, as kwok would set them, which saves one request per node."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    times = {"lastHeartbeatTime": now, "lastTransitionTime": now}
    conditions = [{"type": kind, "status": status, "reason": reason, **times} for kind, status, reason in _CONDITIONS]
    return {**node, "status": {**node["status"], "conditions": conditions}}


def _give_addresses(created: Iterable[Node], existing: Iterable[Node]) -> None:
    """Give new nodes unused addresses: a pool that grew between others may conflict with existing nodes."""
    used = {each["address"] for node in existing for each in node["status"].get("addresses") or []}
    for node in created:
        own = node["status"]["addresses"][0]
        while own["address"] in used:
            own["address"] = str(ipaddress.IPv4Address(own["address"]) + 1)
        used.add(own["address"])


def _patch(api: Api, name: str, main: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    if main:
        answer = api.patch(f"{_NODES}/{name}", main)
    if status:
        answer = api.patch(f"{_NODES}/{name}/status", {"status": status})
    return answer


def _nodes(spec: CloudSpec, version: str) -> Iterator[Node]:
    count = 0
    for pool in spec.pools:
        zones = pool.zones or spec.zones
        for index in range(pool.nodes):
            yield _node(pool, index, zones[index % len(zones)] if zones else "", str(_FIRST_ADDRESS + count), version)
            count += 1


def _node(pool: PoolSpec, index: int, zone: str, address: str, version: str) -> Node:
    name = f"{pool.name}-{index}"
    capacity = {
        "cpu": pool.cpu,
        "memory": pool.memory,
        "ephemeral-storage": pool.storage,
        "pods": _PODS_PER_NODE,
        **{resource: str(count) for resource, count in pool.accelerators.items()},
    }
    info = {
        "architecture": pool.architecture,
        "operatingSystem": "linux",
        "osImage": "simulated",
        "kernelVersion": "simulated",
        "containerRuntimeVersion": "simulated://1",
        "kubeletVersion": version,
        "kubeProxyVersion": "",
        "machineID": "",
        "systemUUID": "",
        "bootID": "",
    }
    addresses = [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]
    status = {"capacity": capacity, "allocatable": capacity, "nodeInfo": info, "addresses": addresses}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": _labels(pool, name, zone),
            "annotations": {_POOL_LABELS: ",".join(sorted(pool.labels))},
        },
        "spec": {"taints": [_TAINT]},
        "status": status,
    }


def _labels(pool: PoolSpec, name: str, zone: str) -> dict[str, str]:
    zones = {ZONE_LABEL: zone, TOPOLOGY_ZONE: zone, f"{ZONE_LABEL}.{zone}": "true"} if zone else {}
    return {
        **pool.labels,
        "kubernetes.io/arch": pool.architecture,
        "kubernetes.io/os": "linux",
        "kubernetes.io/hostname": name,
        POOL_LABEL: pool.name,
        SIMULATED_LABEL: "true",
        **zones,
    }


def _main_patch(wanted: Node, live: Node) -> dict[str, Any]:
    """A merge patch for labels and taints; those that others set are kept."""
    have, want = live["metadata"].get("labels") or {}, wanted["metadata"]["labels"]
    before = (live["metadata"].get("annotations") or {}).get(_POOL_LABELS, "")
    after = wanted["metadata"]["annotations"][_POOL_LABELS]
    ours = {key for key in have if key.startswith("wecity.dev/")} | set(before.split(","))
    labels: dict[str, str | None] = {key: None for key in have if key in ours and key not in want}
    labels.update({key: value for key, value in want.items() if have.get(key) != value})
    metadata: dict[str, Any] = {"labels": labels} if labels else {}
    if before != after:
        metadata["annotations"] = {_POOL_LABELS: after}
    patch: dict[str, Any] = {"metadata": metadata} if metadata else {}
    taints = live.get("spec", {}).get("taints") or []
    if not any(_same_taint(taint) for taint in taints):
        kept = [taint for taint in taints if taint.get("key") != SIMULATED_LABEL]
        patch["spec"] = {"taints": [*kept, _TAINT]}
    return patch


def _same_taint(taint: Mapping[str, Any]) -> bool:
    return all(taint.get(key) == value for key, value in _TAINT.items())


def _status_patch(wanted: Node, live: Node) -> dict[str, Any]:
    want, have = wanted["status"], live.get("status") or {}
    patch: dict[str, Any] = {}
    for key in ("capacity", "allocatable"):
        current = have.get(key) or {}
        if not _same_amounts(current, want[key]):
            patch[key] = {**{name: None for name in current if name not in want[key]}, **want[key]}
    if have.get("nodeInfo", {}).get("architecture") != want["nodeInfo"]["architecture"]:
        patch["nodeInfo"] = want["nodeInfo"]
    return patch


def _same_amounts(have: Mapping[str, str], want: Mapping[str, str]) -> bool:
    # The API server normalises quantities: 0.5 is returned as 500m.
    return have.keys() == want.keys() and all(parse_quantity(have[key]) == parse_quantity(want[key]) for key in want)
