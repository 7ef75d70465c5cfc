"""The packages in the images that are built here, read from the locks and the Go modules beside the recipes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from packageurl import PackageURL

from wecityctl.oci.image_names import Catalogue
from wecityctl.oci.lock import Lock
from wecityctl.oci.recipe import GO_SOURCES, Recipe, coordinates, with_bases

# The numbers by which advisories know the releases of Debian.
_RELEASES = {"bullseye": "11", "bookworm": "12", "trixie": "13", "forky": "14"}
_REQUIRED = re.compile(r"^\s*(?:require\s+)?([^\s()]+)\s+(v[^\s]+)(?:\s*//.*)?$")


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """A package in an image. `ecosystem` is that of the OSV schema, for Debian with the release: `Debian:12`.

    `source` and `source_version` are those by which advisories know it; they differ from `name` and `version` only for
    Debian. `image` is the image whose recipe brings it: the image itself, or one of its bases.
    """

    ecosystem: str
    name: str
    version: str
    source: str
    source_version: str
    image: str
    licence: str = ""
    sha256: str = ""
    architecture: str = ""

    @property
    def purl(self) -> str:
        """Its package URL."""
        kind, _, release = self.ecosystem.partition(":")
        match kind:
            case "Debian":
                qualifiers = {"arch": self.architecture, "distro": f"debian-{release}"}
                return PackageURL("deb", "debian", self.name, self.version, qualifiers).to_string()
            case "Maven":
                group, _, artifact = self.name.partition(":")
                return PackageURL("maven", group, artifact, self.version).to_string()
            case "npm":
                scope, _, name = self.name.rpartition("/")
                return PackageURL("npm", scope or None, name, self.version).to_string()
            case "Go":
                namespace, _, name = self.name.rpartition("/")
                return PackageURL("golang", namespace or None, name, self.version).to_string()
            case _:
                return PackageURL("pypi", None, self.name.lower(), self.version).to_string()


@dataclass(frozen=True)
class Contents:
    """Reads what is in images. `modules` is the directory with the Go modules of toolchain parts."""

    catalogue: Catalogue
    modules: Path
    _cache: dict[tuple[str, str], tuple[Package, ...]] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def names(self) -> frozenset[str]:
        """The images that there are recipes for."""
        return frozenset(item.name for item in self.catalogue.recipes)

    def packages(self, image: str, architecture: str) -> tuple[Package, ...]:
        """The packages of an image and its bases, sorted. Raises `ConfigurationError` for an unknown image."""
        found = self._cache.get((image, architecture))
        if found is None:
            recipes = with_bases(self.catalogue.recipes, (image,))
            packages = {item for recipe in recipes for item in self._own(recipe, architecture, _suite(recipes))}
            found = self._cache[image, architecture] = tuple(sorted(packages))
        return found

    def _own(self, recipe: Recipe, architecture: str, suite: str) -> Iterator[Package]:
        lock = self.catalogue.lock(recipe)
        yield from _debian(recipe, lock, architecture, suite)
        yield from _others(recipe, lock, architecture)
        module = recipe.directory / GO_SOURCES if recipe.go else None
        if recipe.part is not None:
            module = self.modules / recipe.part.name
        if module is not None and (module / "go.mod").is_file():
            for name, version in required_modules((module / "go.mod").read_text(encoding="utf-8")):
                yield _plain("Go", name, version, recipe.name)


def required_modules(text: str) -> Iterator[tuple[str, str]]:
    """Yield module and version of all requirements of a go.mod, indirect ones included.

    A program contains no others, but may do without some of them.
    """
    inside = False
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("require ("):
            inside = True
        elif stripped == ")":
            inside = False
        elif (inside or stripped.startswith("require ")) and (found := _REQUIRED.match(line)):
            yield found[1], found[2]


def _suite(recipes: tuple[Recipe, ...]) -> str:
    return next((recipe.debian.suite for recipe in recipes if recipe.debian is not None), "")


def _debian(recipe: Recipe, lock: Lock, architecture: str, suite: str) -> Iterator[Package]:
    release = _RELEASES.get(recipe.debian.suite if recipe.debian else suite, "")
    for item in lock.debian.get(architecture, ()):
        source, _, version = item.source.partition("=")
        yield Package(
            f"Debian:{release}" if release else "Debian",
            item.package,
            item.version,
            source or item.package,
            version or item.version,
            recipe.name,
            sha256=item.sha256,
            architecture=architecture,
        )


def _others(recipe: Recipe, lock: Lock, architecture: str) -> Iterator[Package]:
    for wheel in lock.wheels(architecture):
        yield _plain("PyPI", wheel.project, wheel.version, recipe.name, wheel.licence, wheel.sha256)
    for artifact in lock.maven:
        group, name, version, *_ = coordinates(artifact.artifact)
        yield _plain("Maven", f"{group}:{name}", version, recipe.name, artifact.licence, artifact.sha256)
    for package in lock.npm_packages(architecture):
        yield _plain("npm", package.package, package.version, recipe.name, package.licence, package.sha256)


def _plain(ecosystem: str, name: str, version: str, image: str, licence: str = "", sha256: str = "") -> Package:
    return Package(ecosystem, name, version, name, version, image, licence, sha256)
