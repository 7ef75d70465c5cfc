"""The lock of an image: all packages that it is built from, with version and SHA-256.

Reads and writes locks as values. Which lock is used for an image is decided by `image_names` and `builder`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from wecityctl.errors import ConfigurationError

FORMAT = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NPM_PATH = re.compile(r"node_modules/(@[^/]+/)?[^/]+(/node_modules/(@[^/]+/)?[^/]+)*")


class LockError(ConfigurationError):
    """A lock file is invalid."""


@dataclass(frozen=True, slots=True, order=True)
class DebianPackage:
    """A binary Debian package; `size` in bytes.

    `source` is its source package where that has another name or version: `name`, or `name=version`. It says nothing
    about the content of an image, so it is no part of `Lock.inputs`.
    """

    package: str
    version: str
    sha256: str
    size: int
    source: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Wheel:
    """A wheel of the Python package index. `architecture` is empty for one that suits all."""

    project: str
    version: str
    file: str
    sha256: str
    licence: str = ""
    architecture: str = ""


@dataclass(frozen=True, slots=True, order=True)
class MavenArtifact:
    """A file of a Maven repository. `artifact` is `group:artifact:version[:type[:classifier]]`."""

    artifact: str
    sha256: str
    licence: str = ""


@dataclass(frozen=True, slots=True, order=True)
class NpmPackage:
    """A package of the npm registry at `path` below the image's package directory ("node_modules/…")."""

    path: str
    package: str
    version: str
    sha256: str
    licence: str = ""
    architecture: str = ""


@dataclass(frozen=True, slots=True)
class Generated:
    """The output of the recipe's `run`: the SHA-256 of the archive beside the lock, and that of its inputs."""

    sha256: str
    inputs: str


Entry = DebianPackage | Wheel | MavenArtifact | NpmPackage | Generated


@dataclass(frozen=True, slots=True)
class Lock:
    """All packages of an image. Debian packages are by architecture."""

    debian: Mapping[str, tuple[DebianPackage, ...]] = field(default_factory=dict)
    python: tuple[Wheel, ...] = ()
    maven: tuple[MavenArtifact, ...] = ()
    npm: tuple[NpmPackage, ...] = ()
    generated: Generated | None = None

    def canonical(self) -> str:
        """The lock as canonical text: equal locks give equal text.

        Empty fields are omitted, except for the oldest ones.
        """
        document: dict[str, Any] = {
            "format": FORMAT,
            "debian": {arch: [_document(item) for item in sorted(items)] for arch, items in self.debian.items()},
            "python": [_document(item) for item in sorted(self.python)],
        }
        if self.maven:
            document["maven"] = [_document(item) for item in sorted(self.maven)]
        if self.npm:
            document["npm"] = [_document(item) for item in sorted(self.npm)]
        if self.generated:
            document["generated"] = _document(self.generated)
        return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    def inputs(self) -> str:
        """The canonical text of what the content of an image depends on."""
        debian = {
            architecture: tuple(replace(item, source="") for item in items)
            for architecture, items in self.debian.items()
        }
        return replace(self, debian=debian).canonical()

    def wheels(self, architecture: str) -> tuple[Wheel, ...]:
        """The wheels for one architecture."""
        return tuple(item for item in self.python if item.architecture in ("", architecture))

    def npm_packages(self, architecture: str) -> tuple[NpmPackage, ...]:
        """The npm packages for one architecture, outer packages before nested ones."""
        return tuple(item for item in sorted(self.npm) if item.architecture in ("", architecture))


def parse(text: str, place: str) -> Lock:
    """Parse the lock in `text`. Raises `LockError`, which names `place`."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise LockError(f"{place}: not JSON", details=str(error)) from error
    return from_document(document, place)


def from_document(document: Any, place: str) -> Lock:
    """The lock in a parsed document. Raises `LockError`, which names `place`."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise LockError(f"{place}: not a lock of format {FORMAT}", resolution="make it again with --update-lock")
    if unknown := set(document) - {"format", *(item.name for item in fields(Lock))}:
        raise LockError(f"{place}: unknown fields: {', '.join(sorted(unknown))}")
    try:
        debian = {
            str(arch): tuple(sorted(DebianPackage(**item) for item in items))
            for arch, items in document.get("debian", {}).items()
        }
        python = tuple(sorted(Wheel(**item) for item in document.get("python", [])))
        maven = tuple(sorted(MavenArtifact(**item) for item in document.get("maven", [])))
        npm = tuple(sorted(NpmPackage(**item) for item in document.get("npm", [])))
        generated = Generated(**document["generated"]) if "generated" in document else None
    except (TypeError, AttributeError) as error:
        raise LockError(f"{place}: an entry has missing or unknown fields", details=str(error)) from error
    entries: list[DebianPackage | Wheel | MavenArtifact | NpmPackage] = [
        *(item for items in debian.values() for item in items),
        *python,
        *maven,
        *npm,
    ]
    for digest in [item.sha256 for item in entries] + ([generated.sha256, generated.inputs] if generated else []):
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise LockError(f"{place}: {digest!r} is not a SHA-256")
    for path in (item.path for item in npm):
        if not isinstance(path, str) or not _NPM_PATH.fullmatch(path) or "/.." in path:
            raise LockError(f"{place}: {path!r} is not a path of an npm package")
    return Lock(MappingProxyType(debian), python, maven, npm, generated)


def read(path: Path) -> Lock | None:
    """The lock at `path`; `None` if there is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return parse(text, str(path))


def _document(entry: Entry) -> dict[str, Any]:
    """An entry without fields that have their default, so that adding a field does not change existing locks."""
    defaults = {item.name: item.default for item in fields(entry) if item.default is not MISSING}
    return {key: value for key, value in asdict(entry).items() if key not in defaults or value != defaults[key]}
