"""Runs coroutines to their end for callers that are no coroutines, also below an event loop that is running.

A notebook or a server calls an operation from within its own loop, and a thread runs one loop at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from wecityctl.cancellation import in_context

T = TypeVar("T")


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run the coroutine as `asyncio.run` does, and return its result. Blocks until it has ended.

    An interrupt of the caller's thread cancels the coroutine.
    """
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

    async def go() -> T:
        task = asyncio.current_task()
        assert task is not None
        running.append((asyncio.get_running_loop(), task))
        return await coroutine

    def cancel() -> None:
        for loop, task in running:
            loop.call_soon_threadsafe(task.cancel)

    return outside_loop(lambda: asyncio.run(go()), cancel)


def outside_loop(call: Callable[[], T], cancel: Callable[[], None] = lambda: None) -> T:
    """Call a function where no event loop is running: in this thread, or else in one with a copy of its context.

    If this thread is interrupted while it waits for the other one, it calls `cancel` and waits for its end.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return call()
    with ThreadPoolExecutor(1, "outside-loop") as pool:
        try:
            return pool.submit(in_context(call)).result()
        except BaseException:
            cancel()
            raise
