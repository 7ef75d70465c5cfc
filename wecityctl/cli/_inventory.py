"""Renders the inventory of a city's images as tables and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from wecityctl.cli._common import console, note, say
from wecityctl.model.words import counted

if TYPE_CHECKING:
    from wecityctl.operations.inventory import Inventory, InventoryImage

# A digest as people compare it.
_DIGITS = len("sha256:") + 12


def show(found: Inventory) -> None:
    """Print the images, what is known against them, and what is not known."""
    from wecityctl.report.tables import new_table, print_table

    for name, error in sorted(found.errors.items()):
        note(f"cloud {name} cannot be read: {error.message}")
    for name in found.stopped:
        note(f"cloud {name} is not running: nothing runs there")
    if found.images:
        table = new_table(("IMAGE", "DIGEST", "FROM", "PACKAGES", "PODS", "USED BY"), right=("PACKAGES", "PODS"))
        for item in found.images:
            table.add_row(
                item.reference,
                ", ".join(digest[:_DIGITS] for digest in item.digests) or "–",
                "built here" if item.recipe else "a registry",
                str(len(item.packages)) if item.recipe else "not known",
                str(item.pods),
                ", ".join(_users(item)),
            )
        print_table(console(), table)
    else:
        note(f"nothing runs of {found.city}")
    _show_findings(found)
    for text in found.notes:
        note(text)


def _show_findings(found: Inventory) -> None:
    from wecityctl.report.tables import new_table, print_table

    if not found.advisories:
        return
    told = f"{counted(found.advisories, 'advisory', 'advisories')}, the newest of {found.newest or 'an unknown time'}"
    if not found.findings:
        say(f"nothing known against what runs ({told})")
        return
    say()
    table = new_table(
        ("SEVERITY", "PACKAGE", "VERSION", "FIXED IN", "ADVISORY", "IMAGES", "SUMMARY"), prose=("SUMMARY",)
    )
    for item in found.findings:
        images = sorted({image.recipe for image in found.images if item in image.findings})
        table.add_row(
            item.severity.value,
            item.package.name,
            item.package.version + ("" if item.match == "affected" else " (cannot be compared)"),
            ", ".join(item.fixed) or "–",
            ", ".join((item.advisory, *item.aliases)),
            ", ".join(images),
            item.summary,
        )
    print_table(console(), table)
    say(f"{counted(len(found.findings), 'finding')} ({told})")


def _users(image: InventoryImage) -> list[str]:
    return sorted({item.owner for item in image.running})


def document(found: Inventory) -> Mapping[str, Any]:
    """The inventory as a JSON document."""
    return {
        "city": found.city,
        "images": [
            {
                "reference": item.reference,
                "digests": list(item.digests),
                "recipe": item.recipe or None,
                "pods": item.pods,
                "running": [asdict(each) for each in item.running],
                "packages": [{**asdict(package), "purl": package.purl} for package in item.packages],
            }
            for item in found.images
        ],
        "findings": [
            {
                "advisory": item.advisory,
                "aliases": list(item.aliases),
                "severity": item.severity.value,
                "match": item.match,
                "package": item.package.purl,
                "fixed": list(item.fixed),
                "summary": item.summary,
                "images": sorted({image.reference for image in found.images if item in image.findings}),
            }
            for item in found.findings
        ],
        "advisories": {"count": found.advisories, "newest": found.newest or None},
        "clouds": {
            "failed": {name: error.message for name, error in sorted(found.errors.items())},
            "stopped": list(found.stopped),
        },
        "notes": list(found.notes),
    }
