"""What the builder does when versions move, when it is interrupted, and when two want the same; with the real apt."""

from __future__ import annotations

import multiprocessing
import shutil
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.images.repository import SUITE, Repository
from wecityctl.oci import lock as locks
from wecityctl.oci.builder import Builder, ImageEvent, Locking, Phase
from wecityctl.oci.image_names import Catalogue
from wecityctl.oci.layout import read_layers
from wecityctl.oci.recipe import load_recipe
from wecityctl.oci.store import BuiltImage, Store
from wecityctl.oci.tree import ImageBuildError

pytestmark = [
    pytest.mark.build,
    pytest.mark.skipif(
        not (shutil.which("apt-get") and shutil.which("dpkg-deb")), reason="apt and dpkg-deb are not here"
    ),
]

BASE = f"""
name: base
title: Base
version: "1"
licence: MIT
debian: {{suite: {SUITE}, packages: [core], without: [scripts]}}
"""
WEB = f"""
name: web
title: Web
version: "2"
licence: MIT
base: base
debian: {{suite: {SUITE}, packages: [server]}}
user: {{name: web, uid: 101, gid: 102, home: /srv}}
directories: [{{path: /srv, mode: "0700", uid: 101, gid: 102}}]
links: {{/usr/local/bin/web: /usr/bin/server}}
executables: [/start]
"""


@dataclass
class World:
    """A repository, recipes and a builder over them, and what the builder said."""

    repository: Repository
    images: Path
    builder: Builder
    events: list[ImageEvent] = field(default_factory=list)

    def build(self, *names: str, locking: Locking = Locking.PREFER, offline: bool = False) -> dict[str, BuiltImage]:
        self.events.clear()
        # A builder asks for package lists once in its life; every command line makes a new one.
        catalogue = _catalogue(self.images)
        old = self.builder
        self.builder = Builder(
            catalogue, old.store, old.downloads, "amd64", self.repository.environment, offline=offline, locking=locking
        )
        return self.builder.ensure(names or ("web",), self.events.append)

    def phases(self, image: str) -> list[Phase]:
        return [event.phase for event in self.events if event.image == image]

    def files(self, image: BuiltImage, scratch: Path) -> dict[str, bytes]:
        return {path: entry.read() for path, entry in read_layers(image.archive, scratch)[1].items() if entry.is_file}


