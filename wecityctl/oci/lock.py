"""The record of what an image was made from: every package with its version and SHA-256.

A lock is a value; which of several locks counts for an image is decided in `identity`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from wecityctl.errors import ConfigurationError

FORMAT = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")


class LockError(ConfigurationError):
    """A lock file is not what it should be."""


@dataclass(frozen=True, slots=True, order=True)
class DebianPackage:
    """One binary package as the distribution serves it; `size` in bytes."""

    package: str
    version: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, order=True)
class Wheel:
    """One distribution file of the Python package index."""

    project: str
    version: str
    file: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Lock:
    """What goes into an image besides our own files; Debian packages per architecture."""

    debian: Mapping[str, tuple[DebianPackage, ...]] = field(default_factory=dict)
    python: tuple[Wheel, ...] = ()

    def canonical(self) -> str:
        """The lock as text that is the same for the same lock."""
        document = {
            "format": FORMAT,
            "debian": {arch: [asdict(item) for item in sorted(items)] for arch, items in self.debian.items()},
            "python": [asdict(item) for item in sorted(self.python)],
        }
        return json.dumps(document, indent=1, sort_keys=True) + "\n"

    def with_debian(self, architecture: str, packages: tuple[DebianPackage, ...]) -> Lock:
        """The same lock with other packages for one architecture."""
        return Lock({**self.debian, architecture: tuple(sorted(packages))}, self.python)


def parse(text: str, place: str) -> Lock:
    """The lock in `text`; raises `LockError` that names `place`."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise LockError(f"{place}: not JSON", details=str(error)) from error
    return from_document(document, place)


def from_document(document: Any, place: str) -> Lock:
    """The lock in a parsed document; raises `LockError` that names `place`."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise LockError(f"{place}: not a lock of format {FORMAT}", resolution="make it again with --update-lock")
    if unknown := set(document) - {"format", "debian", "python"}:
        raise LockError(f"{place}: unknown fields: {', '.join(sorted(unknown))}")
    try:
        debian = {
            str(arch): tuple(sorted(DebianPackage(**item) for item in items))
            for arch, items in document.get("debian", {}).items()
        }
        python = tuple(sorted(Wheel(**item) for item in document.get("python", [])))
    except (TypeError, AttributeError) as error:
        raise LockError(f"{place}: an entry has missing or unknown fields", details=str(error)) from error
    for digest in [item.sha256 for items in debian.values() for item in items] + [item.sha256 for item in python]:
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise LockError(f"{place}: {digest!r} is not a SHA-256")
    return Lock(MappingProxyType(debian), python)


def read(path: Path) -> Lock | None:
    """The lock at `path`, or `None` when there is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return parse(text, str(path))
