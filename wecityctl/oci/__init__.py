"""Images built on the site from package registries alone, and the references that manifests use.

Others ask here for references (`reference`, nothing is built) and for archives (`ensure`); the rest is its own.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from pathlib import Path

from stacks.catalogue import image_recipes
from wecityctl.errors import ConfigurationError
from wecityctl.oci.builder import Builder, ImageEvent, Locking, Phase, Report
from wecityctl.oci.identity import Catalogue, Source, rehost
from wecityctl.oci.recipe import Recipe, RecipeError, load_catalogue
from wecityctl.oci.store import BuiltImage, Store
from wecityctl.oci.tree import ImageBuildError
from wecityctl.paths import cache_dir, recipe_dir
from wecityctl.toolchain.settings import is_set

__all__ = [
    "BuiltImage",
    "ImageBuildError",
    "ImageEvent",
    "Locking",
    "Phase",
    "Recipe",
    "RecipeError",
    "Report",
    "Source",
    "catalogue",
    "ensure",
    "reference",
    "rehost",
    "silent",
    "stored",
]

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def catalogue() -> tuple[Recipe, ...]:
    """Every image there is a recipe of, by name."""
    return load_catalogue(recipe_dir(), image_recipes())


def reference(name: str, *, source: Source, registry: str = "") -> str:
    """The reference of an image for manifests. Nothing is built or fetched; raises `ConfigurationError`.

    `upstream` gives the pinned public reference – the built one's for images that are ours alone – and `built` the
    name of what `ensure` builds. `registry` replaces the host part, for a private mirror.
    """
    return _catalogue().reference(name, source, registry)


def ensure(
    names: Iterable[str], report: Report | None = None, *, locking: Locking = Locking.PREFER
) -> dict[str, BuiltImage]:
    """The named images, built where they are not in the store yet; raises `ImageBuildError`.

    With `Locking.PREFER` versions that are served no more are replaced by today's, said as a `NOTICE` event and kept in
    the image's `lock_file`; its reference stays what `reference` says.
    """
    return _builder(locking).ensure(names, report or silent)


def stored() -> list[BuiltImage]:
    """Every built image on this machine, the newest build of each name first."""
    return Store(_root() / "store").all()


def silent(_: ImageEvent) -> None:
    """A report that says nothing."""


def _root() -> Path:
    return cache_dir() / "images"


def _catalogue() -> Catalogue:
    return Catalogue(catalogue())


def _builder(locking: Locking) -> Builder:
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise ConfigurationError(
            f"images cannot be built on {platform.machine()}", resolution="use images.source: upstream"
        )
    return Builder(
        _catalogue(),
        Store(_root() / "store"),
        _root() / "downloads",
        machine,
        dict(os.environ),
        offline=is_set("WECITYCTL_OFFLINE", os.environ),
        locking=locking,
    )
