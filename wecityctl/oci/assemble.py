"""Assembles the layer of one image from its recipe, its lock and files that were already fetched."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from wecityctl.oci import archives, bytecode, certificates, deb, maven, npm, programs, steps, wheels
from wecityctl.oci.elf import missing_libraries
from wecityctl.oci.image_names import source_files
from wecityctl.oci.lock import Lock, NpmPackage
from wecityctl.oci.recipe import GENERATED_FILE, ROOTFS, Maven, Recipe, User
from wecityctl.oci.tree import Entry, ImageBuildError, Tree, directory, merge_links, regular, symlink

STATUS_DIRECTORY = "var/lib/dpkg/status.d"
# Lists what came from registries other than Debian's, whose packages have records of their own.
ARTEFACTS_FILE = "usr/share/doc/{}/artefacts.json"


@dataclass(frozen=True, slots=True)
class Ingredients:
    """The fetched files of one image, its lock, and a scratch directory to work in."""

    debs: Mapping[str, Path]
    wheels: Sequence[Path]
    architecture: str
    scratch: Path
    environment: Mapping[str, str]
    lock: Lock = field(default_factory=Lock)
    maven: Mapping[str, Path] = field(default_factory=dict)
    npm: Sequence[tuple[NpmPackage, Path]] = ()


def assemble(recipe: Recipe, below: dict[str, Entry], from_what: Ingredients) -> Tree:
    """The image's own files over `below`, the files of its base. Raises `ImageBuildError`."""
    tree = add_packages(recipe, below, from_what)
    if recipe.run:
        steps.add(tree, recipe, from_what.lock, recipe.directory / GENERATED_FILE)
    for name, source in source_files(recipe.directory / ROOTFS):
        tree.add(name, regular(source.read_bytes()))
    if recipe.user:
        _add_user(tree, recipe.user)
    for item in recipe.directories:
        tree.add(item.path, directory(int(item.mode, 8), item.uid, item.gid))
    for path, target in recipe.links.items():
        tree.add(path, symlink(target))
    for path in recipe.executables:
        _make_executable(tree, path)
    _finish(tree, recipe, from_what)
    return tree


def add_packages(recipe: Recipe, below: dict[str, Entry], from_what: Ingredients) -> Tree:
    """Add what comes from registries over `below`; this is what a recipe's `run` sees."""
    tree = Tree(below)
    if recipe.debian:
        _add_debian(tree, recipe, from_what)
    _add_program(tree, recipe, from_what)
    if recipe.python:
        for wheel in from_what.wheels:
            wheels.unpack(tree, wheel, recipe.python)
    if recipe.maven:
        _add_maven(tree, recipe.maven, from_what)
    if recipe.npm:
        npm.unpack(tree, from_what.npm, recipe.npm.target)
    if recipe.certificates:
        certificates.add(tree, recipe.certificates)
    if artefacts := _artefacts(from_what):
        tree.add(ARTEFACTS_FILE.format(recipe.name), regular(artefacts))
    return tree


def _add_maven(tree: Tree, wanted: Maven, from_what: Ingredients) -> None:
    jars = dict(from_what.maven)
    for item in wanted.archives:
        archive = jars.pop(item.artifact)
        archives.unpack(tree, archive, item.artifact, item.target, strip=item.strip, drop=item.drop)
    if wanted.classpath:
        maven.add_class_path(tree, wanted.classpath.target, jars)


def _artefacts(from_what: Ingredients) -> bytes:
    """Name, version, SHA-256 and licence of everything that no package database in the image lists; empty without
    any.
    """
    lock, architecture = from_what.lock, from_what.architecture
    # Images whose wheels were locked without licences must keep their bytes.
    wheels_with_licence = [item for item in lock.wheels(architecture) if item.licence]
    found = {
        "maven": [asdict(item) for item in lock.maven],
        "npm": [asdict(item) for item in lock.npm_packages(architecture)],
        "python": [asdict(item) for item in wheels_with_licence],
    }
    document = {kind: items for kind, items in found.items() if items}
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode() if document else b""


def _add_debian(tree: Tree, recipe: Recipe, from_what: Ingredients) -> None:
    assert recipe.debian is not None
    if not recipe.base:
        tree.own |= merge_links()
    for name, package in sorted(from_what.debs.items()):
        deb.unpack(tree, package, recipe.debian.drop, recipe.debian.only.get(name))
        tree.add(f"{STATUS_DIRECTORY}/{name}", regular(deb.control(package)))


def _add_program(tree: Tree, recipe: Recipe, from_what: Ingredients) -> None:
    for go in recipe.go:
        program = programs.build(go, recipe.directory, from_what.architecture, from_what.scratch, from_what.environment)
        tree.add(go.output, regular(program, 0o755))
    if recipe.part:
        tree.add(recipe.part.output, regular(programs.part(recipe.part, from_what.architecture), 0o755))


def _add_user(tree: Tree, user: User) -> None:
    lines = {
        "etc/passwd": f"{user.name}:x:{user.uid}:{user.gid}:{user.name}:{user.home}:/usr/sbin/nologin\n",
        "etc/group": f"{user.name}:x:{user.gid}:\n",
    }
    for path, line in lines.items():
        entry = tree.get(path)
        if entry is None:
            raise ImageBuildError(f"the base has no /{path} to add {user.name} to")
        tree.add(path, regular(entry.read() + line.encode()))


def _make_executable(tree: Tree, path: str) -> None:
    name = path.lstrip("/")
    entry = tree.own.get(name)
    if entry is None or not entry.is_file:
        raise ImageBuildError(f"{path} is to be executable, but is no file of this image")
    tree.own[name] = regular(entry.content, 0o755)


def _finish(tree: Tree, recipe: Recipe, from_what: Ingredients) -> None:
    if recipe.python and recipe.python.bytecode:
        bytecode.compile_sources(
            tree, recipe.python.version, recipe.python.bytecode, from_what.architecture, from_what.scratch
        )
    if problems := missing_libraries(tree, from_what.architecture, recipe.libraries):
        raise ImageBuildError(
            f"programs in {recipe.name} would not start: libraries are missing",
            details="\n".join(problems),
            resolution="take the package out of `without`, or drop the program",
        )
    if recipe.debian and (stale := _dead_patterns(recipe.debian.drop)):
        raise ImageBuildError(f"{recipe.name}: patterns in drop must be absolute: {', '.join(stale)}")


def _dead_patterns(patterns: Sequence[str]) -> list[str]:
    return [pattern for pattern in patterns if not pattern.startswith("/")]
