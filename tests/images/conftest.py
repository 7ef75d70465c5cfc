"""Images built for real, once per test run, into a cache of the tests' own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.images.rootfs import RootFilesystem, unpack
from wecityctl import oci
from wecityctl.paths import cache_dir


@pytest.fixture(scope="session")
def image_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory with an empty image store. Packages, named by their SHA-256, and engine parts are shared."""
    return make_cache(tmp_path_factory.mktemp("images-cache"))


def make_cache(home: Path) -> Path:
    """Prepare `home` as XDG_CACHE_HOME."""
    shared, own = cache_dir(), home / "wecityctl"
    (shared / "images" / "downloads").mkdir(parents=True, exist_ok=True)
    (own / "images").mkdir(parents=True)
    (own / "images" / "downloads").symlink_to(shared / "images" / "downloads")
    if (shared / "parts").is_dir():
        (own / "parts").symlink_to(shared / "parts")
    return home


@pytest.fixture(scope="session")
def built(image_cache: Path) -> Callable[..., dict[str, oci.BuiltImage]]:
    """Build images by name in the tests' cache."""
    if shutil.which("apt-get") is None:
        pytest.skip("images are built from Debian packages, and apt-get is not here")

    def build(*names: str) -> dict[str, oci.BuiltImage]:
        return build_in(image_cache, *names)

    return build


def build_in(home: Path, *names: str) -> dict[str, oci.BuiltImage]:
    """Build images with `home` as XDG_CACHE_HOME."""
    before, go_cache = os.environ.get("XDG_CACHE_HOME"), os.environ.get("GOCACHE")
    # Go's own cache stays the machine's: what it builds from a module takes minutes without.
    os.environ["GOCACHE"] = go_cache or str(cache_dir().parent / "go-build")
    os.environ["XDG_CACHE_HOME"] = str(home)
    try:
        return oci.ensure(names)
    finally:
        if go_cache is None:
            del os.environ["GOCACHE"]
        if before is None:
            del os.environ["XDG_CACHE_HOME"]
        else:
            os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture(scope="session")
def unpacked(
    built: Callable[..., dict[str, oci.BuiltImage]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], RootFilesystem]:
    """An image's root file system, unpacked once."""
    done: dict[str, RootFilesystem] = {}

    def root(name: str) -> RootFilesystem:
        if name not in done:
            place = tmp_path_factory.mktemp(f"root-{name}")
            # Programs run as other users than root: the way there must be open.
            for parent in (place, *place.parents[:3]):
                parent.chmod(parent.stat().st_mode | 0o055)
            done[name] = unpack(built(name)[name], place)
        return done[name]

    return root
