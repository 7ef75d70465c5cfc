"""The images that every real node needs, whatever runs on it: pause and DNS. Finds their archives; builds nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wecityctl.errors import DeploymentError
from wecityctl.local.node.configure import PAUSE_IMAGE
from wecityctl.local.spec import ImageRef
from wecityctl.paths import cache_dir

DNS_IMAGE = "docker.io/wecity/coredns:1"


@dataclass(frozen=True, slots=True)
class StandardImages:
    """The sandbox's image and the DNS server's."""

    pause: ImageRef
    dns: ImageRef

    @property
    def all(self) -> tuple[ImageRef, ...]:
        """Both."""
        return (self.pause, self.dns)


def standard_images() -> StandardImages:
    """Their newest archives in the image cache."""
    return StandardImages(_find("pause", PAUSE_IMAGE), _find("coredns", DNS_IMAGE))


def _find(name: str, reference: str) -> ImageRef:
    directory = cache_dir() / "images" / name
    archives = sorted(directory.glob("*.tar"), key=lambda path: path.stat().st_mtime) if directory.is_dir() else []
    if not archives:
        raise DeploymentError(
            f"the image {name} has not been built yet", details=str(directory), resolution="wecityctl images build"
        )
    return ImageRef(reference, Path(archives[-1]))
