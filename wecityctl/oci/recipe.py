"""Recipes of images: one strictly validated YAML file per image, and the files beside it.

This module only reads recipes. Versions of packages are in locks (`lock`); `builder` builds.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from wecityctl.errors import ConfigurationError
from wecityctl.guesses import nearest

RECIPE_FILE = "image.yaml"
LOCK_FILE = "lock.json"
ROOTFS = "rootfs"
GENERATED_FILE = "generated.tar.xz"
GO_SOURCES = "go"

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._]*")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_PINNED_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][0-9A-Za-z.+!]*")
_REFERENCE = re.compile(r"[a-z0-9.-]+\.[a-z]+(:\d+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_WORD = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_COORDINATES = re.compile(rf"{_WORD}:{_WORD}:[0-9A-Za-z][0-9A-Za-z.+_-]*(:[a-z0-9][a-z0-9.-]*(:{_WORD})?)?")
_EXCLUSION = re.compile(rf"{_WORD}:({_WORD}|\*)")
_NPM_NAME = r"(@[a-z0-9~-][a-z0-9._~-]*/)?[A-Za-z0-9~-][A-Za-z0-9._~-]*"
_NPM_PACKAGE = re.compile(_NPM_NAME)
_NPM_REQUIREMENT = re.compile(rf"{_NPM_NAME}@[0-9]+\.[0-9]+\.[0-9]+[0-9A-Za-z.+-]*")
ARCHIVE_TYPES = ("zip", "tar.gz")
MAX_STRIP = 8


class RecipeError(ConfigurationError):
    """A recipe is invalid."""


def _matching(pattern: re.Pattern[str], what: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(f"{value!r} is not {what}")
        return value

    return AfterValidator(check)


def _absolute(value: str) -> str:
    if not value.startswith("/") or value != "/" + "/".join(
        part for part in value.split("/") if part not in ("", ".", "..")
    ):
        raise ValueError(f"{value!r} is not a plain absolute path")
    return value


Name = Annotated[str, _matching(_NAME, "a name of lower-case words joined by hyphens")]
Package = Annotated[str, _matching(_PACKAGE, "the name of a Debian package")]
Requirement = Annotated[str, _matching(_PINNED_REQUIREMENT, "a requirement such as name==1.2.3")]
AbsolutePath = Annotated[str, AfterValidator(_absolute)]
Coordinates = Annotated[str, _matching(_COORDINATES, "of the form group:artifact:version[:type[:classifier]]")]
Exclusion = Annotated[str, _matching(_EXCLUSION, "of the form group:artifact or group:*")]
NpmName = Annotated[str, _matching(_NPM_PACKAGE, "the name of an npm package")]
NpmRequirement = Annotated[str, _matching(_NPM_REQUIREMENT, "an npm package with its exact version, name@1.2.3")]
Pattern = Annotated[str, Field(pattern=r"^/")]
Identifier = Annotated[int, Field(ge=0, le=2**31 - 1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Debian(_Strict):
    """Packages from the machine's Debian sources, with their dependencies.

    `without` names packages to leave out together with dependencies that only they need. `drop` are shell patterns for
    absolute paths, in which `*` also matches slashes. `only` names, by package, the files that are taken, as paths in
    the image; the copyright file is added to them.
    """

    suite: str
    packages: tuple[Package, ...] = Field(min_length=1)
    without: tuple[Package, ...] = ()
    drop: tuple[str, ...] = ()
    only: dict[Package, Annotated[tuple[AbsolutePath, ...], Field(min_length=1)]] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Debian:
        if unknown := sorted(set(self.only) - set(self.packages)):
            raise ValueError(f"only: {', '.join(unknown)} is not among the packages")
        return self


class Python(_Strict):
    """Distributions from the Python package index, as wheels for the image's Python.

    Only pure wheels, unless `native` allows those for the image's architecture and C library. With `prefix`, programs
    that a wheel contains or declares are put into `prefix`/bin, and its data files under `prefix`.
    """

    version: str
    target: AbsolutePath
    requirements: tuple[Requirement, ...]
    bytecode: tuple[AbsolutePath, ...] = ()
    native: bool = False
    prefix: AbsolutePath | None = None


class MavenArchive(_Strict):
    """An archive of a Maven repository, unpacked under `target` without the first `strip` directories of its paths.

    `drop` are shell patterns for absolute paths in the image, in which `*` also matches slashes.
    """

    artifact: Coordinates
    target: AbsolutePath
    strip: Annotated[int, Field(ge=0, le=MAX_STRIP)] = 0
    drop: tuple[Pattern, ...] = ()

    @model_validator(mode="after")
    def _is_archive(self) -> MavenArchive:
        if coordinates(self.artifact)[3] not in ARCHIVE_TYPES:
            raise ValueError(f"artifact: {self.artifact} is none of the types {', '.join(ARCHIVE_TYPES)}")
        return self


class ClassPath(_Strict):
    """Jars of a Maven repository in one directory, with their runtime dependencies unless `transitive` is false.

    `boms` set versions like Maven's import scope. `without` names artefacts to leave out together with dependencies
    that only they need.
    """

    target: AbsolutePath
    artifacts: tuple[Coordinates, ...] = Field(min_length=1)
    boms: tuple[Coordinates, ...] = ()
    without: tuple[Exclusion, ...] = ()
    transitive: bool = True


class Maven(_Strict):
    """Artefacts of the machine's Maven repository."""

    archives: tuple[MavenArchive, ...] = ()
    classpath: ClassPath | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Maven:
        names = [item.artifact for item in self.archives]
        if not names and self.classpath is None:
            raise ValueError("one of archives or classpath is needed")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"archives: {', '.join(twice)} is given twice")
        return self


