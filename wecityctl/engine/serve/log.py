"""The state server's log: a line of JSON for each request and for what happens besides. No secret is ever in it.

Paths, queries, headers and bodies are not logged, since a token may be anywhere in them: a request is named by what it
asks for, its stack and its update.
"""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import IO, Final

FAILURES: Final = 20
FAILURE_SECONDS: Final = 60.0
_ADDRESSES: Final = 10_000


class ServerLog:
    """Writes lines to a stream. Where that is impossible the server goes on, and says how many are missing."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._missing = 0

    def write(self, event: str, **values: object) -> None:
        """Write a line: the time, the `event`, and of `values` those that are not empty."""
        found = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event}
        line = {**found, **{key: value for key, value in values.items() if value not in ("", None)}}
        if self._missing:
            line["missing"] = self._missing
        try:
            self._stream.write(json.dumps(line, ensure_ascii=True, separators=(",", ":")) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            self._missing += 1
            return
        self._missing = 0

    def close(self) -> None:
        """Write what is left."""
        with suppress(OSError, ValueError):
            self._stream.flush()


class Failures:
    """Counts failed authentications by address: more than `FAILURES` in `FAILURE_SECONDS` are answered with 429.

    Whoever shows a good token is let in all the same: one program with an old token must not stop a whole office, nor
    an update that runs. Guessing is hopeless at any rate; what is limited is the load and the size of the log.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def add(self, address: str) -> tuple[int, bool]:
        """Count a failure: in how many seconds this address may try again, 0 for at once, and whether to log it."""
        now = self._clock()
        times = self._times.setdefault(address, deque(maxlen=FAILURES))
        self._times.move_to_end(address)
        while len(self._times) > _ADDRESSES:
            self._times.popitem(last=False)
        while times and times[0] <= now - FAILURE_SECONDS:
            times.popleft()
        if len(times) == FAILURES:
            return max(1, int(times[0] + FAILURE_SECONDS - now)), False
        times.append(now)
        return 0, True
