"""Log files of supervised processes: opening, limiting their size, and extracting the last relevant lines."""

from __future__ import annotations

import os
import re
from pathlib import Path

LIMIT = 32 * 1024 * 1024
_KEPT = 4 * 1024 * 1024
_TAIL_BYTES = 64 * 1024
_WIDTH = 400
# The line in which a Go program reports a fatal error; a dump of goroutines often follows.
_VERDICT = re.compile(r"^(panic:|fatal error:|fatal:|Error:|F\d{4} |.*\"level\":\"fatal\")", re.IGNORECASE)


def open_log(path: Path) -> int:
    """A descriptor that appends to `path` (0600), so that several writers and `trim` do not conflict."""
    trim(path)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def trim(path: Path, limit: int = LIMIT, kept: int = _KEPT) -> None:
    """Move the end of a log that exceeds `limit` bytes to `<name>.1` and truncate the log in place."""
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
    """The size of the log in bytes, at which the output of the next process begins."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def tail(path: Path, count: int = 12, since: int = 0) -> tuple[str, ...]:
    """The last lines after byte `since`, starting at a fatal error if there is one. Long lines are truncated."""
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
