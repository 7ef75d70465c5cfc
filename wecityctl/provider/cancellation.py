"""Stopping what a provider is doing: at once for waits, with a grace for requests that change something."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from wecityctl.errors import CancelledError

T = TypeVar("T")
# A request already on its way is worth its answer: only with it is known what was made.
GRACE: Final = 10.0


class Cancellation:
    """A switch that is thrown once."""

    def __init__(self) -> None:
        self._thrown = False
        self._running: dict[asyncio.Task[Any], float] = {}

    @property
    def thrown(self) -> bool:
        """Whether the operations of this provider are to stop."""
        return self._thrown

    def throw(self) -> None:
        """Stop: what waits ends now, what changes something may finish in its grace, nothing new begins."""
        self._thrown = True
        for task, grace in list(self._running.items()):
            if grace:
                asyncio.get_running_loop().call_later(grace, task.cancel)
            else:
                task.cancel()

    async def run(self, work: Coroutine[Any, Any, T], *, grace: float = 0.0) -> T:
        """The work's result, or `CancelledError` when it was not done `grace` seconds after the switch was thrown."""
        if self._thrown:
            work.close()
            raise _cancelled()
        task = asyncio.create_task(work)
        self._running[task] = grace
        try:
            return await task
        except asyncio.CancelledError as error:
            asker = asyncio.current_task()
            if not self._thrown or (asker is not None and asker.cancelling()):
                raise  # the engine has dropped the call itself
            raise _cancelled() from error
        finally:
            del self._running[task]


def _cancelled() -> CancelledError:
    return CancelledError("the operation was cancelled")
