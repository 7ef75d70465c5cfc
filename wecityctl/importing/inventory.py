"""Reads an existing cluster: its nodes, storage classes and ingress classes. Changes nothing in it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wecityctl.event_loops import run_async
from wecityctl.importing.pools import FoundPools, pools_of

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient

_DEFAULT_STORAGE = "storageclass.kubernetes.io/is-default-class"
_DEFAULT_INGRESS = "ingressclass.kubernetes.io/is-default-class"


@dataclass(frozen=True, slots=True)
class Classes:
    """Class names, and the cluster's default class, which may be empty."""

    names: tuple[str, ...]
    default: str

    def __str__(self) -> str:
        shown = (f"{name} (the cluster's default)" if name == self.default else name for name in self.names)
        return ", ".join(shown) or "none"


@dataclass(frozen=True, slots=True)
class ClusterInventory:
    """The properties of an existing cluster that a Cloud document describes."""

    context: str
    version: str
    found: FoundPools
    storage: Classes
    ingress: Classes


def inventory(kubeconfig: str, context: str) -> ClusterInventory:
    """Read the cluster that `kubeconfig` (empty: kubectl's default) and `context` (empty: the current one) name."""
    from wecityctl.kube.client import KubeClient
    from wecityctl.kube.config import load_access
    from wecityctl.kube.transport import HttpPool

    access = load_access(kubeconfig or None, context or None)

    async def look() -> ClusterInventory:
        async with HttpPool() as pool, KubeClient(access, pool) as client:
            version = await client.version()
            nodes, storage, ingress = await asyncio.gather(
                _list(client, "v1", "Node"),
                _list(client, "storage.k8s.io/v1", "StorageClass"),
                _list(client, "networking.k8s.io/v1", "IngressClass"),
            )
        return ClusterInventory(
            context=access.context,
            version=str(version.get("gitVersion", "")),
            found=pools_of(nodes),
            storage=_classes(storage, _DEFAULT_STORAGE),
            ingress=_classes(ingress, _DEFAULT_INGRESS),
        )

    return run_async(look())


async def _list(client: KubeClient, version: str, kind: str) -> list[dict[str, Any]]:
    return await client.list(await client.resource(version, kind))


def _classes(objects: list[dict[str, Any]], annotation: str) -> Classes:
    names = {str(item["metadata"]["name"]): item["metadata"].get("annotations") or {} for item in objects}
    default = next((name for name, notes in sorted(names.items()) if notes.get(annotation) == "true"), "")
    return Classes(tuple(sorted(names)), default)
