"""Cancels the running operations of a provider: waits at once, requests that change something after a grace period."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from wecityctl.errors import CancelledError

T = TypeVar("T")
# Seconds. The answer to a request that was sent already tells which object was created.
GRACE: Final = 10.0


class Cancellation:
    """A flag that is set once and cancels all operations of a provider."""

    def __init__(self) -> None:
        self._thrown = False
        self._running: dict[asyncio.Task[Any], float] = {}

    @property
    def thrown(self) -> bool:
        """Whether the provider's operations are to stop."""
        return self._thrown

    def throw(self) -> None:
        """Cancel: waits end now, running changes may finish within their grace period, and nothing new starts."""
        self._thrown = True
        for task, grace in list(self._running.items()):
            if grace:
                asyncio.get_running_loop().call_later(grace, task.cancel)
            else:
                task.cancel()

    async def run(self, work: Coroutine[Any, Any, T], *, grace: float = 0.0) -> T:
        """Return the work's result. Raises `CancelledError` if it has not ended `grace` seconds after a cancel."""
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
                raise  # the engine has cancelled the call itself
            raise _cancelled() from error
        finally:
            del self._running[task]


def _cancelled() -> CancelledError:
    return CancelledError("the operation was cancelled")
