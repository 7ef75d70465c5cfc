"""Machines to attack, as whole runs have them; for shared servers the programs of the images, as directories."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.attack.roles import city
from tests.e2e.conftest import ending_in_order, home
from tests.images.rootfs import RootFilesystem, unpack
from wecityctl import oci

__all__ = ["city", "ending_in_order", "home"]

Unpacked = Callable[[str], RootFilesystem]


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Unpacked:
    """An image of the catalogue as a directory; images that are in this machine's store are not built again."""
    if shutil.which("apt-get") is None:
        pytest.skip("images are built from Debian packages, and apt-get is not here")
    done: dict[str, RootFilesystem] = {}

    def root(name: str) -> RootFilesystem:
        if name not in done:
            place = tmp_path_factory.mktemp(f"root-{name}")
            # Programs run as other users than root: the way there must be open.
            for parent in (place, *place.parents[:3]):
                parent.chmod(parent.stat().st_mode | 0o055)
            done[name] = unpack(oci.ensure((name,))[name], place)
        return done[name]

    return root


@pytest.fixture(scope="session")
def drivers(unpacked: Unpacked) -> Iterator[Path]:
    """The sample app's clients of PostgreSQL and Redis, to be imported."""
    place = unpacked("sample-app").root / "usr/lib/sample-app"
    sys.path.insert(0, str(place))
    yield place
    sys.path.remove(str(place))
