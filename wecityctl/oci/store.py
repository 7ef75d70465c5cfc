"""The store of built images on this machine: one directory per image, placed atomically, with a lock per name."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from wecityctl.filelock import BUILD_SECONDS, hold
from wecityctl.oci.lock import Lock
from wecityctl.oci.recipe import LOCK_FILE

ARCHIVE = "image.tar"
RECORD = "image.json"
FORMAT = 1
KEPT_BUILDS = 3


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image in the store. `digest` is that of its manifest ("sha256:…"), `size` that of the archive in bytes.

    `locked`: it was built from the lock beside its recipe, and not from the versions available at build time.
    """

    name: str
    reference: str
    digest: str
    archive: Path
    size: int
    locked: bool = True

    @property
    def lock_file(self) -> Path:
        """The lock that the image was actually built from."""
        return self.archive.with_name(LOCK_FILE)


@dataclass(frozen=True, slots=True)
class Store:
    """The images under `root`, by name and tag."""

    root: Path

    def find(self, name: str, tag: str) -> BuiltImage | None:
        """The image if it is complete in the store; otherwise `None`."""
        return _read(self.root / name / tag)

    def all(self) -> list[BuiltImage]:
        """All images, for each name the newest build first."""
        images: list[BuiltImage] = []
        if not self.root.is_dir():
            return images
        for place in sorted(path for path in self.root.iterdir() if path.is_dir()):
            images += [image for build in _builds(place) if (image := _read(build)) is not None]
        return images

    @contextlib.contextmanager
    def building(self, name: str) -> Iterator[None]:
        """Hold the build lock of `name`; waits for another process that holds it."""
        place = self.root / name
        place.mkdir(parents=True, exist_ok=True)
        with (place / ".lock").open("w") as stream:
            hold(stream.fileno(), seconds=BUILD_SECONDS, what=f"the image {name}")
            # Left by a killed build: while we hold the lock, nobody else builds this name.
            for leftover in place.glob(".tmp-*"):
                shutil.rmtree(leftover, ignore_errors=True)
            yield

    def scratch(self, name: str) -> Path:
        """A directory to build in, on the file system of the store. Use it only inside `building`."""
        place = self.root / name / f".tmp-{os.getpid()}"
        place.mkdir(parents=True)
        return place

    def place(self, scratch: Path, tag: str, image: BuiltImage, lock: Lock) -> BuiltImage:
        """Move the archive in `scratch` to the store under `tag`, atomically."""
        record = {"format": FORMAT, **{key: value for key, value in asdict(image).items() if key != "archive"}}
        (scratch / LOCK_FILE).write_text(lock.canonical(), encoding="utf-8")
        (scratch / RECORD).write_text(json.dumps(record, indent=1) + "\n")
        target = self.root / image.name / tag
        if target.exists():
            shutil.rmtree(target)
        scratch.rename(target)
        for old in _builds(target.parent)[KEPT_BUILDS:]:
            shutil.rmtree(old, ignore_errors=True)
        found = _read(target)
        assert found is not None
        return found


def _builds(place: Path) -> list[Path]:
    builds = [path for path in place.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return sorted(builds, key=lambda path: (-path.stat().st_mtime_ns, path.name))


def _read(place: Path) -> BuiltImage | None:
    archive = place / ARCHIVE
    try:
        record = json.loads((place / RECORD).read_text())
        size = archive.stat().st_size
    except (OSError, ValueError):
        return None
    if record.get("format") != FORMAT or record.get("size") != size:
        return None
    return BuiltImage(record["name"], record["reference"], record["digest"], archive, size, record["locked"])