class Npm(_Strict):
    """Packages of the npm registry with their dependencies, in `target`/node_modules.

    Install scripts are never run. A package with one is rejected unless `without_scripts` names it, which states that
    the image works without the script.
    """

    target: AbsolutePath
    packages: tuple[NpmRequirement, ...] = Field(min_length=1)
    without_scripts: tuple[NpmName, ...] = ()


class Certificates(_Strict):
    """Where to write the certificates of Debian's `ca-certificates`: as one PEM file, as a Java key store."""

    pem: AbsolutePath | None = None
    java: AbsolutePath | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Certificates:
        if not (self.pem or self.java):
            raise ValueError("one of pem or java is needed")
        return self


class Run(_Strict):
    """A program of the image that generates files. It runs when the lock is written and never during a build.

    `outputs` are the absolute paths of the files and directories to keep.
    """

    command: tuple[str, ...] = Field(min_length=1)
    outputs: tuple[AbsolutePath, ...] = Field(min_length=1)
    environment: dict[Annotated[str, _matching(_VARIABLE, "the name of an environment variable")], str] = {}


class Go(_Strict):
    """A static program built from the Go sources in `go/` beside the recipe."""

    package: str = "."
    output: AbsolutePath


def _several(value: object) -> object:
    """One program is written without a list."""
    return (value,) if isinstance(value, dict) else value


class Part(_Strict):
    """A program of a toolchain part, so that it is built once for the machine and the image."""

    name: str
    binary: str
    output: AbsolutePath


class User(_Strict):
    """The numeric user that the image runs as, with the same numbers as the upstream image if there is one."""

    name: Name
    uid: Identifier
    gid: Identifier
    home: AbsolutePath


class Directory(_Strict):
    """A directory with its own mode (octal text) and owner (uid and gid)."""

    path: AbsolutePath
    mode: Annotated[str, _matching(re.compile(r"[01]?[0-7]{3}"), "an octal mode such as 0755")] = "755"
    uid: Identifier = 0
    gid: Identifier = 0


class Recipe(_Strict):
    """One image. `directory` contains the recipe and its files.

    `libraries` are directories from which programs explicitly load libraries before others that need them, as Java's
    virtual machine does. The check for missing libraries also searches them.
    """

    name: Name
    title: str = Field(min_length=1)
    version: Annotated[str, _matching(_VERSION, "a version that may stand in a tag")]
    licence: str = Field(min_length=1)
    upstream: Annotated[str, _matching(_REFERENCE, "a full reference with host and tag")] | None = None
    base: Name | None = None
    debian: Debian | None = None
    python: Python | None = None
    maven: Maven | None = None
    npm: Npm | None = None
    certificates: Certificates | None = None
    run: Run | None = None
    go: Annotated[tuple[Go, ...], BeforeValidator(_several)] = ()
    part: Part | None = None
    user: User | None = None
    directories: tuple[Directory, ...] = ()
    links: dict[AbsolutePath, str] = {}
    executables: tuple[AbsolutePath, ...] = ()
    libraries: tuple[AbsolutePath, ...] = ()
    environment: dict[Annotated[str, _matching(_VARIABLE, "the name of an environment variable")], str] = {}
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    stop_signal: Annotated[str, _matching(re.compile(r"SIG[A-Z0-9]+"), "a signal such as SIGTERM")] = "SIGTERM"
    ports: tuple[Annotated[int, Field(gt=0, lt=65536)], ...] = ()
    workdir: AbsolutePath = "/"
    directory: Path = Field(exclude=True)

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.python and not (self.base or self.debian):
            raise ValueError("python: needs an interpreter, so the image needs a base or Debian packages")
        if self.user and not self.base:
            raise ValueError("user: is added to the base's users, so the image needs a base")
        if self.run and not (self.base or self.debian):
            raise ValueError("run: needs programs, so the image needs a base or Debian packages")
        if not (self.debian or self.go or self.part or self.base or self.maven or self.npm):
            raise ValueError("nothing goes into the image: one of debian, maven, npm, go, part or base is needed")
        return self

    @property
    def is_locked(self) -> bool:
        """Whether the image has packages, and therefore a lock."""
        return bool(self.debian or self.python or self.maven or self.npm)


