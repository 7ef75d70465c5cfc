"""Says how far the reading of a long period is."""

from __future__ import annotations

import time
from collections.abc import Callable

# Seconds until something is said, and from then on between two lines.
EVERY = 5.0


class Progress:
    """Says how much of a cloud's usage is read: every few seconds, and nothing if it takes less than that.

    `say` takes a line for the user.
    """

    def __init__(self, cloud: str, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._cloud, self._say, self._clock = cloud, say, clock
        self._last = clock()

    def tell(self, done: int, of: int) -> None:
        """Take in that `done` of all queries are answered."""
        now = self._clock()
        if done < of and now - self._last >= EVERY:
            self._last = now
            self._say(f"reading the usage of {self._cloud}: {done * 100 // of} %")
