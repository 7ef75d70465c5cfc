"""Runs one query against a cluster from the run's own process, without engine or provider.

Signals are only counted within a run, so a query also ends when the run's time limit expires. Otherwise a cluster that
hangs would block the run for as long as the client retries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from wecityctl.engine.process.interrupts import end_of_waiting
from wecityctl.errors import WecityError
from wecityctl.event_loops import run_async
from wecityctl.inputs import Cluster

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient

T = TypeVar("T")
# In seconds: between two checks of the time limit, and for requests in progress to end after it.
_PERIOD, _GRACE = 0.5, 5.0


def ask(cluster: Cluster, question: Callable[[KubeClient], Awaitable[T]]) -> T:
    """Connect to the cluster, run `question`, close the connection, and return the answer.

    Raises the Kubernetes client's errors, `TimedOutError` soon after the run's time limit, and `CancelledError` after a
    second Ctrl-C.
    """
    from wecityctl.kube.client import KubeClient
    from wecityctl.kube.config import load_access
    from wecityctl.kube.transport import HttpPool

    async def go() -> T:
        async with HttpPool() as pool:
            access = load_access(cluster.kubeconfig, cluster.context or None)
            async with KubeClient(access, pool) as client:
                return await question(client)

    return run_async(_while_there_is_time(go()))


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
