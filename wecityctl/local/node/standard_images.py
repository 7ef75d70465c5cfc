"""Finds the images that every real node needs: pause and CoreDNS. Builds and imports nothing."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from wecityctl.errors import DeploymentError
from wecityctl.local.node.configure import PAUSE_IMAGE
from wecityctl.local.node.images import Present
from wecityctl.local.spec import ImageRef
from wecityctl.paths import cache_dir


@dataclass(frozen=True, slots=True)
class StandardImages:
    """All images to import, and the reference of the DNS server's image."""

    archives: tuple[ImageRef, ...]
    dns: str


def standard_images(given: Collection[ImageRef], have: Mapping[str, Present]) -> StandardImages:
    """Look for each image among those given, then for the newest build on this machine, then in containerd.

    The pause image has a fixed name, because containerd's configuration is written before any image is known.
    """
    pause, dns = _find("pause", given), _find("coredns", given)
    archives = [image for image in given if image is not pause]
    if pause is not None:
        archives.append(replace(pause, reference=PAUSE_IMAGE))
    elif PAUSE_IMAGE not in have:
        raise _not_built("pause")
    if dns is not None:
        archives += () if dns in given else (dns,)
        return StandardImages(tuple(archives), dns.reference)
    known = sorted(name for name in have if _name(name) == "coredns" and "@" not in name)
    if not known:
        raise _not_built("coredns")
    return StandardImages(tuple(archives), known[-1])


def _name(reference: str) -> str:
    """The last part of a repository name: `coredns` of `registry.example/dns/coredns:1@sha256:…`."""
    return reference.partition("@")[0].rpartition("/")[2].partition(":")[0]


def _find(name: str, given: Collection[ImageRef]) -> ImageRef | None:
    for image in given:
        if _name(image.reference) == name:
            return image
    # The format of `wecityctl.oci.store`, read here because the two packages must not depend on each other.
    records = sorted((cache_dir() / "images" / "store" / name).glob("*/image.json"), key=_modified, reverse=True)
    for record in records:
        archive = record.with_name("image.tar")
        try:
            value = json.loads(record.read_text())
            if archive.stat().st_size == value["size"]:
                return ImageRef(value["reference"], archive, value["digest"])
        except (OSError, ValueError, KeyError):
            continue
    return None


def _modified(path: Path) -> int:
    return path.stat().st_mtime_ns


def _not_built(name: str) -> DeploymentError:
    return DeploymentError(
        f"the image {name}, which the node itself needs, has not been built",
        details=str(cache_dir() / "images"),
        resolution=f"wecityctl images build {name}",
    )
