"""Resolves and downloads Debian packages with the machine's apt: its sources, keys and proxy, but separate state.

Nothing is installed and no system file is changed: apt works on a temporary status file and a cache directory.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wecityctl import cancellation
from wecityctl.filelock import BUILD_SECONDS, hold
from wecityctl.oci.lock import DebianPackage
from wecityctl.oci.tree import ImageBuildError, UnavailableError

# A version that satisfies every lower bound, for packages that are to be left out.
LEFT_OUT = "9999:1"
APT_SECONDS = 600
_INSTALLED = re.compile(r"^Inst (\S+) \((\S+) ", re.MULTILINE)
_SYSTEM_LISTS = Path("/var/lib/apt/lists")


@dataclass(frozen=True, slots=True)
class Apt:
    """apt with `root` as its directory for package lists and packages.

    `environment` is apt's environment. With `offline`, only cached packages are available.
    """

    root: Path
    architecture: str
    environment: Mapping[str, str]
    offline: bool = False

    def resolve(
        self, suite: str, packages: Sequence[str], present: Mapping[str, str], without: Sequence[str]
    ) -> tuple[DebianPackage, ...]:
        """The packages needed to install `packages` on top of `present` (versions by name), leaving out `without`.

        Raises `UnavailableError` if apt finds no solution.
        """
        installed = dict(present) | dict.fromkeys(without, LEFT_OUT)
        done = self._run(["apt-get", "--simulate", "-y", "install", *packages], suite, installed)
        if done.returncode != 0:
            raise UnavailableError(
                f"apt finds no way to install {', '.join(packages)} from {suite}",
                details=_tail(done),
                resolution="check that the machine's apt sources serve this release of Debian",
            )
        chosen = [f"{name}={version}" for name, version in _INSTALLED.findall(done.stdout)]
        return tuple(self._records(chosen, suite).values())

    def served(self, packages: Iterable[DebianPackage], suite: str) -> tuple[DebianPackage, ...]:
        """Those of `packages` that the package lists offer with the same version and digest."""
        wanted = {f"{item.package}={item.version}": item for item in packages}
        records = self._records(list(wanted), suite)
        return tuple(item for key, item in wanted.items() if key in records and records[key].sha256 == item.sha256)

    def update(self, suite: str) -> None:
        """Download the package lists into our own directory."""
        if self.offline:
            raise UnavailableError("offline: the package lists cannot be fetched")
        own, began = self._own_lists, time.time()
        (own / "partial").mkdir(parents=True, exist_ok=True)
        with (own / "wecity.lock").open("w") as guard:
            hold(guard.fileno(), seconds=BUILD_SECONDS, what="the package lists")
            fetched = own / "fetched"
            if fetched.is_file() and fetched.stat().st_mtime >= began:
                return  # another process did it while this one waited
            done = self._run(["apt-get", "update"], suite, {}, lists=own)
            # One failing source, which may be unrelated, does not prevent using the others.
            if not any(own.glob("*_Packages*")):
                raise UnavailableError(
                    "apt-get update fetched no package lists",
                    details=_tail(done),
                    resolution="mend the machine's apt sources or network",
                )
            fetched.touch()

    def fetch(self, packages: Sequence[DebianPackage], suite: str) -> dict[str, Path]:
        """The packages' files by package name, from the cache or downloaded. Raises `UnavailableError`."""
        missing = [item for item in packages if not self._place(item).is_file()]
        if missing:
            self._download(missing, suite)
        return {item.package: self._place(item) for item in packages}

    def newest(self, package: str, suite: str) -> Path:
        """The file of a package in its current version, downloaded if necessary. Raises `UnavailableError`."""
        done = self._run(["apt-cache", "show", "--no-all-versions", package], suite, {})
        versions = re.findall(r"^Version: (\S+)$", done.stdout, re.MULTILINE)
        found = self._records([f"{package}={version}" for version in versions], suite)
        if not found:
            raise UnavailableError(f"apt knows no package {package}", details=_tail(done))
        (item,) = list(found.values())[:1]
        return self.fetch([item], suite)[package]

    def cached(self, packages: Sequence[DebianPackage]) -> bool:
        """Whether all packages are in the cache."""
        return all(self._place(item).is_file() for item in packages)

    def _place(self, package: DebianPackage) -> Path:
        return self.root / "debs" / f"{package.sha256}.deb"

    def _download(self, packages: Sequence[DebianPackage], suite: str) -> None:
        if self.offline:
            wanted = ", ".join(f"{item.package}={item.version}" for item in packages)
            raise UnavailableError("offline, and not all Debian packages are in the cache", details=wanted)
        (self.root / "debs").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.root, prefix="fetch-") as scratch:
            names = [f"{item.package}={item.version}" for item in packages]
            done = self._run(["apt-get", "download", *names], suite, {}, cwd=Path(scratch))
            files = {_sha256(path): path for path in Path(scratch).glob("*.deb")}
            absent = [item for item in packages if item.sha256 not in files]
            for item in packages:
                if item.sha256 in files and not self._place(item).exists():
                    files[item.sha256].rename(self._place(item))
            if absent:
                gone = ", ".join(f"{item.package}={item.version}" for item in absent)
                raise UnavailableError(f"cannot be downloaded: {gone}", details=_tail(done))

    def _records(self, names: Sequence[str], suite: str) -> dict[str, DebianPackage]:
        """The records of the package lists by `name=version`; unknown ones are omitted."""
        if not names:
            return {}
        packages = sorted({name.partition("=")[0] for name in names})
        done = self._run(["apt-cache", "show", "--all-versions", *packages], suite, {})
        found: dict[str, DebianPackage] = {}
        for stanza in done.stdout.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " ")
            if "SHA256" in fields and fields.get("Architecture") in (self.architecture, "all"):
                item = DebianPackage(
                    fields["Package"],
                    fields["Version"],
                    fields["SHA256"],
                    int(fields["Size"]),
                    _source(fields.get("Source", ""), fields["Package"]),
                )
                found[f"{item.package}={item.version}"] = item
        return {name: found[name] for name in names if name in found}

    @property
    def _own_lists(self) -> Path:
        return self.root / f"lists-{self.architecture}"

    def _lists(self) -> Path:
        return self._own_lists if (self._own_lists / "fetched").is_file() else _SYSTEM_LISTS

    def _run(
        self,
        command: list[str],
        suite: str,
        installed: Mapping[str, str],
        *,
        lists: Path | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        program = shutil.which(command[0])
        if program is None:
            raise ImageBuildError(
                f"{command[0]} is not installed", resolution="images are built on Debian and systems derived from it"
            )
        self.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.root, prefix="apt-") as scratch:
            configuration = self._configure(Path(scratch), suite, installed, lists or self._lists())
            return cancellation.run(
                [program, "-c", str(configuration), "-q", *command[1:]],
                env={**self.environment, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
                cwd=cwd,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=APT_SECONDS,
                stdin=subprocess.DEVNULL,
            )

    def _configure(self, scratch: Path, suite: str, installed: Mapping[str, str], lists: Path) -> Path:
        """Write a configuration in which apt sees a system with only `installed`, and only Debian's `suite`."""
        status, preferences = scratch / "status", scratch / "preferences"
        status.write_text("".join(_status(name, version, self.architecture) for name, version in installed.items()))
        suites = (suite, f"{suite}-updates", f"{suite}-security")
        pins = [f"Package: *\nPin: release o=Debian, n={name}\nPin-Priority: 990\n" for name in suites]
        preferences.write_text("\n".join([*pins, "Package: *\nPin: release a=*\nPin-Priority: -1\n"]))
        (scratch / "archives" / "partial").mkdir(parents=True)
        configuration = scratch / "apt.conf"
        configuration.write_text(
            f"""
            APT::Architecture "{self.architecture}";
            #clear APT::Architectures;
            APT::Architectures {{ "{self.architecture}"; }};
            APT::Install-Recommends "false";
            APT::Sandbox::User "root";
            Acquire::Languages "none";
            // A new stable release renames this one's suite; the signature and our pins decide what is taken.
            Acquire::AllowReleaseInfoChange "true";
            Debug::NoLocking "true";
            Dir::State::status "{status}";
            Dir::State::extended_states "{scratch}/extended_states";
            Dir::State::lists "{lists}";
            Dir::Cache::archives "{scratch}/archives";
            Dir::Cache::pkgcache "";
            Dir::Cache::srcpkgcache "";
            Dir::Etc::preferences "{preferences}";
            Dir::Etc::preferencesparts "{scratch}/none";
            #clear APT::Update::Post-Invoke;
            #clear APT::Update::Post-Invoke-Success;
            """
        )
        return configuration


def _source(field: str, package: str) -> str:
    """The source package as the lock has it. A package list says `name`, `name (version)`, or nothing if both match."""
    name, _, version = field.partition(" ")
    version = version.strip("()")
    return f"{name}={version}" if version else "" if name == package else name


def _status(name: str, version: str, architecture: str) -> str:
    return (
        f"Package: {name}\nStatus: install ok installed\nArchitecture: {architecture}\nMulti-Arch: allowed\n"
        f"Version: {version}\nMaintainer: none\nDescription: none\n\n"
    )


def _tail(done: subprocess.CompletedProcess[str]) -> str:
    return "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-12:])


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