@lru_cache(maxsize=8)
def load_catalogue(directory: Path, others: tuple[tuple[str, Path], ...] = ()) -> tuple[Recipe, ...]:
    """All recipes, by name: those in subdirectories of `directory`, and the `others` (name, file).

    Raises `RecipeError`. Read once per process, because the files are part of installed packages.
    """
    found = [(path.parent.name, path) for path in directory.glob(f"*/{RECIPE_FILE}")] + list(others)
    for name, path in found:
        if twice := [other for known, other in found if known == name and other != path]:
            raise RecipeError(f"{path}: an image {name!r} has a recipe already: {twice[0]}")
    recipes = tuple(load_recipe(path, name) for name, path in sorted(found))
    _check_bases(recipes)
    return recipes


def load_recipe(path: Path, name: str = "") -> Recipe:
    """Read one recipe, called `name` or else like its directory. Raises `RecipeError` with all problems."""
    expected = name or path.parent.name
    try:
        document: Any = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506 - a safe loader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"{path}: cannot be read as YAML", details=str(error)) from error
    if not isinstance(document, dict):
        raise RecipeError(f"{path}: a recipe is a mapping")
    if "directory" in document:
        raise RecipeError(f"{path}: unknown field: directory")
    try:
        recipe = Recipe.model_validate({**_tuples(document), "directory": path.parent})
    except ValidationError as error:
        problems = "\n".join(f"{_place(item['loc'])}: {item['msg']}" for item in error.errors())
        raise RecipeError(f"{path}: not a valid recipe", details=problems) from error
    if recipe.name != expected:
        what = "that of its capability" if name and path.parent.name != name else "the name of its directory"
        raise RecipeError(f"{path}: name: {recipe.name!r} is not {what}, {expected!r}")
    return recipe


def find(recipes: tuple[Recipe, ...], name: str) -> Recipe:
    """The recipe called `name`. Raises `ConfigurationError` with the available names."""
    for recipe in recipes:
        if recipe.name == name:
            return recipe
    known = [recipe.name for recipe in recipes]
    near = nearest(name, known)
    raise ConfigurationError(
        f"there is no image called {name!r}",
        details="there are: " + ", ".join(known),
        resolution=f"did you mean {near!r}?" if near else "`wecityctl images list` shows them",
    )


def with_bases(recipes: tuple[Recipe, ...], names: tuple[str, ...]) -> tuple[Recipe, ...]:
    """The named recipes and their bases, bases first, without repeats."""
    ordered: list[Recipe] = []
    for name in names:
        chain = [find(recipes, name)]
        while chain[-1].base:
            chain.append(find(recipes, chain[-1].base))
        ordered.extend(recipe for recipe in reversed(chain) if recipe not in ordered)
    return tuple(ordered)


def coordinates(text: str) -> tuple[str, str, str, str, str]:
    """Group, artefact, version, type and classifier of Maven coordinates. Default: a jar without a classifier."""
    group, artifact, version, *rest = text.split(":")
    return group, artifact, version, rest[0] if rest else "jar", rest[1] if len(rest) > 1 else ""


class _StrictLoader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """A safe loader that rejects duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)  # type: ignore[no-any-return]


def _check_bases(recipes: tuple[Recipe, ...]) -> None:
    names = {recipe.name: recipe for recipe in recipes}
    for recipe in recipes:
        seen = [recipe.name]
        while (base := names[seen[-1]].base) is not None:
            if base not in names or base in seen:
                problem = "is its own base" if base in seen else "is no image"
                raise RecipeError(f"{recipe.directory / RECIPE_FILE}: base: {base!r} {problem}")
            seen.append(base)


def _tuples(value: Any) -> Any:
    """Convert YAML lists to tuples, which strict validation requires."""
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "the recipe"
