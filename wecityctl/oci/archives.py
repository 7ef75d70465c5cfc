"""Unpacks untrusted zip and tar archives into a layer, and validates every path, type and size.

Owners and timestamps of the archive are ignored; of the mode, only the executable bit is kept.
"""

from __future__ import annotations

import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from wecityctl.oci.tree import ImageBuildError, Tree, regular

MAX_FILES = 100_000
MAX_FILE_BYTES = 1 << 30
MAX_BYTES = 4 << 30
# Deflate reaches a ratio of about 1000 at most; programs and texts stay far below 200.
MAX_RATIO = 200
_FREE_BYTES = 16 << 20


def unpack(tree: Tree, archive: Path, name: str, target: str, *, strip: int = 0, drop: Sequence[str] = ()) -> list[str]:
    """Add the files of a zip or tar to `tree` under `target`; returns their absolute paths in the image.

    The first `strip` parts of each path are removed; shorter paths are skipped. Errors call the archive `name`. Raises
    `ImageBuildError` if the archive is damaged or too large, or if a member leaves `target`, is neither file nor
    directory, or is repeated.
    """
    added: dict[str, bool] = {}
    with _problems(name):
        for path, content, is_executable in _zip(archive) if zipfile.is_zipfile(archive) else _tar(archive):
            place = _place(path, target, strip)
            if place is None or any(fnmatchcase(place, pattern) for pattern in drop):
                continue
            if place in added:
                raise ImageBuildError(f"{name} has {path} twice")
            added[place] = True
            tree.add(place, regular(content, 0o755 if is_executable else 0o644))
    if not added:
        raise ImageBuildError(f"{name} brings no file", resolution="lower strip, or drop less")
    return list(added)


def checked(path: str) -> list[str]:
    """The parts of a relative path in an archive. Raises `ImageBuildError` if it is absolute or leads upwards."""
    if path.startswith("/") or "\\" in path or "\0" in path:
        raise ImageBuildError(f"the path {path!r} is not a plain relative one")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ImageBuildError(f"the path {path!r} leads out of the archive")
    return parts


def check_zip(source: zipfile.ZipFile, archive: Path) -> None:
    """Raise `ImageBuildError` if a zip has links or paths that leave it, or exceeds the size limits."""
    _check_sizes([member.file_size for member in source.infolist()], archive.stat().st_size)
    for member in source.infolist():
        checked(member.filename)
        if not member.is_dir() and stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
            raise ImageBuildError(f"{member.filename} is neither a file nor a directory")


@contextmanager
def _problems(name: str) -> Iterator[None]:
    """Add the name of the archive to errors about its content."""
    try:
        yield
    except ImageBuildError as error:
        raise ImageBuildError(f"{name}: {error.message}", resolution=error.resolution) from error
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ImageBuildError(f"{name} cannot be unpacked", details=str(error)) from error


def _place(path: str, target: str, strip: int) -> str | None:
    rest = checked(path)[strip:]
    return f"{target.rstrip('/')}/{'/'.join(rest)}" if rest else None


def _zip(archive: Path) -> Iterator[tuple[str, bytes, bool]]:
    """Yield path, content and executable bit of each file of a zip."""
    with zipfile.ZipFile(archive) as source:
        check_zip(source, archive)
        for member in source.infolist():
            if member.is_dir():
                continue
            mode = member.external_attr >> 16
            # `read` returns at most the size that was checked, and verifies the checksum.
            yield member.filename, source.read(member), bool(mode & 0o111)


def _tar(archive: Path) -> Iterator[tuple[str, bytes, bool]]:
    """Yield path, content and executable bit of each file of a compressed tar."""
    sizes: list[int] = []
    packed = archive.stat().st_size
    with tarfile.open(archive, "r:*") as source:
        for member in source:
            if member.isdir() or member.type == tarfile.XGLTYPE:
                continue
            if not member.isreg():
                raise ImageBuildError(f"{member.name} is neither a file nor a directory")
            sizes.append(member.size)
            _check_sizes(sizes, packed)
            content = source.extractfile(member)
            assert content is not None
            yield member.name, content.read(), bool(member.mode & 0o111)


def _check_sizes(sizes: Sequence[int], packed: int) -> None:
    total = sum(sizes)
    if len(sizes) > MAX_FILES:
        raise ImageBuildError(f"it has more than {MAX_FILES} files")
    if total > MAX_BYTES or max(sizes, default=0) > MAX_FILE_BYTES:
        raise ImageBuildError(
            f"it has files of more than {MAX_FILE_BYTES >> 20} MiB, or more than {MAX_BYTES >> 20} MiB in all"
        )
    if total > max(packed * MAX_RATIO, _FREE_BYTES):
        raise ImageBuildError(f"its files are more than {MAX_RATIO} times as large as the archive")
