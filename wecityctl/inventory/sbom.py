"""Bills of materials of images built here, in the format CycloneDX 1.6 (ECMA-424) as JSON."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from wecityctl.inventory.contents import Package

_SPACE = uuid.UUID("5b0f4d0b-3b4e-5d8e-9a53-8a1f0f6f2d65")


def bill_of_materials(name: str, title: str, version: str, reference: str, packages: Iterable[Package]) -> str:
    """The bill of the image `reference`. The same image gives the same text on every machine.

    Packages are those of the image and its bases; the property `wecity:image` names the image that brings each.
    """
    bom = Bom(serial_number=uuid.uuid5(_SPACE, reference))
    # When the text was made says nothing about the image.
    bom.metadata.timestamp = None  # type: ignore[assignment]
    bom.metadata.component = Component(
        name=name, version=version, type=ComponentType.CONTAINER, description=title, bom_ref=reference
    )
    for item in packages:
        bom.components.add(
            Component(
                name=item.name,
                version=item.version,
                type=ComponentType.LIBRARY,
                bom_ref=f"{item.purl}#{item.image}",
                purl=PackageURL.from_string(item.purl),
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=item.sha256)] if item.sha256 else [],
                licenses=[DisjunctiveLicense(name=item.licence)] if item.licence else [],
                properties=[Property(name="wecity:image", value=item.image)],
            )
        )
    bom.register_dependency(bom.metadata.component, bom.components)
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
