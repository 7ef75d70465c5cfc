"""The files of one layer, and a reproducible tar of them without anything that differs between builds.

Paths are relative to the root, without a leading slash, after the merge of /bin, /sbin and /lib into /usr.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from wecityctl.errors import WecityError

# The timestamp of all files in all images: 2026-01-01. Zip-based tools reject zero.
EPOCH = 1767225600
MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
MAX_LINKS = 20


class ImageBuildError(WecityError):
    """An image could not be built."""


class UnavailableError(ImageBuildError):
    """Packages are not available in the requested versions."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, directory or link. The content of a file is in memory or at a path."""

    kind: bytes
    mode: int
    uid: int = 0
    gid: int = 0
    content: bytes | Path = b""
    target: str = ""

    @property
    def is_directory(self) -> bool:
        return self.kind == tarfile.DIRTYPE

    @property
    def is_file(self) -> bool:
        return self.kind == tarfile.REGTYPE

    def read(self) -> bytes:
        """The content of the file."""
        return self.content.read_bytes() if isinstance(self.content, Path) else self.content


def directory(mode: int = 0o755, uid: int = 0, gid: int = 0) -> Entry:
    return Entry(tarfile.DIRTYPE, mode, uid, gid)


def regular(content: bytes | Path, mode: int = 0o644, uid: int = 0, gid: int = 0) -> Entry:
    return Entry(tarfile.REGTYPE, mode, uid, gid, content=content)


def symlink(target: str) -> Entry:
    return Entry(tarfile.SYMTYPE, 0o777, target=target)


@dataclass(slots=True)
class Tree:
    """A layer being built. `below` are the files of lower layers, which it can hide but not change."""

    below: dict[str, Entry] = field(default_factory=dict)
    own: dict[str, Entry] = field(default_factory=dict)

    def get(self, path: str) -> Entry | None:
        """The entry at `path` in the image; links are not followed."""
        return self.own.get(path) or self.below.get(path)

    def add(self, path: str, entry: Entry) -> None:
        """Put an entry at `path`, and create parent directories. A directory does not replace a link to a directory."""
        path = merged(path)
        existing = self.get(path)
        if entry.is_directory and existing is not None and existing.kind == tarfile.SYMTYPE:
            return
        if entry.is_directory and path not in self.own and existing == entry:
            return
        parent = path.rpartition("/")[0]
        if parent and self.get(parent) is None:
            self.add(parent, directory())
        if path:
            self.own[path] = entry

    def remove(self, path: str) -> None:
        """Remove an entry of this layer."""
        self.own.pop(path, None)

    def items(self) -> Iterator[tuple[str, Entry]]:
        """Yield all paths of the image with their entries, sorted."""
        everything = {**self.below, **self.own}
        for path in sorted(everything):
            yield path, everything[path]

    def all(self) -> dict[str, Entry]:
        """The image's files, as the base of the next layer."""
        return {**self.below, **self.own}

    def resolve(self, path: str) -> str | None:
        """The path after resolving symbolic links; `None` if it does not exist."""
        for _ in range(MAX_LINKS):
            entry = self.get(path)
            if entry is None or entry.kind != tarfile.SYMTYPE:
                return path if entry is not None else None
            parent = path.rpartition("/")[0]
            path = merged(_normal(entry.target if entry.target.startswith("/") else f"{parent}/{entry.target}"))
        return None

    def write_tar(self, stream: IO[bytes]) -> None:
        """Write the layer as a reproducible tar: sorted, with one timestamp and numeric owners."""
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path in sorted(self.own):
                _write_entry(tar, path, self.own[path])

    def write_directory(self, root: Path) -> None:
        """Write the image's files under `root`, without owners, to run programs of the image there."""
        for path, entry in self.items():
            place = root / path
            if entry.is_directory:
                place.mkdir(parents=True, exist_ok=True)
            elif entry.kind == tarfile.SYMTYPE:
                place.symlink_to(entry.target)
            elif entry.is_file:
                place.write_bytes(entry.read())
                place.chmod(entry.mode | 0o200)


def read_tar(stream: IO[bytes]) -> dict[str, Entry]:
    """The entries of a layer that `write_tar` wrote."""
    entries: dict[str, Entry] = {}
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            content = b""
            if member.isreg():
                source = tar.extractfile(member)
                assert source is not None
                content = source.read()
            entries[member.name] = Entry(
                member.type, member.mode, member.uid, member.gid, content=content, target=member.linkname
            )
    return entries


def merged(path: str) -> str:
    """`path` without leading slash or dot, and under /usr for directories that Debian merged into it."""
    plain = _normal(path)
    first = plain.partition("/")[0]
    return f"usr/{plain}" if first in MERGED else plain


def merge_links() -> dict[str, Entry]:
    """The symbolic links of the /usr merge: /bin → usr/bin and so on."""
    return {name: symlink(f"usr/{name}") for name in ("bin", "sbin", "lib", "lib64")}


def _normal(path: str) -> str:
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in ("", ".", ".."):
            parts.append(part)
    return "/".join(parts)


def _write_entry(tar: tarfile.TarFile, path: str, entry: Entry) -> None:
    info = tarfile.TarInfo(path)
    info.type, info.mode, info.uid, info.gid = entry.kind, entry.mode, entry.uid, entry.gid
    info.mtime = EPOCH
    info.linkname = entry.target
    if not entry.is_file:
        tar.addfile(info)
    elif isinstance(entry.content, Path):
        info.size = entry.content.stat().st_size
        with entry.content.open("rb") as source:
            tar.addfile(info, source)
    else:
        info.size = len(entry.content)
        tar.addfile(info, io.BytesIO(entry.content))
