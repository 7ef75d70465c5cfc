"""A run's journal as lines: appended to while the run lasts, read when it is over, or when it was cut off.

The first line says whose journal it is and which state it begins with; each line after it holds a batch of entries, in
order, with a checksum. A batch is acknowledged once it is durable. What follows the last whole line never was; a
line that is damaged was, and is told. Before the state that comes of a journal is put in its place, the journal notes
that state's digest, so that whoever is cut off there can tell which of the two states it has.

How the lines are kept is the business of `journal.file` and `journal.stored`.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from wecityctl.errors import DeploymentError

# The first had no `about`.
FORMAT = 2
_READABLE = (1, FORMAT)
_RESOLUTION = "have it put aside: wecityctl state repair PATH; the next `up` adopts what exists"


class Lines(Protocol):
    """Where the lines of one stack's journal are kept. `str()` of it says where, for people.

    Lines are without their ends. All methods raise `DeploymentError` where the place cannot be read or written.
    """

    def exists(self) -> bool:
        """Whether there is a journal."""

    def begin(self, line: str) -> None:
        """Write the first line, durable when this returns. Raises `DeploymentError` also where there is a journal."""

    def resume(self) -> int:
        """Go on with a journal that another process has begun, which is gone; how many whole lines there are."""

    def add(self, line: str) -> None:
        """Write one more line, durable when this returns. Where this raises, it is not there, or was never told to
        be. Only for whoever has begun it, or resumed it."""

    def close(self) -> None:
        """Write no more; what was written stays."""

    def read(self) -> list[bytes]:
        """The whole lines; empty where there is none."""

    def conclude(self, line: str) -> None:
        """Write one more line to a journal that nobody else is to write to any more."""

    def remove(self) -> None:
        """Remove a journal that was concluded; nothing happens where there is none."""

    def raw(self) -> bytes:
        """All that is there, whole or not; empty where there is nothing."""

    def clear(self) -> None:
        """Remove all that is there, whole or not."""


@dataclass(frozen=True, slots=True)
class Header:
    """Whose journal it is. `base` is the SHA-256 of the state that the run began with as it was stored, empty for none;
    `engine` the engine's version, `started` an RFC 3339 time; `about` what the history says of the run."""

    stack: str
    update: str
    base: str
    engine: str
    started: str
    format: int = FORMAT
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Journal:
    """What a journal holds. `result` is the SHA-256 of the state that came of it, if somebody had begun to put
    that in its place. A last line that is not whole was never acknowledged, and is left out."""

    header: Header
    entries: tuple[Mapping[str, Any], ...]
    result: str = ""


class Writer:
    """A journal that is being written. Not for several threads."""

    def __init__(self, lines: Lines, header: Header) -> None:
        """Begin a journal where there is none. Raises `DeploymentError`, also where there is one."""
        self._lines, self._batches = lines, 0
        lines.begin(_canonical(asdict(header)))

    @classmethod
    def resumed(cls, lines: Lines) -> Writer:
        """Go on with a journal whose writer is gone. Raises `DeploymentError`."""
        found = cls.__new__(cls)
        found._lines, found._batches = lines, lines.resume() - 1
        return found

    def append(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Add a batch; durable when this returns. Raises `DeploymentError`; then the batch is not there."""
        number, text = self._batches + 1, _canonical(list(entries))
        self._lines.add(f'{{"batch":{number},"check":"{_check(text)}","entries":{text}}}')
        self._batches = number

    def close(self) -> None:
        """Write no more; what was appended stays."""
        self._lines.close()


def conclude(lines: Lines, digest: str) -> None:
    """Note in a journal that nobody writes any more the SHA-256 of the state that is about to take the old one's place.

    Raises `DeploymentError`, and leaves the journal as it was.
    """
    lines.conclude(_canonical({"result": digest}))


def read_journal(place: Lines, stack: str) -> Journal | None:
    """The journal of `stack`; `None` where there is none, or none that had come to its first line.

    Raises `DeploymentError` for one that is damaged, of another stack, or of a format that is not known.
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
