"""Determines which images a city needs and the references under which its pods pull them.

Nothing is built or pulled here.
"""

from __future__ import annotations

from collections.abc import Mapping

from wecityctl.model.backups import BACKUP_IMAGE
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import City
from wecityctl.model.images import REGISTRY
from wecityctl.model.manifests import catalogue_images, owners
from wecityctl.model.registries import is_in_cluster


def image_references(city: City, catalogue: Catalogue) -> Mapping[str, str]:
    """Return the reference of each image that the capability types in use or the city's apps name, by image name."""
    from wecityctl import oci

    images = city.images
    # A registry of the city's does not come from itself.
    its_own = catalogue[REGISTRY].images if REGISTRY in catalogue and is_in_cluster(images.registry) else ()
    found = {
        name: oci.reference(name, source=images.source, registry="" if name in its_own else images.registry)
        for name in sorted(image_names(city, catalogue))
    }
    return {
        name: f"{reference}@{images.digests[name]}" if name in images.digests and "@" not in reference else reference
        for name, reference in found.items()
    }


def image_names(city: City, catalogue: Catalogue) -> set[str]:
    """Return the names of the catalogue images that this city needs."""
    named = {image for item in city.capabilities for image in catalogue[item.type].images}
    if city.compliance.backup.is_taken and any(catalogue[item.type].backup for item in city.capabilities):
        named.add(BACKUP_IMAGE)
    return named | {name for owner in owners(city) for name in catalogue_images(owner)}
