"""Built images on this machine: one directory each, placed in one step, one builder per image at a time."""

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
    """An image in the store. `digest` is its manifest's ("sha256:…"), `size` the archive's in bytes.

    `locked` says that it holds the versions of the lock beside its recipe, and not those served when it was built.
    """

    name: str
    reference: str
    digest: str
    archive: Path
    size: int
    locked: bool = True

    @property
    def lock_file(self) -> Path:
        """What it was really built from."""
        return self.archive.with_name(LOCK_FILE)


@dataclass(frozen=True, slots=True)
class Store:
    """The images under `root`, by name and tag."""

    root: Path

    def find(self, name: str, tag: str) -> BuiltImage | None:
        """The image, when it is there whole."""
        return _read(self.root / name / tag)

    def all(self) -> list[BuiltImage]:
        """Every image, the newest build of each name first."""
        images: list[BuiltImage] = []
        if not self.root.is_dir():
            return images
        for place in sorted(path for path in self.root.iterdir() if path.is_dir()):
            images += [image for build in _builds(place) if (image := _read(build)) is not None]
        return images

    @contextlib.contextmanager
    def building(self, name: str) -> Iterator[None]:
        """Hold the right to build `name`; waits for another process that has it."""
        place = self.root / name
        place.mkdir(parents=True, exist_ok=True)
        with (place / ".lock").open("w") as stream:
            hold(stream.fileno(), seconds=BUILD_SECONDS, what=f"the image {name}")
            # Whatever a killed build left: nobody else builds this name now.
            for leftover in place.glob(".tmp-*"):
                shutil.rmtree(leftover, ignore_errors=True)
            yield

    def scratch(self, name: str) -> Path:
        """A directory to build in, on the file system of the store. Only while `building`."""
        place = self.root / name / f".tmp-{os.getpid()}"
        place.mkdir(parents=True)
        return place

    def place(self, scratch: Path, tag: str, image: BuiltImage, lock: Lock) -> BuiltImage:
        """Make the image in `scratch` (an archive alone) the one under `tag`."""
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
