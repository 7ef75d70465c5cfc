"""Questions to a cluster from the run's own process, answered in one go: no engine, no provider.

Within a run signals are only counted. A cluster that hangs would therefore hold the run for as long as the client tries
again, whatever the run's time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from wecityctl.engine.run.interrupts import end_of_waiting
from wecityctl.errors import WecityError
from wecityctl.inputs import Cluster

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient

T = TypeVar("T")
# Seconds between two looks at the time, and for what is under way once it is over.
_PERIOD, _GRACE = 0.5, 5.0


def ask(cluster: Cluster, question: Callable[[KubeClient], Awaitable[T]]) -> T:
    """Connect, ask, and close. Raises the Kubernetes client's errors.

    Soon after the run's time is over raises `TimedOutError`, and after a second Ctrl-C `CancelledError`.
    """
    from wecityctl.kube.client import KubeClient
    from wecityctl.kube.config import load_access
    from wecityctl.kube.transport import HttpPool

    async def go() -> T:
        async with HttpPool() as pool:
            access = load_access(cluster.kubeconfig, cluster.context or None)
            async with KubeClient(access, pool) as client:
                return await question(client)

    return asyncio.run(_while_there_is_time(go()))


async def _while_there_is_time(answer: Coroutine[Any, Any, T]) -> T:
    task, left = asyncio.ensure_future(answer), _GRACE
    while True:
        done, _ = await asyncio.wait({task}, timeout=_PERIOD)
        end = end_of_waiting()
        left -= _PERIOD if end is not None else 0
        if done or (end is not None and left <= 0):
            break
    if not done and end is not None:
        task.cancel()
        with suppress(asyncio.CancelledError, WecityError):
            await task
        raise end
    return await task
