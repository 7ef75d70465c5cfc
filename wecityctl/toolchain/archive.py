"""Extracts named programs from untrusted tar archives.

Members are written to paths that the caller chooses. An archive with paths outside its directory is rejected.
"""

from __future__ import annotations

import contextlib
import lzma
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

MAXIMUM_MEMBER_BYTES = 1 << 30


class ArchiveError(Exception):
    """The archive is broken or unsafe, or lacks a requested member."""


def extract(archive: Path, members: Mapping[str, Path], *, whole: bool = True) -> None:
    """Write each `{member: target}` of `archive`. Raises `ArchiveError`; targets may then be incomplete.

    If `whole` is false, reading stops after the last requested member and the rest is not checked.
    """
    wanted = dict(members)
    with _errors_named(archive):
        for name, stream in _walk(archive):
            target = wanted.pop(name, None)
            if target is not None:
                with target.open("wb") as out:
                    shutil.copyfileobj(stream, out, 1 << 20)
                if not wanted and not whole:
                    return
    if wanted:
        raise ArchiveError(f"{archive.name} does not hold {', '.join(sorted(wanted))}")


def read(archive: Path, member: str) -> bytes | None:
    """The content of one small member; `None` if there is no such member. Raises `ArchiveError`."""
    with _errors_named(archive):
        for name, stream in _walk(archive):
            if name == member:
                return stream.read()
    return None


def _walk(archive: Path) -> Iterator[tuple[str, BinaryIO]]:
    """Yield every regular file of `archive`, in one sequential pass."""
    with tarfile.open(archive, "r|*") as tar:
        for member in tar:
            _refuse_unsafe(archive, member)
            stream = tar.extractfile(member) if member.isreg() else None
            if stream is not None:
                yield str(PurePosixPath(member.name)), cast(BinaryIO, stream)


@contextlib.contextmanager
def _errors_named(archive: Path) -> Iterator[None]:
    # Also surrounds the callers' reads: a broken archive is detected while a member is read.
    try:
        yield
    except (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        raise ArchiveError(f"{archive.name} cannot be unpacked: {error}") from error


def _refuse_unsafe(archive: Path, member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise ArchiveError(f"{archive.name} holds {member.name!r}, which would be written outside of it: refused")
    if member.isreg() and member.size > MAXIMUM_MEMBER_BYTES:
        raise ArchiveError(f"{archive.name} holds {member.name!r} of {member.size} bytes: refused")
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        raise ArchiveError(f"{archive.name} holds {member.name!r}, which is no file: refused")
