"""Log files of supervised processes: opening, keeping them bounded, and their last telling lines."""

from __future__ import annotations

import os
import re
from pathlib import Path

LIMIT = 32 * 1024 * 1024
_KEPT = 4 * 1024 * 1024
_TAIL_BYTES = 64 * 1024
_WIDTH = 400
# Where a Go program says why it gives up; what follows is often a dump of goroutines.
_VERDICT = re.compile(r"^(panic:|fatal error:|fatal:|Error:|F\d{4} |.*\"level\":\"fatal\")", re.IGNORECASE)


def open_log(path: Path) -> int:
    """A descriptor that appends to `path` (0600), so that several writers and `trim` do not disturb one another."""
    trim(path)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def trim(path: Path, limit: int = LIMIT, kept: int = _KEPT) -> None:
    """Keep the last part of a log that has grown past `limit` as `<name>.1`, and empty it in place."""
    try:
        if path.stat().st_size <= limit:
            return
        with path.open("rb") as stream:
            stream.seek(-kept, os.SEEK_END)
            rest = stream.read()
        older = path.with_name(path.name + ".1")
        descriptor = os.open(older, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(rest)
        os.truncate(path, 0)
    except FileNotFoundError:
        return


def size(path: Path) -> int:
    """The log's length in bytes: where the next life of its process begins."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def tail(path: Path, count: int = 12, since: int = 0) -> tuple[str, ...]:
    """The last lines written after byte `since`, from the verdict on where there is one; long lines are cut."""
    try:
        with path.open("rb") as stream:
            end = stream.seek(0, os.SEEK_END)
            begin = since if since <= end else 0  # trimmed meanwhile
            stream.seek(max(begin, end - _TAIL_BYTES))
            text = stream.read().decode(errors="replace")
    except OSError:
        return ()
    lines = [line[:_WIDTH] for line in text.splitlines() if line.strip()]
    for index in range(len(lines) - 1, -1, -1):
        if _VERDICT.match(lines[index]):
            start = max(0, index - 2)
            return tuple(lines[start : start + count])
    return tuple(lines[-count:])
