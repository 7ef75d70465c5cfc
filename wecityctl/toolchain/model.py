"""The values and errors of this package: parts, sources, states, progress events.

Finding, building and installing is the responsibility of the other modules.
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
    """A required program is not installed."""


class PartInstallError(WecityError):
    """One or more parts could not be obtained from any source. The details give the reasons by source."""


class SourceName(StrEnum):
    """Where a part was taken from, or may be taken from."""

    CACHE = "cache"
    BUNDLE = "bundle"
    PATH = "path"
    DOWNLOAD = "download"
    BUILD = "build"
    SYSTEM = "system"


class Phase(StrEnum):
    """The steps of installing a part, as progress events name them."""

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
    """A progress event. `elapsed` is the time in seconds since work on the part began."""

    part: str
    phase: Phase
    elapsed: float
    detail: str = ""


Report = Callable[[PartEvent], None]


def silent(_: PartEvent) -> None:
    """Discard progress events."""


@dataclass(frozen=True, slots=True)
class PartStatus:
    """The state of a part on this machine. `version` is the pinned one if nothing is installed."""

    part: str
    version: str
    state: PartState
    source: SourceName | None
    path: Path | None
    optional: bool = False
    detail: str = ""

    @property
    def is_unneeded(self) -> bool:
        """Whether nothing is wrong with its absence: a missing optional part."""
        return self.optional and self.state is PartState.MISSING

    @property
    def version_text(self) -> str:
        """The version for people; a program of the distribution has none here."""
        return self.version or "the distribution's"


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and processor architecture, in Go's names."""

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
    """Versions from `low` (inclusive) to `below` (exclusive), as dotted numbers."""

    low: str
    below: str

    def __contains__(self, version: str) -> bool:
        return version_key(self.low) <= version_key(version) < version_key(self.below)

    def __str__(self) -> str:
        return f">={self.low},<{self.below}"


def version_key(version: str) -> tuple[int, ...]:
    """The release numbers of `version` for comparison, without a leading `v` and any suffix."""
    release = version.removeprefix("v").split("-")[0].split("+")[0]
    return tuple(int(piece) for piece in release.split(".") if piece.isdigit())


@dataclass(frozen=True, slots=True)
class Binary:
    """A program of a part: the Go package that it is built from, and the arguments that print its version."""

    name: str
    package: str = ""
    version_arguments: tuple[str, ...] = ("--version",)
    linux_only: bool = False


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that the vendor publishes and its binaries: {binary: member}; an empty member is the file itself."""

    url: str
    members: Mapping[str, str]

    @property
    def name(self) -> str:
        """The file name, by which the lock file records digests."""
        return self.url.rsplit("/", 1)[-1]


def no_artifacts(_: Platform) -> tuple[Artifact, ...]:
    """For parts without published binaries."""
    return ()


@dataclass(frozen=True, slots=True)
class CBuild:
    """What a Go build with cgo needs besides Go: `programs` on PATH and `libraries` by their pkg-config names.

    `packages` are the Debian packages that contain both. `tags` are Go build tags. The program is linked statically,
    like all parts, so that a bundled one runs on every system of its architecture.
    """

    tags: tuple[str, ...]
    libraries: tuple[str, ...]
    packages: tuple[str, ...]
    programs: tuple[str, ...] = ("gcc", "pkg-config")


@dataclass(frozen=True, slots=True)
class Part:
    """A part that is installed in the cache, pinned to one version.

    `accepts` is the range of versions that may be taken from PATH; `None`: none. `linker_values` are Go's `-X`
    settings, which upstream's own build sets as well. `revision` is raised when the build of the same version changes,
    so that an earlier build is not used. `c_build` is set for a part that needs cgo; others are built without a C
    compiler.
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
        """The name of the version's directory in the cache and in bundles."""
        return f"{self.version}-{self.revision}" if self.revision else self.version

    def binaries_for(self, target: Platform) -> tuple[Binary, ...]:
        """The programs that exist on `target`."""
        return tuple(binary for binary in self.binaries if target.os == "linux" or not binary.linux_only)


@dataclass(frozen=True, slots=True)
class SystemPart:
    """A part provided by packages of the distribution. It is used in place and never copied."""

    name: str
    packages: tuple[str, ...]
    binaries: tuple[str, ...]
    directories: tuple[str, ...] = ()
    optional: bool = False
