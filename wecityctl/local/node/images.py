"""Imports image archives into the kubelet's namespace of containerd, once each, and pins them against removal.

Archives are provided by the caller; nothing is pulled.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from wecityctl import cancellation
from wecityctl.errors import DeploymentError
from wecityctl.local.spec import ImageRef
from wecityctl.toolchain import locate

NAMESPACE = "k8s.io"
# The kubelet does not remove pinned images. Our own label names the archive from which an image was imported.
_PINNED = "io.cri-containerd.pinned=pinned"
_ORIGIN = "wecity.dev/archive"


@dataclass(frozen=True, slots=True)
class Present:
    """An image in containerd."""

    reference: str
    digest: str
    origin: str


def canonical(reference: str) -> str:
    """The full name to which the runtime resolves a reference: `web:1` is `docker.io/library/web:1`."""
    name, at, digest = reference.partition("@")
    first, slash, rest = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif not ("." in first or ":" in first or first == "localhost"):
        name = f"docker.io/{name}"
    elif first == "docker.io" and "/" not in rest:
        name = f"docker.io/library/{rest}"
    if not at and ":" not in name.rpartition("/")[2]:
        name += ":latest"
    return name + at + digest


def present(socket: Path) -> dict[str, Present]:
    """The images in containerd, by canonical name."""
    found = {}
    for line in _ctr(socket, "images", "list").splitlines()[1:]:
        fields = line.split()
        labels = dict(item.partition("=")[::2] for item in fields[-1].split(","))
        found[fields[0]] = Present(fields[0], fields[2], labels.get(_ORIGIN, ""))
    return found


def load(socket: Path, images: Iterable[ImageRef]) -> tuple[str, ...]:
    """Import missing images; returns their references."""
    wanted = {canonical(image.reference): image for image in images}
    if not wanted:
        return ()
    have = present(socket)
    imported = []
    for name, image in wanted.items():
        origin = _origin(image)
        if name in have and have[name].origin == origin:
            continue
        _import(socket, name, image, origin)
        imported.append(image.reference)
    return tuple(imported)


def _origin(image: ImageRef) -> str:
    """An identifier of the archive: its digest, or file metadata without one, because archives have gigabytes."""
    if image.digest:
        return image.digest.replace(":", "-")
    try:
        known = image.archive.stat()
    except OSError as error:
        raise DeploymentError(f"the archive of image {image.reference} is not there: {image.archive}") from error
    text = f"{image.archive.resolve()}\0{known.st_size}\0{known.st_mtime_ns}"
    return "file-" + hashlib.sha256(text.encode()).hexdigest()[:32]


def _import(socket: Path, name: str, image: ImageRef, origin: str) -> None:
    before = present(socket)
    _ctr(socket, "images", "import", "--local", "--digests", "--skip-digest-for-named", str(image.archive))
    after = present(socket)
    if name not in after:
        # The archive uses another name for its image, for example that of a private registry; find it by digest.
        same = [each for each in after.values() if each.digest == image.digest]
        new = [each for each in after.values() if before.get(each.reference) != each]
        found = same or new
        if len({each.digest for each in found}) != 1:
            raise DeploymentError(
                f"the archive {image.archive} does not hold the image {name}",
                details="it holds: " + (", ".join(each.reference for each in new) or "nothing new"),
            )
        _ctr(socket, "images", "tag", found[0].reference, name)
    _ctr(socket, "images", "label", name, _PINNED, f"{_ORIGIN}={origin}")


def _ctr(socket: Path, *arguments: str) -> str:
    command = [str(locate("ctr")), "--address", str(socket), "--namespace", NAMESPACE, *arguments]
    try:
        done = cancellation.run(
            command, capture_output=True, text=True, timeout=300, check=True, env={**os.environ, "HOME": "/nonexistent"}
        )
    except subprocess.SubprocessError as error:
        details = getattr(error, "stderr", "") or str(error)
        raise DeploymentError(f"containerd: {' '.join(arguments[:2])} failed", details=details.strip()) from error
    return done.stdout
