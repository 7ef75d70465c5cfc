"""The state server's log: one JSON line per request or other event. It never contains a secret.

Paths, queries, headers and bodies are not logged, because each may contain a token. A request is identified by its
operation, its stack and its update.
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
    """Writes lines to an unbuffered stream in a thread of its own, so that a blocked reader delays no request.

    If writing fails or `_WAITING` lines are queued, lines are dropped, and a later line says how many are missing.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._waiting: queue.Queue[dict[str, object] | None] = queue.Queue(_WAITING)
        self._missing = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, event: str, **values: object) -> None:
        """Write one line: the time, the `event`, and the non-empty `values`."""
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
        """Write the queued lines, for a limited time."""
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
        # An unbuffered stream may write only part of the data.
        while data:
            data = data[self._stream.write(data) :]


class Failures:
    """Counts failed authentications by address: more than `FAILURES` in `FAILURE_SECONDS` are answered with 429.

    Requests with a valid token are accepted regardless: one program with an old token must not block a whole office or
    a running update. Guessing tokens is hopeless anyway; this limits the load and the size of the log.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def add(self, address: str) -> tuple[int, bool]:
        """Count a failure. Returns the seconds until this address may try again (0 for at once), and whether to log the
        failure.
        """
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
