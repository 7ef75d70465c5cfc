"""Questions to a cluster from the run's own process, answered in one go: no engine, no provider."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from wecityctl.inputs import Cluster

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient

T = TypeVar("T")


def ask(cluster: Cluster, question: Callable[[KubeClient], Awaitable[T]]) -> T:
    """Connect, ask, and close. Raises the Kubernetes client's errors."""
    from wecityctl.kube.client import KubeClient
    from wecityctl.kube.config import load_access
    from wecityctl.kube.transport import HttpPool

    async def go() -> T:
        async with HttpPool() as pool:
            access = load_access(cluster.kubeconfig, cluster.context or None)
            async with KubeClient(access, pool) as client:
                return await question(client)

    return asyncio.run(go())
