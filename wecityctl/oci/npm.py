"""Downloads npm packages by digest without npm; runs npm only to resolve them when a lock is written.

Install scripts are never run.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wecityctl import cancellation
from wecityctl.oci import archives
from wecityctl.oci.fetching import Downloads
from wecityctl.oci.lock import NpmPackage
from wecityctl.oci.recipe import Npm as Wanted
from wecityctl.oci.tree import ImageBuildError, Tree, regular, symlink

NPM_SECONDS = 600
# npm's names of processor architectures, by ours.
CPUS = {"amd64": "x64", "arm64": "arm64"}
_REGISTRY = re.compile(r"^\s*registry\s*=\s*(\S+)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Npm:
    """The npm registry behind `downloads`."""

    downloads: Downloads
    environment: Mapping[str, str]
    _address: list[str] = field(default_factory=list)

    def fetch(self, packages: Iterable[NpmPackage]) -> list[tuple[NpmPackage, Path]]:
        """The locked packages with their files, from the cache or downloaded."""
        return [
            (item, self.downloads.get("" if self.downloads.has(item.sha256) else self._url(item), item.sha256))
            for item in packages
        ]

    def resolve(self, wanted: Wanted) -> tuple[NpmPackage, ...]:
        """The packages and all their dependencies on Linux, for every architecture, already downloaded."""
        with tempfile.TemporaryDirectory(prefix="npm-") as scratch:
            requirements = dict(item.rsplit("@", 1) for item in wanted.packages)
            package = {"name": "image", "version": "1.0.0", "private": True, "dependencies": requirements}
            (Path(scratch) / "package.json").write_text(json.dumps(package))
            self._npm(
                "install", "--package-lock-only", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund",
                "--install-strategy=hoisted", "--lockfile-version=3", cwd=scratch,
            )  # fmt: skip
            document = json.loads((Path(scratch) / "package-lock.json").read_text())
        return tuple(sorted(self._locked(item) for item in chosen(document, wanted.without_scripts)))

    def _locked(self, found: tuple[NpmPackage, str]) -> NpmPackage:
        """The package with its SHA-256, after verifying its file against npm's digest."""
        item, integrity = found
        digest = self.downloads.learn(self._url(item))
        algorithm, _, expected = integrity.split()[0].partition("-")
        actual = hashlib.new(algorithm, self.downloads.place(digest).read_bytes()).digest()
        if base64.b64encode(actual).decode() != expected:
            raise ImageBuildError(f"{item.package}@{item.version}: the registry serves another file than npm expects")
        return NpmPackage(item.path, item.package, item.version, digest, item.licence, item.architecture)

    def _url(self, item: NpmPackage) -> str:
        if not self._address:
            self._address.append(self._registry())
        return f"{self._address[0]}/{item.package}/-/{item.package.rpartition('/')[2]}-{item.version}.tgz"

    def _registry(self) -> str:
        """The URL of the registry that npm uses on this machine. Raises `ImageBuildError` if none is configured."""
        for key in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
            if value := self.environment.get(key, ""):
                return value.rstrip("/")
        if shutil.which("npm", path=self.environment.get("PATH")):
            return self._npm("config", "get", "registry").strip().rstrip("/")
        home = self.environment.get("HOME", "")
        file = Path(self.environment.get("NPM_CONFIG_USERCONFIG") or f"{home}/.npmrc")
        if file.is_file() and (found := _REGISTRY.search(file.read_text(errors="replace"))):
            return found[1].rstrip("/")
        raise ImageBuildError(
            "no npm registry is known",
            resolution="name it in ~/.npmrc (registry=…) or install npm, which has a default",
        )

    def _npm(self, *arguments: str, cwd: str | None = None) -> str:
        program = shutil.which("npm", path=self.environment.get("PATH"))
        if program is None:
            raise ImageBuildError(
                "npm is not installed, which finds out what packages need when a lock is written",
                resolution="install npm; building from a lock does not need it",
            )
        done = cancellation.run(
            [program, *arguments],
            cwd=cwd,
            env={**self.environment, "NO_UPDATE_NOTIFIER": "1"},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=NPM_SECONDS,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != 0:
            raise ImageBuildError(
                f"npm {arguments[0]} failed", details="\n".join(done.stderr.strip().splitlines()[:12])
            )
        return done.stdout


def chosen(document: dict[str, Any], without_scripts: Iterable[str]) -> list[tuple[NpmPackage, str]]:
    """Select the packages of a package-lock.json for an image; returns them without SHA-256, with npm's digests.

    Raises `ImageBuildError` for packages that are not from the registry, and for install scripts that the recipe does
    not list.
    """
    found: list[tuple[NpmPackage, str]] = []
    unnamed: set[str] = set()
    for path, entry in sorted(document["packages"].items()):
        if not path or entry.get("dev") or entry.get("devOptional"):
            continue
        name = entry.get("name") or path.rpartition("node_modules/")[2]
        if entry.get("link") or "integrity" not in entry:
            raise ImageBuildError(f"{name} does not come from the registry", details=str(entry.get("resolved", "")))
        architecture = _architecture(entry)
        if architecture is None:
            continue
        if entry.get("hasInstallScript") and name not in without_scripts:
            unnamed.add(name)
        licence = entry.get("license")
        item = NpmPackage(path, name, entry["version"], "", licence if isinstance(licence, str) else "", architecture)
        found.append((item, entry["integrity"]))
    if unnamed:
        raise ImageBuildError(
            f"install scripts are never run, and these packages have one: {', '.join(sorted(unnamed))}",
            resolution="where the image works without it, name the package in npm.without_scripts",
        )
    return found


def unpack(tree: Tree, packages: Iterable[tuple[NpmPackage, Path]], target: str) -> None:
    """Add packages to `tree` under `target`, each at its path, with links to the programs that they declare."""
    for item, archive in packages:
        place = f"{target}/{item.path}"
        archives.unpack(tree, archive, f"{item.package}@{item.version}", place, strip=1)
        bin_directory = f"{target}/{item.path.removesuffix(item.package)}.bin"
        for command, file in sorted(_programs(tree, place, item).items()):
            entry = tree.get(file.lstrip("/"))
            if entry is None or not entry.is_file:
                continue  # like npm, skip a declared program that is missing
            tree.add(file, regular(entry.content, 0o755))
            tree.add(f"{bin_directory}/{command}", symlink(f"../{item.package}{file.removeprefix(place)}"))


def _programs(tree: Tree, place: str, item: NpmPackage) -> dict[str, str]:
    """Absolute paths of the programs by command, as declared in package.json."""
    entry = tree.get(f"{place}/package.json".lstrip("/"))
    try:
        declared = json.loads(entry.read() if entry else b"").get("bin") or {}
    except (ValueError, AttributeError) as error:
        raise ImageBuildError(f"{item.package}@{item.version} has no valid package.json") from error
    if isinstance(declared, str):
        declared = {item.package.rpartition("/")[2]: declared}
    programs = {}
    for command, file in declared.items():
        if "/" in command or command in ("", ".", ".."):
            raise ImageBuildError(f"{item.package}@{item.version}: {command!r} is no name of a program")
        programs[command] = f"{place}/{'/'.join(archives.checked(str(file)))}"
    return programs


def _architecture(entry: Mapping[str, Any]) -> str | None:
    """The only architecture that an entry supports, empty if it supports all, `None` if it supports none."""
    if not _suits(entry.get("os"), "linux") or not _suits(entry.get("libc"), "glibc"):
        return None
    suited = [ours for ours, theirs in CPUS.items() if _suits(entry.get("cpu"), theirs)]
    return "" if len(suited) == len(CPUS) else suited[0] if suited else None


def _suits(stated: list[str] | str | None, value: str) -> bool:
    """npm's rule for `os`, `cpu` and `libc`: a list of allowed values, or of forbidden ones with `!`."""
    values = [stated] if isinstance(stated, str) else list(stated or ())
    allowed = [item for item in values if not item.startswith("!")]
    return f"!{value}" not in values and (not allowed or value in allowed)
