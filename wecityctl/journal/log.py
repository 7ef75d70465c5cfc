"""A run's journal as a file: appended to while the run lasts, read when it is over, or when it was cut off.

The first line says whose journal it is and which state it begins with; each line after it holds a batch of entries, in
order, with a checksum. A batch is acknowledged once it is on the disk. What follows the last whole line never was; a
line that is damaged was, and is told. Before the state that comes of a journal is put in its place, the journal notes
that state's digest, so that whoever is cut off there can tell which of the two states it has.
"""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from wecityctl.errors import DeploymentError
from wecityctl.paths import private_dir

FORMAT = 1
_RESOLUTION = "have it put aside: wecityctl state repair PATH; the next `up` adopts what exists"


@dataclass(frozen=True, slots=True)
class Header:
    """Whose journal it is. `base` is the SHA-256 of the state that the run began with as it was stored, empty for none;
    `engine` the engine's version, `started` an RFC 3339 time."""

    stack: str
    update: str
    base: str
    engine: str
    started: str
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Journal:
    """What a journal file holds. `result` is the SHA-256 of the state that came of it, if somebody had begun to put
    that in its place. A last line that is not whole was never acknowledged, and is left out."""

    header: Header
    entries: tuple[Mapping[str, Any], ...]
    result: str = ""


class JournalFile:
    """A journal that is being written. Not for several threads."""

    def __init__(self, path: Path, header: Header) -> None:
        """Begin a journal at `path`, where there is none. Raises `DeploymentError`, also where there is one."""
        self._path = path
        private_dir(path.parent)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except OSError as error:
            raise self._error(error) from error
        self._stream: IO[bytes] = os.fdopen(descriptor, "wb", buffering=0)
        self._batches = 0
        self._write(_canonical(asdict(header)))
        _sync_directory(path.parent)

    def append(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Add a batch; on the disk when this returns. Raises `DeploymentError`; then the batch is not there."""
        number, text = self._batches + 1, _canonical(list(entries))
        self._write(f'{{"batch":{number},"check":"{_check(text)}","entries":{text}}}')
        self._batches = number

    def close(self) -> None:
        """Close the file; what was appended stays."""
        self._stream.close()

    def _write(self, line: str) -> None:
        data = line.encode() + b"\n"
        start = os.fstat(self._stream.fileno()).st_size
        try:
            written = self._stream.write(data)
            if written != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fdatasync(self._stream.fileno())
        except OSError as error:
            # Half a line in the middle would damage what follows it.
            os.ftruncate(self._stream.fileno(), start)
            raise self._error(error) from error

    def _error(self, error: OSError) -> DeploymentError:
        if isinstance(error, FileExistsError):
            return DeploymentError(
                "another run's journal is there", details=str(self._path), resolution="run again: it is replayed first"
            )
        return _unwritten(self._path, error)


def conclude(path: Path, digest: str) -> None:
    """Note in a journal that nobody writes any more the SHA-256 of the state that is about to take the old one's place.

    Raises `DeploymentError`, and leaves the journal as it was.
    """
    try:
        with path.open("r+b") as stream:
            # What follows the last whole line was never acknowledged.
            end = stream.read().rfind(b"\n") + 1
            stream.truncate(end)
            stream.seek(end)
            try:
                stream.write(_canonical({"result": digest}).encode() + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
            except OSError:
                stream.truncate(end)
                raise
    except OSError as error:
        raise _unwritten(path, error) from error


def read_journal(path: Path, stack: str) -> Journal | None:
    """The journal of `stack` at `path`; `None` where there is none, or none that had come to its first line.

    Raises `DeploymentError` for one that is damaged, of another stack, or of a format that is not known.
    """
    try:
        *lines, _ = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DeploymentError("a journal cannot be read", details=f"{path}: {error.strerror}") from error
    if not lines:
        return None
    header = _header(path, stack, lines[0])
    entries: list[Mapping[str, Any]] = []
    result = ""
    for number, line in enumerate(lines[1:], start=2):
        found = _line(path, number, line)
        if "result" in found:
            result = str(found["result"])
            continue
        if found.get("batch") != number - 1 or found.get("check") != _check(_canonical(found.get("entries"))):
            raise _damaged(path, number, "its checksum is another's")
        entries += found["entries"]
    return Journal(header, tuple(entries), result)


def _header(path: Path, stack: str, line: bytes) -> Header:
    found = _line(path, 1, line)
    if found.get("format") != FORMAT:
        raise DeploymentError(
            "a journal is of a format that this version does not know",
            details=f"{path}:1: format {found.get('format')!r}, not {FORMAT}",
            resolution="run the version that has written it, or a newer one",
        )
    try:
        header = Header(**found)
    except TypeError:
        raise _damaged(path, 1, "it is no beginning of a journal") from None
    if header.stack != stack:
        raise DeploymentError(
            f"the journal of {stack} is another stack's",
            details=f"{path}:1: it is of {header.stack}",
            resolution="move the file to where it belongs",
        )
    return header


def _line(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise _damaged(path, number, str(error)) from error
    if not isinstance(found, dict):
        raise _damaged(path, number, "it is no object")
    return found


def _unwritten(path: Path, error: OSError) -> DeploymentError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return DeploymentError(
        "the disk is full" if full else "the journal of the run cannot be written",
        details=f"{path}: {error.strerror}",
        resolution="make room and run again: what was acknowledged is kept" if full else "",
    )


def _damaged(path: Path, number: int, why: str) -> DeploymentError:
    return DeploymentError("a journal is damaged", details=f"{path}:{number}: {why}", resolution=_RESOLUTION)


def _canonical(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _check(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _sync_directory(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
