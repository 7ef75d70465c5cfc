"""A run's journal as lines: written during the run, and read after it has ended or was killed.

The first line identifies the run and the state that it started from. Each further line has a batch of entries, in
order, with a checksum. A batch is acknowledged once it is durable. Data after the last complete line was never
acknowledged; a damaged line was, and is an error. Before the resulting state is written, its digest is added to the
journal, so that after a crash it is clear which of the two states is stored.

`journal.file` and `journal.stored` store the lines.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from wecityctl.errors import DeploymentError

# Version 1 had no `about`.
FORMAT = 2
_READABLE = (1, FORMAT)
_RESOLUTION = "have it put aside: wecityctl state repair PATH; the next `up` adopts what exists"


class Lines(Protocol):
    """The storage of one stack's journal. Its `str()` is the location, for users.

    Lines do not include line endings. All methods raise `DeploymentError` if the storage cannot be read or written.
    """

    def exists(self) -> bool:
        """Whether there is a journal."""

    def begin(self, line: str) -> None:
        """Write the first line, durable when this returns. Raises `DeploymentError` also if a journal exists."""

    def resume(self) -> int:
        """Continue a journal of a process that has died; return the number of complete lines."""

    def add(self, line: str) -> None:
        """Append one line, durable when this returns. Only after `begin` or `resume`.

        If it raises, the line is not stored, or its outcome is unknown and it was never acknowledged.
        """

    def close(self) -> None:
        """Stop writing; written lines stay."""

    def read(self) -> list[bytes]:
        """Return the complete lines; empty if there is no journal."""

    def conclude(self, line: str) -> None:
        """Append one line to a journal that no other process writes to."""

    def remove(self) -> None:
        """Delete a concluded journal; does nothing if there is none."""

    def raw(self) -> bytes:
        """Return all stored data, complete or not; empty if there is none."""

    def clear(self) -> None:
        """Delete all stored data, complete or not."""


@dataclass(frozen=True, slots=True)
class Header:
    """Identifies the run of a journal.

    `base` is the SHA-256 of the stored state that the run started from, empty for none; `engine` is the engine's
    version, `started` an RFC 3339 time; `about` are the fields for the history.
    """

    stack: str
    update: str
    base: str
    engine: str
    started: str
    format: int = FORMAT
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Journal:
    """The content of a journal.

    `result` is the SHA-256 of the resulting state, if somebody had begun to write that state. An incomplete last line
    was never acknowledged and is left out.
    """

    header: Header
    entries: tuple[Mapping[str, Any], ...]
    result: str = ""


class Writer:
    """Writes a journal. Not thread-safe."""

    def __init__(self, lines: Lines, header: Header) -> None:
        """Begin a new journal. Raises `DeploymentError`, also if one exists."""
        self._lines, self._batches = lines, 0
        lines.begin(_canonical(asdict(header)))

    @classmethod
    def resumed(cls, lines: Lines) -> Writer:
        """Continue a journal whose writer has died. Raises `DeploymentError`."""
        found = cls.__new__(cls)
        found._lines, found._batches = lines, lines.resume() - 1
        return found

    def append(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Append a batch, durable when this returns. Raises `DeploymentError`; then the batch is not stored."""
        number, text = self._batches + 1, _canonical(list(entries))
        self._lines.add(f'{{"batch":{number},"check":"{_check(text)}","entries":{text}}}')
        self._batches = number

    def close(self) -> None:
        """Stop writing; appended batches stay."""
        self._lines.close()


def conclude(lines: Lines, digest: str) -> None:
    """Add the SHA-256 of the state that is about to be written to a journal that has no other writer.

    Raises `DeploymentError`; then the journal is unchanged.
    """
    lines.conclude(_canonical({"result": digest}))


def read_journal(place: Lines, stack: str) -> Journal | None:
    """Return the journal of `stack`; `None` if there is none or its first line is incomplete.

    Raises `DeploymentError` if it is damaged, belongs to another stack, or has an unknown format.
    """
    lines = place.read()
    if not lines:
        return None
    header = _header(place, stack, lines[0])
    entries: list[Mapping[str, Any]] = []
    result = ""
    for number, line in enumerate(lines[1:], start=2):
        found = _line(place, number, line)
        if "result" in found:
            result = str(found["result"])
            continue
        if found.get("batch") != number - 1 or found.get("check") != _check(_canonical(found.get("entries"))):
            raise _damaged(place, number, "its checksum is another's")
        if not isinstance(found["entries"], list):
            raise _damaged(place, number, "its entries are no list")
        entries += found["entries"]
    return Journal(header, tuple(entries), result)


def _header(place: Lines, stack: str, line: bytes) -> Header:
    found = _line(place, 1, line)
    if found.get("format") not in _READABLE:
        raise DeploymentError(
            "a journal is of a format that this version does not know",
            details=f"{place}:1: format {found.get('format')!r}, not {' or '.join(map(str, _READABLE))}",
            resolution="run the version that has written it, or a newer one",
        )
    try:
        header = Header(**found)
    except TypeError:
        raise _damaged(place, 1, "it is no beginning of a journal") from None
    if not isinstance(header.about, Mapping):
        raise _damaged(place, 1, "what it says of its run is no object")
    if header.stack != stack:
        raise DeploymentError(
            f"the journal of {stack} is another stack's",
            details=f"{place}:1: it is of {header.stack}",
            resolution="move it to where it belongs",
        )
    return header


def _line(place: Lines, number: int, line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _damaged(place, number, str(error)) from error
    if not isinstance(found, dict):
        raise _damaged(place, number, "it is no object")
    return found


def _damaged(place: Lines, number: int, why: str) -> DeploymentError:
    return DeploymentError("a journal is damaged", details=f"{place}:{number}: {why}", resolution=_RESOLUTION)


def _canonical(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _check(text: str) -> str:
    return f"{zlib.crc32(text.encode('utf-8', 'surrogatepass')):08x}"
