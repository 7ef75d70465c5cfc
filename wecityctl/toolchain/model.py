"""What the parts module talks about: parts, where they may come from, their state, and what goes wrong.

Only values and errors live here; finding, building and placing are left to the other modules.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from wecityctl.errors import WecityError

INSTALL_HINT = "Run: wecityctl engine install"


class PartMissingError(WecityError):
    """A program that is needed is not on this machine yet."""


class PartInstallError(WecityError):
    """One or more parts could not be had from any source; the details say why, source by source."""


class SourceName(StrEnum):
    """Where a part was, or may be, taken from."""

    CACHE = "cache"
    BUNDLE = "bundle"
    PATH = "path"
    DOWNLOAD = "download"
    BUILD = "build"
    SYSTEM = "system"


class Phase(StrEnum):
    """The steps of making a part available, as progress reports name them."""

    WAITING = "waiting"
    TRYING = "trying"
    SKIPPED = "skipped"
    FAILED = "failed"
    DOWNLOADING = "downloading"
    BUILDING = "building"
    INSTALLING = "installing"
    VERIFYING = "verifying"
    READY = "ready"


class PartState(StrEnum):
    """Whether a part can be used."""

    OK = "ok"
    MISSING = "missing"
    CORRUPT = "corrupt"


@dataclass(frozen=True, slots=True)
class PartEvent:
    """One step of progress. `elapsed` is in seconds since the part's own work began."""

    part: str
    phase: Phase
    elapsed: float
    detail: str = ""


Report = Callable[[PartEvent], None]


def silent(_: PartEvent) -> None:
    """A report for callers that show no progress."""


@dataclass(frozen=True, slots=True)
class PartStatus:
    """A part as it is on this machine now. `version` is the pinned one where nothing is installed."""

    part: str
    version: str
    state: PartState
    source: SourceName | None
    path: Path | None
    optional: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and processor, in Go's names."""

    os: str
    arch: str

    def __str__(self) -> str:
        return f"{self.os}-{self.arch}"

    @classmethod
    def current(cls) -> Platform:
        """The platform this process runs on."""
        machine = platform.machine().lower()
        arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
        return cls(platform.system().lower(), arch)


@dataclass(frozen=True, slots=True)
class VersionRange:
    """Versions from `low` (included) to `below` (excluded), as dotted numbers."""

    low: str
    below: str

    def __contains__(self, version: str) -> bool:
        return version_key(self.low) <= version_key(version) < version_key(self.below)

    def __str__(self) -> str:
        return f">={self.low},<{self.below}"


def version_key(version: str) -> tuple[int, ...]:
    """The release numbers of `version` as something that compares; a leading `v` and any suffix do not count."""
    release = version.removeprefix("v").split("-")[0].split("+")[0]
    return tuple(int(piece) for piece in release.split(".") if piece.isdigit())


@dataclass(frozen=True, slots=True)
class Binary:
    """One program of a part: the Go package it is built from and how it tells its version."""

    name: str
    package: str = ""
    version_arguments: tuple[str, ...] = ("--version",)
    linux_only: bool = False


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file the vendor publishes and the binaries in it: {binary: member}; member "" is the file itself."""

    url: str
    members: Mapping[str, str]

    @property
    def name(self) -> str:
        """The file's own name, which the lock file records digests by."""
        return self.url.rsplit("/", 1)[-1]


def no_artifacts(_: Platform) -> tuple[Artifact, ...]:
    """For parts whose vendor publishes no binaries."""
    return ()


@dataclass(frozen=True, slots=True)
class CBuild:
    """What a Go build that compiles C as well needs besides Go: `programs` on PATH, `libraries` as pkg-config names
    them, and the Debian `packages` that hold both. `tags` are Go's build tags.

    The program is linked statically, as all parts are, so that a bundle's runs wherever its architecture does.
    """

    tags: tuple[str, ...]
    libraries: tuple[str, ...]
    packages: tuple[str, ...]
    programs: tuple[str, ...] = ("gcc", "pkg-config")


@dataclass(frozen=True, slots=True)
class Part:
    """A part that is placed in the cache, pinned to one version.

    `accepts` is the range of versions that may be taken from PATH: none where it is None.
    `linker_values` are Go's `-X` settings, which upstream's own build stamps as well. `revision` is raised when a build
    of the same version changes, so that one from before is not taken for it. `c_build` is set for a part with C in it;
    the others are built without a C compiler.
    """

    name: str
    version: str
    binaries: tuple[Binary, ...]
    accepts: VersionRange | None = None
    linker_values: Mapping[str, str] = field(default_factory=dict)
    artifacts: Callable[[Platform], tuple[Artifact, ...]] = no_artifacts
    buildable: bool = True
    optional: bool = False
    linux_only: bool = False
    revision: int = 0
    c_build: CBuild | None = None

    @property
    def pin(self) -> str:
        """The name of the version's directory, in the cache and in bundles."""
        return f"{self.version}-{self.revision}" if self.revision else self.version

    def binaries_for(self, target: Platform) -> tuple[Binary, ...]:
        """The programs that exist on `target`."""
        return tuple(binary for binary in self.binaries if target.os == "linux" or not binary.linux_only)


@dataclass(frozen=True, slots=True)
class SystemPart:
    """A part that the distribution's packages provide; used where it lies, never copied."""

    name: str
    packages: tuple[str, ...]
    binaries: tuple[str, ...]
    directories: tuple[str, ...] = ()
    optional: bool = False
