"""The images that every real node needs, whatever runs on it: pause and DNS. Finds them; builds and imports nothing."""

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
    """Everything to be imported, and the reference by which the DNS server is run."""

    archives: tuple[ImageRef, ...]
    dns: str


def standard_images(given: Collection[ImageRef], have: Mapping[str, Present]) -> StandardImages:
    """Looks among the images given, then for the newest built on this machine, then at what containerd has already.

    The sandbox's image goes by a fixed name, since containerd's configuration is written before any image is known.
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
    """The last part of a repository: `coredns` of `registry.example/dns/coredns:1@sha256:…`."""
    return reference.partition("@")[0].rpartition("/")[2].partition(":")[0]


def _find(name: str, given: Collection[ImageRef]) -> ImageRef | None:
    for image in given:
        if _name(image.reference) == name:
            return image
    # The store's own format (`wecityctl.oci.store`), read here because neither package may know the other.
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
