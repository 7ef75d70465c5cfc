"""Limits the number of concurrent requests per client: by address, by token, and in total."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

OF_ADDRESS: Final = 40
OF_TOKEN: Final = 32


class Shares:
    """Concurrent requests, counted by sender of one kind, such as addresses."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._places: dict[str, asyncio.Semaphore] = {}
        self._users: dict[str, int] = {}

    async def take(self, who: str) -> None:
        """Wait until `who` is below its limit, and take one slot."""
        self._users[who] = self._users.get(who, 0) + 1
        try:
            await self._places.setdefault(who, asyncio.Semaphore(self._most)).acquire()
        except BaseException:
            self._forget(who)
            raise

    def give(self, who: str) -> None:
        """Release one slot."""
        self._places[who].release()
        self._forget(who)

    def _forget(self, who: str) -> None:
        self._users[who] -= 1
        if not self._users[who]:
            del self._users[who], self._places[who]


class Admission:
    """Admits requests within three limits: per address, per token, and in total."""

    def __init__(self, most: int) -> None:
        self._addresses, self._tokens = Shares(OF_ADDRESS), Shares(OF_TOKEN)
        self._all = Shares(most)

    async def take(self, address: str, token: str, seconds: float) -> Taken:
        """Wait for a slot, at most `seconds`. Raises `TimeoutError`."""
        taken = Taken()
        try:
            async with asyncio.timeout(seconds):
                for shares, who in ((self._addresses, address), (self._tokens, token), (self._all, "")):
                    await shares.take(who)
                    taken.held.append((shares, who))
        except BaseException:
            taken.give()
            raise
        return taken


class Taken:
    """The slots held by one request."""

    def __init__(self, held: Collection[tuple[Shares, str]] = ()) -> None:
        self.held = list(held)

    def give(self) -> None:
        """Release them."""
        while self.held:
            shares, who = self.held.pop()
            shares.give(who)
