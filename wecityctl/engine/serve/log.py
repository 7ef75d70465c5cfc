"""The state server's log: a line of JSON for each request and for what happens besides. No secret is ever in it.

Paths, queries, headers and bodies are not logged, since a token may be anywhere in them: a request is named by what it
asks for, its stack and its update.
"""

from __future__ import annotations

import json
import queue
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import IO, Final

FAILURES: Final = 20
FAILURE_SECONDS: Final = 60.0
_ADDRESSES: Final = 10_000
_WAITING: Final = 10_000
_CLOSE_SECONDS: Final = 2.0


class ServerLog:
    """Writes lines to a stream, in a thread of its own: a pipe that nobody reads keeps no request waiting.

    Where writing is impossible, or `_WAITING` lines wait for it, the server goes on, and says later how many are
    missing. The stream has no buffer.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._waiting: queue.Queue[dict[str, object] | None] = queue.Queue(_WAITING)
        self._missing = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, event: str, **values: object) -> None:
        """Write a line: the time, the `event`, and of `values` those that are not empty."""
        found = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event}
        line = {**found, **{key: value for key, value in values.items() if value not in ("", None)}}
        if self._missing:
            line["missing"] = self._missing
        try:
            self._waiting.put_nowait(line)
        except queue.Full:
            self._missing += 1
        else:
            self._missing = 0

    def close(self) -> None:
        """Write what is left, for as long as somebody takes it."""
        with suppress(queue.Full):
            self._waiting.put(None, timeout=_CLOSE_SECONDS)
            self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        missing = 0
        while (line := self._waiting.get()) is not None:
            if missing:
                before = line.get("missing")
                line["missing"] = missing + (before if isinstance(before, int) else 0)
            try:
                self._write(json.dumps(line, ensure_ascii=True, separators=(",", ":")).encode() + b"\n")
            except (OSError, ValueError):
                missing += 1
            else:
                missing = 0

    def _write(self, data: bytes) -> None:
        # A stream without a buffer may take a part.
        while data:
            data = data[self._stream.write(data) :]


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