@pytest.fixture
def world(tmp_path: Path) -> World:
    repository = Repository.make(tmp_path / "repository")
    repository.add("scripts", "1", {"usr/share/scripts/x": "x"})
    repository.add("core", "1.0", {"usr/share/core/data": "core 1.0"}, depends="scripts (>= 1)")
    repository.add("library", "3", {"usr/share/library/data": "3"})
    repository.add("server", "1.0", {"usr/bin/server": "server 1.0"}, depends="core (= 1.0), library")
    images = tmp_path / "images"
    for name, text in (("base", BASE), ("web", WEB)):
        (images / name).mkdir(parents=True)
        (images / name / "image.yaml").write_text(text)
    (images / "base" / "rootfs" / "etc").mkdir(parents=True)
    (images / "base" / "rootfs" / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\n")
    (images / "base" / "rootfs" / "etc" / "group").write_text("root:x:0:\n")
    (images / "web" / "rootfs").mkdir()
    (images / "web" / "rootfs" / "start").write_text("#!/bin/sh\n")
    builder = Builder(Catalogue(()), Store(tmp_path / "store"), tmp_path / "downloads", "amd64", {})
    made = World(repository, images, builder)
    made.build(locking=Locking.UPDATE)
    return made


def packages(image: BuiltImage) -> dict[str, str]:
    lock = locks.read(image.lock_file)
    assert lock is not None
    return {item.package: item.version for item in lock.debian["amd64"]}


def test_layers_and_locks(world: World, tmp_path: Path) -> None:
    image = world.build()["web"]
    assert world.phases("web") == [Phase.CACHED]
    # The base's packages are the base's business, and what is to be left out is in neither.
    assert packages(image) == {"library": "3", "server": "1.0"}
    layers, entries = read_layers(image.archive, tmp_path)
    assert len(layers) == 2
    assert entries["usr/share/core/data"].read() == b"core 1.0"
    assert not any(path.startswith("usr/share/scripts") for path in entries)
    assert entries["etc/passwd"].read().decode().splitlines()[1] == "web:x:101:102:web:/srv:/usr/sbin/nologin"
    assert (entries["srv"].mode, entries["srv"].uid, entries["srv"].gid) == (0o700, 101, 102)
    assert entries["start"].mode == 0o755
    assert entries["usr/local/bin/web"].target == "/usr/bin/server"
    assert entries["bin"].target == "usr/bin"


def test_same_digest_when_built_again(world: World) -> None:
    before = world.build("web", "base")
    shutil.rmtree(world.builder.store.root)
    after = world.build("web", "base")
    assert [image.digest for image in after.values()] == [image.digest for image in before.values()]
    assert world.phases("web") == [Phase.BUILDING, Phase.BUILT]


def test_newer_versions_change_nothing_while_the_packages_are_cached(world: World) -> None:
    before = world.build()["web"]
    world.repository.add("library", "4", {"usr/share/library/data": "4"})
    shutil.rmtree(world.builder.store.root)
    assert world.build()["web"].digest == before.digest


def test_a_version_that_is_gone_is_replaced_and_said(world: World, tmp_path: Path) -> None:
    before = world.build()["web"]
    world.repository.add("library", "4", {"usr/share/library/data": "4"})
    shutil.rmtree(world.builder.store.root)
    shutil.rmtree(world.builder.downloads)
    image = world.build()["web"]
    assert packages(image) == {"library": "4", "server": "1.0"}
    assert world.files(image, tmp_path)["usr/share/library/data"] == b"4"
    assert not image.locked
    # Manifests written elsewhere, from the same recipes, name this image all the same.
    assert image.reference == before.reference
    assert image.digest != before.digest
    (notice,) = [event for event in world.events if event.phase is Phase.NOTICE]
    assert "library=3" in notice.message
    assert world.build()["web"] == image, "the second time it is there"


def test_locked_refuses_another_version(world: World) -> None:
    world.repository.add("library", "4", {"usr/share/library/data": "4"})
    shutil.rmtree(world.builder.store.root)
    shutil.rmtree(world.builder.downloads)
    world.build()
    with pytest.raises(ImageBuildError, match="image web: cannot be downloaded: library=3") as caught:
        world.build(locking=Locking.REQUIRE)
    assert "--update-lock" in caught.value.resolution


def test_an_image_on_an_unlocked_base_is_not_locked(world: World) -> None:
    world.repository.add("core", "1.0", {"usr/share/core/data": "core 1.0, rebuilt"})
    shutil.rmtree(world.builder.store.root)
    shutil.rmtree(world.builder.downloads)
    images = world.build("base", "web")
    assert [image.locked for image in images.values()] == [False, False]


def test_update_lock_records_the_versions_served(world: World) -> None:
    before = world.build()["web"]
    world.repository.add("library", "4", {"usr/share/library/data": "4"})
    image = world.build(locking=Locking.UPDATE)["web"]
    assert image.locked
    assert image.reference != before.reference
    assert '"version": "4"' in (world.images / "web" / "lock.json").read_text()
    assert world.build(locking=Locking.REQUIRE)["web"] == image


def test_offline(world: World) -> None:
    shutil.rmtree(world.builder.store.root)
    assert world.build(offline=True)["web"].locked
    shutil.rmtree(world.builder.store.root)
    shutil.rmtree(world.builder.downloads)
    with pytest.raises(ImageBuildError, match="offline"):
        world.build(offline=True)


def test_package_that_is_nowhere(world: World) -> None:
    recipe = world.images / "web" / "image.yaml"
    recipe.write_text(recipe.read_text().replace("[server]", "[sevrer]"))
    (world.images / "web" / "lock.json").unlink()
    with pytest.raises(ImageBuildError, match="no way to install sevrer") as caught:
        world.build()
    assert "Unable to locate package sevrer" in caught.value.details


def test_packages_of_strangers_are_not_taken(world: World) -> None:
    """A third party's repository among the machine's sources has no say in images."""
    release = world.repository.root / "dists" / SUITE / "Release"
    release.write_text(release.read_text().replace("Origin: Debian", "Origin: Stranger"))
    with pytest.raises(ImageBuildError, match="no way to install"):
        world.build(locking=Locking.UPDATE)


def test_a_strangers_broken_source_is_no_obstacle(world: World) -> None:
    sources = world.repository.root / "etc" / "sources.list"
    sources.write_text(sources.read_text() + "deb [trusted=yes] file:/nonexistent stable main\n")
    assert world.build(locking=Locking.UPDATE)["web"].locked


def test_no_source_at_all(world: World) -> None:
    (world.repository.root / "etc" / "sources.list").write_text("deb [trusted=yes] file:/nonexistent stable main\n")
    shutil.rmtree(world.builder.downloads)
    with pytest.raises(ImageBuildError, match="fetched no package lists") as caught:
        world.build(locking=Locking.UPDATE)
    assert "/nonexistent" in caught.value.details


def test_damaged_store_is_built_again(world: World) -> None:
    image = world.build()["web"]
    image.archive.write_bytes(image.archive.read_bytes()[:-1])
    again = world.build()["web"]
    assert world.phases("web") == [Phase.BUILDING, Phase.BUILT]
    assert again.digest == image.digest


def test_what_a_killed_build_left_is_cleared(world: World) -> None:
    image = world.build()["web"]
    leftover = image.archive.parent.parent / ".tmp-1"
    (leftover / "work").mkdir(parents=True)
    shutil.rmtree(image.archive.parent)
    assert world.build()["web"].digest == image.digest
    assert not leftover.exists()


def test_failed_build_leaves_nothing(world: World) -> None:
    recipe = world.images / "web" / "image.yaml"
    recipe.write_text(recipe.read_text().replace("executables: [/start]", "executables: [/stop]"))
    with pytest.raises(ImageBuildError, match="image web: /stop is to be executable, but is no file"):
        world.build()
    assert {path.name for path in (world.builder.store.root / "web").glob(".*")} == {".lock"}


def test_recipes_that_cannot_be_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where wecityctl is installed for everybody. Root may write anywhere, so a directory stands in the way."""
    lock = world.images / "base" / "lock.json"
    monkeypatch.setattr(Catalogue, "lock", lambda self, recipe: locks.Lock())
    lock.unlink()
    lock.mkdir()
    with pytest.raises(ImageBuildError, match="image base: Is a directory"):
        world.build(locking=Locking.UPDATE)


def test_only_the_newest_builds_are_kept(world: World) -> None:
    start = world.images / "web" / "rootfs" / "start"
    references = []
    for number in range(5):
        start.write_text(f"#!/bin/sh\n# {number}\n")
        references.append(world.build()["web"].reference)
    kept = [image.reference for image in world.builder.store.all() if image.name == "web"]
    assert kept == references[:1:-1]


def _catalogue(images: Path) -> Catalogue:
    """The recipes as they are now: tests change them, and the program's own reading is once for a process."""
    return Catalogue(tuple(load_recipe(path) for path in sorted(images.glob("*/image.yaml"))))


def _build_apart(
    images: Path, store: Path, downloads: Path, environment: dict[str, str], results: multiprocessing.Queue[list[Phase]]
) -> None:
    catalogue = _catalogue(images)
    events: list[ImageEvent] = []
    Builder(catalogue, Store(store), downloads, "amd64", environment).ensure(("web",), events.append)
    results.put([event.phase for event in events if event.image == "web"])


def test_two_at_once_build_once(world: World) -> None:
    shutil.rmtree(world.builder.store.root)
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[list[Phase]] = context.Queue()
    given = (world.images, world.builder.store.root, world.builder.downloads, dict(world.repository.environment))
    both = [context.Process(target=_build_apart, args=(*given, results)) for _ in range(2)]
    for process in both:
        process.start()
    found = [results.get(timeout=60) for _ in both]
    for process in both:
        process.join(60)
    assert sorted(found, key=len) == [[Phase.CACHED], [Phase.BUILDING, Phase.BUILT]]


def test_independent_images_are_built_side_by_side(world: World) -> None:
    """Both wait for each other in their reports: built one after the other, they would never get there."""
    shutil.copytree(world.images / "web", world.images / "other")
    recipe = world.images / "other" / "image.yaml"
    recipe.write_text(recipe.read_text().replace("name: web\n", "name: other\n", 1))
    world.build("base")
    start = world.images / "web" / "rootfs" / "start"
    start.write_text("#!/bin/sh\n# new\n")
    meeting = threading.Barrier(2, timeout=30)

    def report(event: ImageEvent) -> None:
        if event.phase is Phase.BUILDING:
            meeting.wait()

    catalogue = _catalogue(world.images)
    builder = replace(world.builder, catalogue=catalogue)
    assert set(builder.ensure(["web", "other"], report)) == {"web", "other"}
