"""Images of npm packages and of native wheels, built for real, and their programs run. Small: what tests need alone."""

from __future__ import annotations

import json
import os
import platform
import shutil
from pathlib import Path

import pytest

from tests.images.rootfs import needs_root, unpack
from wecityctl import oci
from wecityctl.oci.builder import Builder, Phase
from wecityctl.oci.image_names import Catalogue
from wecityctl.oci.layout import read_layers
from wecityctl.oci.recipe import load_recipe
from wecityctl.oci.store import Store

RECIPES = Path(__file__).parent / "recipes"
pytestmark = [
    pytest.mark.build,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        shutil.which("apt-get") is None or platform.machine() != "x86_64", reason="their locks are of Debian on x86-64"
    ),
]


def builder(cache: Path, store: Path | None = None, path: str = "", offline: bool = False) -> Builder:
    """A builder of the tests' recipes on the shipped base, over the tests' cache; `path` replaces PATH."""
    images = cache / "wecityctl" / "images"
    recipes = [load_recipe(file) for file in sorted(RECIPES.glob("*/image.yaml"))]
    base = next(recipe for recipe in oci.catalogue() if recipe.name == "debian")
    environment = {**os.environ, **({"PATH": path} if path else {})}
    place = Store(store or images / "store")
    return Builder(Catalogue((base, *recipes)), place, images / "downloads", "amd64", environment, offline=offline)


@pytest.fixture(scope="module")
def images(image_cache: Path) -> dict[str, oci.BuiltImage]:
    return builder(image_cache).ensure(("node", "wheels"), oci.silent)


def test_same_digests_offline_and_without_clients(
    images: dict[str, oci.BuiltImage], image_cache: Path, tmp_path: Path
) -> None:
    """From the cache of downloads alone, on a machine that has neither npm nor a registry."""
    events: list[oci.ImageEvent] = []
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("apt-get", "apt-cache", "dpkg-deb"):
        (tools / name).symlink_to(str(shutil.which(name)))
    again = builder(image_cache, tmp_path / "store", f"{tools}:/nowhere", offline=True)
    assert {name: image.digest for name, image in again.ensure(("node", "wheels"), events.append).items()} == {
        name: image.digest for name, image in images.items()
    }
    assert Phase.BUILT in {event.phase for event in events}


def test_lock_is_what_npm_and_pip_resolve(image_cache: Path) -> None:
    """Written anew from today's registries, the pinned packages and all that they need have the same digests."""
    made = builder(image_cache)
    node, python = made.catalogue.recipe("node"), made.catalogue.recipe("wheels").python
    assert node.npm is not None
    assert python is not None
    assert made._npm.resolve(node.npm) == made.catalogue.lock(node).npm

    def projects(version: str, architecture: str = "amd64") -> dict[str, str]:
        return {item.project.lower(): item.file for item in made._pip.resolve(python, version, architecture)}

    common = {"markupsafe", "dumb_init", "redis"}
    # By the image's Python, whatever Python runs pip.
    assert set(projects("3.11.2")) == common | {"async_timeout"}
    assert set(projects("3.11.4")) == common
    # For another architecture too, from this machine.
    assert "aarch64" in projects("3.11.2", "arm64")["markupsafe"]


def test_licences(images: dict[str, oci.BuiltImage], tmp_path: Path) -> None:
    found = {}
    for name, image in images.items():
        (tmp_path / name).mkdir()
        _, entries = read_layers(image.archive, tmp_path / name)
        found[name] = json.loads(entries[f"usr/share/doc/{name}/artefacts.json"].read())
    assert {item["package"]: item["licence"] for item in found["node"]["npm"]} == {
        "semver": "ISC",
        "lru-cache": "ISC",
        "yallist": "ISC",
    }
    licences = {item["project"].lower(): item["licence"] for item in found["wheels"]["python"]}
    assert licences["redis"] == "MIT"
    assert licences["markupsafe"]


@needs_root
def test_npm_program_runs(images: dict[str, oci.BuiltImage], tmp_path: Path) -> None:
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    done = unpack(images["node"], tmp_path).run(
        "node", "/usr/lib/proof/node_modules/.bin/semver", "-r", "^1.2", "1.2.9", "2.0.0"
    )
    assert (done.stdout, done.stderr) == ("1.2.9\n", "")


@needs_root
def test_native_wheels_run(images: dict[str, oci.BuiltImage], tmp_path: Path) -> None:
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    program = "import markupsafe._speedups as so, redis, sys; print(so.__file__[-3:], sys.version_info[:3])"
    done = unpack(images["wheels"], tmp_path).run("/usr/local/bin/dumb-init", "python3", "-c", program)
    assert (done.stdout, done.stderr) == (".so (3, 11, 2)\n", "")


def test_maven_resolves_a_class_path(image_cache: Path) -> None:
    from wecityctl.oci.recipe import ClassPath

    if shutil.which("mvn") is None:
        pytest.skip("Maven is not here, which only who writes locks needs")
    maven = builder(image_cache)._maven(load_recipe(RECIPES / "node" / "image.yaml"))
    artifact = "org.apache.httpcomponents:httpclient:4.5.14"
    wanted = ClassPath(target="/opt/x", artifacts=(artifact,), without=("commons-logging:*",))
    found = maven.resolve(wanted)
    assert found == [
        "commons-codec:commons-codec:1.11",
        "org.apache.httpcomponents:httpclient:4.5.14",
        "org.apache.httpcomponents:httpcore:4.4.16",
    ]
    # Licences are stated by a parent.
    (locked,) = maven.lock(found[:1])
    assert locked.licence.startswith("Apache")


def test_maven_repository_without_maven(image_cache: Path, tmp_path: Path) -> None:
    """A user has no Maven: its default comes from Debian's package of it, without installing that."""
    from wecityctl.oci.maven import repository

    made = builder(image_cache)
    recipe = load_recipe(RECIPES / "node" / "image.yaml")
    bare = {"HOME": str(tmp_path), "PATH": "/nowhere"}
    assert repository(bare, made._maven(recipe).defaults).startswith("https://")
