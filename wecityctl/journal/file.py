"""A journal as a file with one line for each batch."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import IO

from wecityctl.errors import DeploymentError
from wecityctl.paths import private_dir


class FileLines:
    """The lines of the file at `path`; see `Lines`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream: IO[bytes] | None = None
        self._own: tuple[int, int] | None = None

    def __str__(self) -> str:
        return str(self.path)

    def exists(self) -> bool:
        """See `Lines.exists`."""
        return self._is_there()

    def _is_there(self) -> bool:
        """Whether the file exists and, if this object has created one, is still that file."""
        try:
            found = self.path.stat()
        except OSError:
            return False
        return self._own in (None, _identity(found))

    def begin(self, line: str) -> None:
        """See `Lines.begin`."""
        private_dir(self.path.parent)
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except FileExistsError as error:
            raise DeploymentError(
                "another run's journal is there", details=str(self.path), resolution="run again: it is replayed first"
            ) from error
        except OSError as error:
            raise self._unwritten(error) from error
        self._stream = os.fdopen(descriptor, "wb", buffering=0)
        self._own = _identity(os.fstat(descriptor))
        self.add(line)
        _sync_directory(self.path.parent)

    def resume(self) -> int:
        """See `Lines.resume`. Data after the last complete line was never acknowledged and is cut off."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND)
            self._stream = os.fdopen(descriptor, "r+b", buffering=0)
            found = self._stream.read()
            os.ftruncate(descriptor, found.rfind(b"\n") + 1)
        except OSError as error:
            raise self._unwritten(error) from error
        self._own = _identity(os.fstat(descriptor))
        return found.count(b"\n")

    def add(self, line: str) -> None:
        """See `Lines.add`."""
        assert self._stream is not None
        data = line.encode() + b"\n"
        start = os.fstat(self._stream.fileno()).st_size
        try:
            written = self._stream.write(data)
            if written != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fdatasync(self._stream.fileno())
        except OSError as error:
            # A partial line in the middle would damage the lines after it.
            os.ftruncate(self._stream.fileno(), start)
            raise self._unwritten(error) from error
        if not self._is_there():
            raise self._taken_over()

    def close(self) -> None:
        """See `Lines.close`."""
        if self._stream is not None:
            self._stream.close()

    def read(self) -> list[bytes]:
        """See `Lines.read`."""
        try:
            *lines, _ = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise DeploymentError("a journal cannot be read", details=f"{self.path}: {error.strerror}") from error
        return lines

    def conclude(self, line: str) -> None:
        """See `Lines.conclude`."""
        try:
            with self.path.open("r+b") as stream:
                # The opened file stays the same even if another file takes its name.
                if self._own not in (None, _identity(os.fstat(stream.fileno()))):
                    raise self._taken_over()
                # Data after the last complete line was never acknowledged.
                end = stream.read().rfind(b"\n") + 1
                stream.truncate(end)
                stream.seek(end)
                try:
                    stream.write(line.encode() + b"\n")
                    stream.flush()
                    os.fsync(stream.fileno())
                except OSError:
                    stream.truncate(end)
                    raise
        except OSError as error:
            raise self._unwritten(error) from error

    def remove(self) -> None:
        """See `Lines.remove`."""
        if self._is_there():
            self.path.unlink(missing_ok=True)

    def raw(self) -> bytes:
        """See `Lines.raw`."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""

    def clear(self) -> None:
        """See `Lines.clear`."""
        self.remove()

    def _taken_over(self) -> DeploymentError:
        return DeploymentError(
            "somebody else has brought the journal of this run to its end",
            details=f"{self.path}: as after `unlock`",
            resolution="run it again",
        )

    def _unwritten(self, error: OSError) -> DeploymentError:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        return DeploymentError(
            "the disk is full" if full else "the journal of the run cannot be written",
            details=f"{self.path}: {error.strerror}",
            resolution="make room and run again: what was acknowledged is kept" if full else "",
        )


def _identity(facts: os.stat_result) -> tuple[int, int]:
    return facts.st_dev, facts.st_ino


def _sync_directory(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
