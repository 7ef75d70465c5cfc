"""The shipped recipes, built for real from this machine's package sources."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.images.conftest import build_in, make_cache
from wecityctl import oci
from wecityctl.oci.layout import read_layers

Build = Callable[..., dict[str, oci.BuiltImage]]
pytestmark = [pytest.mark.build, pytest.mark.timeout(600)]

NAMES = ("pause", "debian", "sample-app", "postgresql", "cache", "gateway")
# A third more than they have: whoever adds a package with half a gigabyte behind it shall notice. In MiB.
LARGEST = {"pause": 3, "debian": 30, "sample-app": 80, "postgresql": 130, "cache": 45, "gateway": 35}


def test_building_twice_gives_the_same_digests(built: Build, tmp_path: Path) -> None:
    first = built(*NAMES)
    # Another place with a longer name: nothing of where an image was made may be in it.
    again = build_in(make_cache(tmp_path / ("somewhere-else-" * 4)), *NAMES)
    assert {name: image.digest for name, image in again.items()} == {
        name: image.digest for name, image in first.items()
    }
    assert {image.reference for image in first.values()} == {oci.reference(name, source="built") for name in NAMES}


def test_sizes(built: Build) -> None:
    sizes = {name: image.size / (1 << 20) for name, image in built(*NAMES).items()}
    assert {name: size for name, size in sizes.items() if size > LARGEST[name]} == {}


def test_the_base_layer_is_shared(built: Build) -> None:
    images = built(*NAMES)

    def layers(name: str) -> list[str]:
        with tarfile.open(images[name].archive) as tar:
            index = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
            digest = index["manifests"][0]["digest"].replace(":", "/")
            return [item["digest"] for item in json.load(tar.extractfile(f"blobs/{digest}"))["layers"]]  # type: ignore[arg-type]

    (base,) = layers("debian")
    for name in ("sample-app", "postgresql", "cache", "gateway"):
        assert layers(name)[0] == base
        assert len(layers(name)) == 2


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_the_machine_is_in_an_image(built: Build, tmp_path: Path, name: str) -> None:
    _, entries = read_layers(built(name)[name].archive, tmp_path)
    unwanted = (
        "var/log/",
        "var/cache/",
        "var/lib/apt/",
        "etc/machine-id",
        "etc/hostname",
        "etc/resolv.conf",
        "etc/ssh/",
    )
    found = [path for path, entry in entries.items() if path.startswith(unwanted) and not entry.is_directory]
    assert found == []
    set_user = [path for path, entry in entries.items() if entry.is_file and entry.mode & 0o6000]
    assert set_user == [], "an image has no use for programs that change the user"


def test_licences_are_kept(built: Build, tmp_path: Path) -> None:
    _, entries = read_layers(built("postgresql")["postgresql"].archive, tmp_path)
    for package in ("postgresql-15", "libc6", "libicu72"):
        assert f"usr/share/doc/{package}/copyright" in entries
    assert b"Package: postgresql-15\n" in entries["var/lib/dpkg/status.d/postgresql-15"].read()


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
def test_no_root_is_needed(tmp_path: Path) -> None:
    """Built by a user without rights, with the interpreter of the system."""
    python = shutil.which("python3", path="/usr/bin")
    site = Path(sys.modules["pydantic"].__file__ or "").parent.parent
    reachable = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", python or "false", "-c",
         f"import sys; sys.path[:0] = {[str(Path.cwd()), str(site)]!r}; import pydantic, yaml, wecityctl.oci"],
        capture_output=True, text=True, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )  # fmt: skip
    if reachable.returncode != 0:
        pytest.skip(f"other users may not read this checkout: {reachable.stderr.strip().splitlines()[-1]}")
    home = tmp_path / "home"
    make_cache(home)
    # Downloads are root's; the other user gets a look at them, as a bundle would give it.
    own = home / "wecityctl" / "images" / "downloads"
    own.unlink()
    shutil.copytree(oci._root() / "downloads", own)
    for path in (home, *home.rglob("*")):
        if not path.is_symlink():
            os.chown(path, 65534, 65534)
    for parent in tmp_path.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o055)
    tmp_path.chmod(0o755)
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(python), "-c",
         f"import sys; sys.path[:0] = {[str(Path.cwd()), str(site)]!r}\n"
         "from wecityctl import oci; print(oci.ensure(['cache'])['cache'].digest)"],
        capture_output=True, text=True, timeout=300,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "XDG_CACHE_HOME": str(home)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == build_in(make_cache(tmp_path / "roots"), "cache")["cache"].digest
