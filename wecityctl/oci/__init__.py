"""Builds container images on the site from package registries only, and provides the references for manifests.

Other packages use `reference`, which builds nothing, and `ensure`, which returns archives.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from pathlib import Path

from stacks.catalogue import image_recipes
from wecityctl.errors import ConfigurationError
from wecityctl.oci.builder import Builder, ImageEvent, Locking, Phase, Report
from wecityctl.oci.image_names import Catalogue, Source, rehost
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
    """All recipes, sorted by name."""
    return load_catalogue(recipe_dir(), image_recipes())


def reference(name: str, *, source: Source, registry: str = "") -> str:
    """The reference of an image for manifests. Builds and fetches nothing. Raises `ConfigurationError`.

    `upstream` gives the pinned public reference, or that of the built image if there is no upstream image. `built`
    gives the name of the image that `ensure` builds. `registry` replaces the host part, for a private mirror.
    """
    return _catalogue().reference(name, source, registry)


def ensure(
    names: Iterable[str], report: Report | None = None, *, locking: Locking = Locking.PREFER
) -> dict[str, BuiltImage]:
    """Build the named images that are not in the store yet. Raises `ImageBuildError`.

    With `Locking.PREFER`, versions that are no longer available are replaced by current ones. A `NOTICE` event reports
    this and the image's `lock_file` records it; the reference stays the one that `reference` returns.
    """
    return _builder(locking).ensure(names, report or silent)


def stored() -> list[BuiltImage]:
    """All built images on this machine, for each name the newest build first."""
    return Store(_root() / "store").all()


def silent(_: ImageEvent) -> None:
    """Discard progress events."""


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
