"""`images`: builds images, lists them, and loads them into the real node of an embedded cloud."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wecityctl import oci
from wecityctl.errors import ConfigurationError
from wecityctl.oci import BuiltImage, ImageEvent, Locking, Recipe

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["BuiltImage", "ImageEvent", "ImageState", "Locking", "build_images", "list_images", "load_images"]

Report = Callable[[ImageEvent], None]


@dataclass(frozen=True, slots=True)
class ImageState:
    """A recipe, the reference of its image, and that image if it is built."""

    recipe: Recipe
    reference: str
    built: BuiltImage | None


def build_images(names: Sequence[str], locking: Locking, report: Report) -> tuple[BuiltImage, ...]:
    """Build the named images, or all, that are not built yet; return them. Raises `ImageBuildError`."""
    return tuple(oci.ensure(names or _all_names(), report, locking=locking).values())


def list_images() -> tuple[ImageState, ...]:
    """Return every recipe with its image on this machine. Builds nothing."""
    built = {image.reference: image for image in oci.stored()}
    rows = ((recipe, oci.reference(recipe.name, source="built")) for recipe in oci.catalogue())
    return tuple(ImageState(recipe, reference, built.get(reference)) for recipe, reference in rows)


def load_images(cloud: str, names: Sequence[str], report: Report) -> tuple[str, ...]:
    """Load the named images, or all, into the node of a running embedded cloud, built first where they are not.

    Returns the references that the node did not have. Raises `ConfigurationError` if the cloud does not run or its
    nodes are simulated, and `ImageBuildError`.
    """
    from wecityctl.local.node.images import load
    from wecityctl.local.spec import ImageRef

    socket = _containerd_of(cloud)
    images = build_images(names, Locking.PREFER, report)
    return tuple(load(socket, [ImageRef(image.reference, image.archive, image.digest) for image in images]))


def _all_names() -> list[str]:
    return [recipe.name for recipe in oci.catalogue()]


def _containerd_of(name: str) -> Path:
    """Return the containerd socket of the cloud's real node. Raises `ConfigurationError` if it has none."""
    from wecityctl.local import assembly
    from wecityctl.local import cloud as clouds
    from wecityctl.local.node.configure import Node
    from wecityctl.local.spec import silent

    found = assembly.load(name, silent)
    if not clouds.is_running(name):
        raise ConfigurationError(f"cloud {name} does not run", resolution=f"wecityctl local start --name {name}")
    if found.state.spec.nodes != "real":
        raise ConfigurationError(f"the nodes of cloud {name} are simulated: they hold no images")
    return Node.of(found.context).layout.containerd_socket
