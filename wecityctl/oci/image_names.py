"""Computes the names of images before anything is built.

The tag of a built image ends with a digest over its inputs: recipe, files, lock, base, and the builder's format. It
does not depend on what this machine could fetch, so every machine generates the same manifests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wecityctl.errors import ConfigurationError
from wecityctl.model.images import BUILT_HOST
from wecityctl.oci import lock as locks
from wecityctl.oci.lock import Lock
from wecityctl.oci.recipe import GO_SOURCES, LOCK_FILE, RECIPE_FILE, ROOTFS, Recipe, find

# Increase it when the same recipe and lock result in other bytes than before.
BUILDER_FORMAT = "1"
DIGEST_LENGTH = 12

Source = Literal["upstream", "built"]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The recipes and the locks beside them."""

    recipes: tuple[Recipe, ...]

    def recipe(self, name: str) -> Recipe:
        """The recipe called `name`. Raises `ConfigurationError`."""
        return find(self.recipes, name)

    def lock(self, recipe: Recipe) -> Lock:
        """The lock beside the recipe; an empty one if there is none."""
        return locks.read(recipe.directory / LOCK_FILE) or Lock()

    def commit(self, recipe: Recipe, lock: Lock) -> None:
        """Write `lock` beside the recipe, to be committed with it."""
        if recipe.is_locked:
            (recipe.directory / LOCK_FILE).write_text(lock.canonical(), encoding="utf-8")

    def inputs(self, recipe: Recipe) -> str:
        """The SHA-256 over all inputs of the image."""
        digest = hashlib.sha256(f"{BUILDER_FORMAT}\0".encode())
        if recipe.base:
            digest.update(f"base\0{self.inputs(self.recipe(recipe.base))}\0".encode())
        digest.update(self.lock(recipe).inputs().encode())
        for name, content in _files(recipe):
            digest.update(f"\0{name}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()

    def tag(self, recipe: Recipe) -> str:
        """The tag of the built image."""
        return f"{recipe.version}-{self.inputs(recipe)[:DIGEST_LENGTH]}"

    def reference(self, name: str, source: Source, registry: str = "") -> str:
        """The reference for manifests; see `wecityctl.oci.reference`."""
        recipe = self.recipe(name)
        if source == "upstream" and recipe.upstream:
            return rehost(recipe.upstream, registry)
        if source not in ("upstream", "built"):
            raise ConfigurationError(f"images come from upstream or built, not from {source!r}")
        return rehost(f"{BUILT_HOST}/{name}:{self.tag(recipe)}", registry)


def rehost(reference: str, registry: str) -> str:
    """`reference` with its host replaced by `registry` (host, optionally with port and path; empty: unchanged)."""
    prefix = registry.strip().removeprefix("https://").removeprefix("oci://").rstrip("/")
    if not prefix:
        return reference
    return f"{prefix}/{reference.partition('/')[2]}"


def source_files(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files under `root` with their relative paths, sorted, without `__pycache__`."""
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(root).as_posix(), path


def _files(recipe: Recipe) -> Iterator[tuple[str, bytes]]:
    # Comments and `upstream` do not affect the image. Default values are left out, so that a new field changes no
    # digest.
    fields = recipe.model_dump(mode="json", exclude={"upstream"}, exclude_defaults=True)
    yield RECIPE_FILE, json.dumps(fields, sort_keys=True).encode()
    for part in (ROOTFS, GO_SOURCES):
        for name, path in source_files(recipe.directory / part):
            yield f"{part}/{name}", path.read_bytes()
