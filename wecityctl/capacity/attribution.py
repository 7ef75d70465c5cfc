"""Assigns live nodes to the pools in a cloud's files, and to zones. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from wecityctl.kube.pod_requests import amounts
from wecityctl.kube.resource import Object, meta
from wecityctl.model.city import Cloud, Pool
from wecityctl.model.naming import POOL_LABEL, ZONE_LABEL
from wecityctl.model.quantity import parse_quantity

ARCHITECTURE = "kubernetes.io/arch"


def labels_of(node: Object) -> Mapping[str, str]:
    return meta(node).get("labels") or {}


def architecture_of(node: Object) -> str:
    """The CPU architecture in Kubernetes' spelling: amd64, arm64 …"""
    info = (node.get("status") or {}).get("nodeInfo") or {}
    return str(labels_of(node).get(ARCHITECTURE) or info.get("architecture") or "")


def pool_of(node: Object, cloud: Cloud) -> Pool | None:
    """The pool that the node's label names, otherwise the best match among the possible pools, if any.

    A pool is possible if the node has its architecture, labels and accelerators. Among several, the one with the most
    labels and accelerators wins, then the one nearest in size, then the first in the files.
    """
    labels = labels_of(node)
    named = labels.get(POOL_LABEL)
    for pool in cloud.pools:
        if pool.name == named:
            return pool
    offered = amounts((node.get("status") or {}).get("allocatable") or {})
    fitting = [
        pool
        for pool in cloud.pools
        if pool.architecture == architecture_of(node)
        and pool.labels.items() <= labels.items()
        and all(offered.get(name, 0) >= count for name, count in pool.accelerators.items())
    ]
    return min(fitting, key=lambda pool: (-_demands(pool), _distance(pool, offered)), default=None)


def zones_of(node: Object, cloud: Cloud, pool: Pool | None) -> tuple[str, ...]:
    """The cloud's zones that the node serves, in file order: from its labels, otherwise from its pool."""
    labels = labels_of(node)
    if labels.get(ZONE_LABEL) in cloud.zones:
        return (labels[ZONE_LABEL],)
    labelled = tuple(zone for zone in cloud.zones if labels.get(f"{ZONE_LABEL}.{zone}") == "true")
    return labelled or (pool.zones if pool is not None else ()) or cloud.zones


def _demands(pool: Pool) -> int:
    return len(pool.labels) + len(pool.accelerators)


def _distance(pool: Pool, offered: Mapping[str, int]) -> float:
    """The distance between a node's size and the pool's: the sum of the relative differences of CPU and memory."""
    declared = (float(parse_quantity(pool.cpu) * 1000), float(parse_quantity(pool.memory)))
    found = (float(offered.get("cpu", 0)), float(offered.get("memory", 0)))
    return sum(abs(have - want) / want for want, have in zip(declared, found, strict=True) if want)
