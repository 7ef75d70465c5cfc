"""Parses image references: registry, repository and digest. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from wecityctl.model.images import BUILT_HOST, repository
from wecityctl.policy.objects import Workload

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


def references(workload: Workload) -> Iterator[tuple[str, str]]:
    """Every image of a workload's pods as a full reference, with its user: a container, or an image volume."""
    for container in workload.containers:
        yield f"container {container['name']}", full_reference(str(container.get("image", "")))
    for volume in workload.pod.get("volumes") or ():
        if volume.get("image"):
            yield f"volume {volume['name']}", full_reference(str(volume["image"].get("reference", "")))


def full_reference(image: str) -> str:
    """The reference with its registry, which is docker.io if it has none."""
    first, slash, _ = image.partition("/")
    if not slash:
        return f"docker.io/library/{image}"
    if "." in first or ":" in first or first == "localhost":
        return image
    return f"docker.io/{image}"


def own_repositories(images: Mapping[str, str]) -> frozenset[str]:
    """The repositories of the city's own `images` (references by name).

    They are compared without tags: tags change with each release, and pods of an earlier release may still run.
    """
    return frozenset(repository(full_reference(item)) for item in images.values())


def built_repositories(images: Mapping[str, str]) -> tuple[str, ...]:
    """Those repositories whose images are built here.

    Anybody can use their host in a reference, so it proves nothing.
    """
    return tuple(sorted(item for item in own_repositories(images) if item.startswith(f"{BUILT_HOST}/")))


def has_digest(image: str, built: tuple[str, ...]) -> bool:
    """Whether the reference identifies exactly one image.

    It does by digest, or because the city built the image and no registry can serve it.
    """
    return bool(_DIGEST.search(image)) or repository(image) in built
