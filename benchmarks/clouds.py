"""`clouds` and `status` over 600 simulated nodes on four control planes, against kubectl asking one after the other."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sixty_thousand import write
from wecityctl.clusters import local_name, open_clusters
from wecityctl.inputs import Cluster
from wecityctl.kube.client import KubeClient
from wecityctl.kube.config import load_access
from wecityctl.kube.resource import ResourceType
from wecityctl.kube.transport import HttpPool
from wecityctl.model.city import Cloud
from wecityctl.session import open_session
from wecityctl.toolchain import locate

NAME = "pool"
PODS_PER_NODE = 4
_POD = ResourceType("", "v1", "Pod", "pods", True)
_ROUNDS = 3


@dataclass(frozen=True)
class CloudsFigures:
    """Seconds. `up` and `status` are zero where the pods were made without an `up`."""

    nodes: int
    pods: int
    clouds: float
    kubectl: float
    up: float = 0.0
    status: float = 0.0


def measure_clouds(
    directory: Path, timed: Callable[..., float], started: Callable[[str], None], *, whole: bool
) -> CloudsFigures:
    """Start the example's four clouds and measure. With `whole`, an `up` of the example fills them.

    `timed` runs the command line and gives its seconds; `started` is told each embedded cloud's name beforehand.
    """
    path = write(directory / NAME, name=NAME)
    session = open_session(path)
    for cloud in session.city.clouds:
        started(local_name(session.city, cloud))
    clusters = open_clusters(session.city, session.catalogue, lambda event: None, start=True)
    if clusters.failed:
        raise next(iter(clusters.failed.values()))
    up = timed("up", str(path), "--yes") if whole else 0.0
    if not whole:
        asyncio.run(_fill(session.city.clouds, clusters.found))
    places = [_kubeconfig(directory, cluster) for cluster in clusters.found.values()]
    plain = statistics.median(_plain(places) for _ in range(_ROUNDS))
    return CloudsFigures(
        nodes=sum(pool.nodes for cloud in session.city.clouds for pool in cloud.pools),
        pods=sum(_count(place) for place in places),
        clouds=statistics.median(timed("clouds", str(path)) for _ in range(_ROUNDS)),
        kubectl=plain,
        up=up,
        status=statistics.median(timed("status", str(path)) for _ in range(_ROUNDS)) if whole else 0.0,
    )


async def _fill(clouds: tuple[Cloud, ...], clusters: Mapping[str, Cluster]) -> None:
    """Pods that are on their nodes from the beginning: what counts here is how many there are to read."""
    await asyncio.gather(*(_fill_one(cloud, clusters[cloud.name]) for cloud in clouds))


async def _fill_one(cloud: Cloud, cluster: Cluster) -> None:
    limit = asyncio.Semaphore(8)
    async with HttpPool() as pool, KubeClient(load_access(cluster.kubeconfig), pool) as client:

        async def make(node: str, number: int) -> None:
            async with limit:
                await client.create(_POD, "default", _pod(node, number), field_manager="bench")

        names = [f"{each.name}-{index}" for each in cloud.pools for index in range(each.nodes)]
        await asyncio.gather(*(make(name, number) for name in names for number in range(PODS_PER_NODE)))


def _pod(node: str, number: int) -> dict[str, object]:
    container = {
        "name": "web",
        "image": "registry.example/bench/web:1.0.0",
        "resources": {"requests": {"cpu": "16", "memory": "48Gi"}, "limits": {"memory": "48Gi"}},
        "env": [{"name": f"SETTING_{index}", "value": "x" * 40} for index in range(10)],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 2},
    }
    metadata = {"name": f"{node}-pod-{number}", "labels": {"app.kubernetes.io/name": "bench"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"nodeName": node, "containers": [container]},
    }


def _kubeconfig(directory: Path, cluster: Cluster) -> Path:
    path = directory / f"{cluster.cloud}.kubeconfig"
    path.touch(0o600)
    path.write_text(cluster.kubeconfig)
    return path


def _plain(kubeconfigs: list[Path]) -> float:
    """What one does without this tool: every cluster in turn, whole nodes and whole pods."""
    begun = time.monotonic()
    for place in kubeconfigs:
        _kubectl(place, "get", "nodes", "-o", "json")
        _kubectl(place, "get", "pods", "-A", "-o", "json")
    return time.monotonic() - begun


def _count(kubeconfig: Path) -> int:
    return len(_kubectl(kubeconfig, "get", "pods", "-A", "-o", "name").splitlines())


def _kubectl(kubeconfig: Path, *arguments: str) -> str:
    command = [str(locate("kubectl")), "--kubeconfig", str(kubeconfig), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout
