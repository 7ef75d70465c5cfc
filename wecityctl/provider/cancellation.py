"""Stopping what a port is doing, at once for waits, with a grace for requests that change something."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Coroutine
from typing import Any, Final, TypeVar

from wecityctl.errors import CancelledError

T = TypeVar("T")
# A request already on its way is worth its answer: only with it is known what was made.
GRACE: Final = 10.0


class Cancellation:
    """A switch that is thrown once."""

    def __init__(self) -> None:
        self._thrown = asyncio.Event()

    @property
    def thrown(self) -> bool:
        """Whether the operations of this port are to stop."""
        return self._thrown.is_set()

    def throw(self) -> None:
        """Stop: what waits ends now, what changes something may finish, nothing new begins."""
        self._thrown.set()

    def check(self) -> None:
        """Raise `CancelledError` when thrown."""
        if self.thrown:
            raise CancelledError("the operation was cancelled")

    async def run(self, work: Coroutine[Any, Any, T], *, grace: float = 0.0) -> T:
        """The work's result, or `CancelledError` when it was not done `grace` seconds after the switch was thrown."""
        if self.thrown:
            work.close()
            raise CancelledError("the operation was cancelled")
        task = asyncio.ensure_future(work)
        switch = asyncio.ensure_future(self._thrown.wait())
        try:
            await asyncio.wait({task, switch}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and grace:
                await asyncio.wait({task}, timeout=grace)
            if task.done():
                return task.result()
            raise CancelledError("the operation was cancelled")
        finally:
            await _end(switch)
            await _end(task)

    async def sleep(self, seconds: float) -> None:
        """Sleep, or raise `CancelledError` when thrown meanwhile."""
        await self.run(asyncio.sleep(seconds))


async def _end(task: asyncio.Future[Any]) -> None:
    if not task.done():
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await _settled(task)


async def _settled(task: Awaitable[Any]) -> None:
    await task
