"""Builds the named images and their bases, two at a time, and puts them into the store. Each is built at most once.

It also decides what happens if a locked version is no longer available. The build steps are in the other modules.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from wecityctl import cancellation
from wecityctl.errors import WecityError
from wecityctl.oci import layout, steps
from wecityctl.oci import lock as locks
from wecityctl.oci.apt import Apt
from wecityctl.oci.assemble import Ingredients, add_packages, assemble
from wecityctl.oci.fetching import Downloads
from wecityctl.oci.image_names import Catalogue
from wecityctl.oci.lock import DebianPackage, Generated, Lock
from wecityctl.oci.maven import DEFAULTS_PACKAGE, Maven
from wecityctl.oci.npm import Npm
from wecityctl.oci.recipe import GENERATED_FILE, LOCK_FILE, Recipe, with_bases
from wecityctl.oci.store import ARCHIVE, BuiltImage, Store
from wecityctl.oci.tree import ImageBuildError, UnavailableError
from wecityctl.oci.wheels import Pip

PARALLEL_BUILDS = 2
DEBIAN_SUITE = "bookworm"


class Phase(StrEnum):
    """The phases of building an image."""

    CACHED = "cached"
    RESOLVING = "resolving"
    FETCHING = "fetching"
    BUILDING = "building"
    BUILT = "built"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True)
class ImageEvent:
    """A progress event of one image. `seconds` is the build time, set in phase `BUILT`."""

    image: str
    phase: Phase
    message: str = ""
    seconds: float = 0.0


Report = Callable[[ImageEvent], None]


class Locking(StrEnum):
    """How locks are used: replace unavailable versions, require the locked ones, or look for new versions."""

    PREFER = "prefer"
    REQUIRE = "require"
    UPDATE = "update"


@dataclass(frozen=True, slots=True)
class Builder:
    """Builds images of one architecture into one store."""

    catalogue: Catalogue
    store: Store
    downloads: Path
    architecture: str
    environment: Mapping[str, str]
    offline: bool = False
    locking: Locking = Locking.PREFER
    _lists: _Once = field(default_factory=lambda: _Once())

    def ensure(self, names: Iterable[str], report: Report) -> dict[str, BuiltImage]:
        """Build the named images that are not in the store yet. After all have ended, raises the first error."""
        wanted = tuple(dict.fromkeys(names))
        built: dict[str, BuiltImage] = {}
        for wave in _waves(with_bases(self.catalogue.recipes, wanted)):
            with ThreadPoolExecutor(PARALLEL_BUILDS) as pool:
                jobs = {
                    recipe.name: pool.submit(cancellation.in_context(self._ensure_one), recipe, built, report)
                    for recipe in wave
                }
                try:
                    wait(jobs.values())
                except BaseException:
                    # On Ctrl-C the terminal signals running builds; waiting ones are not started.
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
            built |= {name: job.result() for name, job in jobs.items()}
        return {name: built[name] for name in wanted}

    def _ensure_one(self, recipe: Recipe, built: Mapping[str, BuiltImage], report: Report) -> BuiltImage:
        cancellation.check()
        if self.locking is not Locking.UPDATE and (found := self._stored(recipe)):
            report(ImageEvent(recipe.name, Phase.CACHED, found.reference))
            return found
        base = built[recipe.base] if recipe.base else None
        started = time.monotonic()
        with _named(recipe.name), self.store.building(recipe.name):
            lock = self._settled_lock(recipe, base, report)
            if found := self._stored(recipe):
                report(ImageEvent(recipe.name, Phase.CACHED, found.reference))
                return found
            image = self._build(recipe, lock, base, report)
        report(ImageEvent(recipe.name, Phase.BUILT, image.reference, time.monotonic() - started))
        return image

    def _stored(self, recipe: Recipe) -> BuiltImage | None:
        found = self.store.find(recipe.name, self.catalogue.tag(recipe))
        return None if found and self.locking is Locking.REQUIRE and not found.locked else found

    # -- locks ---------------------------------------------------------------------------------------------------

    def _settled_lock(self, recipe: Recipe, base: BuiltImage | None, report: Report) -> Lock:
        """The lock to build from: the recipe's, or a new one if its versions are unavailable and `locking` allows
        it.
        """
        if self.locking is Locking.UPDATE:
            lock = self._resolved(recipe, base, report)
            if recipe.run:
                lock = self._generated(recipe, lock, base, report)
            self.catalogue.commit(recipe, lock)
            return lock
        lock = self.catalogue.lock(recipe)
        problem = self._unavailable(recipe, lock, report)
        if problem is None:
            return lock
        if self.locking is Locking.REQUIRE:
            raise ImageBuildError(
                problem.message,
                details=problem.details,
                resolution="without --locked the versions served now are taken; --update-lock records them for good",
            ) from problem
        lock = self._resolved(recipe, base, report)
        text = f"not in the versions of {LOCK_FILE} ({problem.message}): taking those served now"
        report(ImageEvent(recipe.name, Phase.NOTICE, text))
        return lock

    def _unavailable(self, recipe: Recipe, lock: Lock, report: Report) -> UnavailableError | None:
        """Why the locked packages are unavailable, after updating the package lists; `None` if they are available."""
        if recipe.python and recipe.python.requirements and not lock.wheels(self.architecture):
            return UnavailableError("no Python distributions are locked")
        if recipe.maven and not lock.maven:
            return UnavailableError("no Maven artefacts are locked")
        if recipe.npm and not lock.npm:
            return UnavailableError("no npm packages are locked")
        if not recipe.debian:
            return None
        packages = lock.debian.get(self.architecture)
        if packages is None:
            return UnavailableError(f"no Debian packages are locked for {self.architecture}")
        if self._apt.cached(packages):
            return None
        report(ImageEvent(recipe.name, Phase.FETCHING, f"{len(packages)} Debian packages"))
        suite = recipe.debian.suite
        try:
            self._apt.fetch(packages, suite)
        except UnavailableError:
            # Outdated lists may name versions that are gone, or lack the locked ones.
            try:
                self._lists.run(lambda: self._apt.update(suite))
                self._apt.fetch(packages, suite)
            except UnavailableError as error:
                return error
        return None

    def _resolved(self, recipe: Recipe, base: BuiltImage | None, report: Report) -> Lock:
        report(ImageEvent(recipe.name, Phase.RESOLVING, "versions served now"))
        debian: dict[str, tuple[DebianPackage, ...]] = {}
        if recipe.debian:
            self._lists.run(lambda: self._apt.update(recipe.debian.suite))  # type: ignore[union-attr]
            wanted = recipe.debian
            debian[self.architecture] = self._apt.resolve(
                wanted.suite, wanted.packages, self._present(recipe, base), wanted.without
            )
        present = self._present(recipe, base) | {
            item.package: item.version for item in debian.get(self.architecture, ())
        }
        wheels = (
            self._pip.resolve(recipe.python, _full_version(recipe.python.version, present), self.architecture)
            if recipe.python
            else ()
        )
        artifacts = self._maven(recipe).lock(self._artifacts(recipe)) if recipe.maven else ()
        npm_packages = self._npm.resolve(recipe.npm) if recipe.npm else ()
        return Lock(debian, wheels, artifacts, npm_packages, self.catalogue.lock(recipe).generated)

    def _artifacts(self, recipe: Recipe) -> list[str]:
        assert recipe.maven is not None
        wanted = [item.artifact for item in recipe.maven.archives]
        if recipe.maven.classpath:
            wanted += self._maven(recipe).resolve(recipe.maven.classpath)
        return wanted

    def _generated(self, recipe: Recipe, lock: Lock, base: BuiltImage | None, report: Report) -> Lock:
        """The lock with the output of the recipe's `run` for these packages; runs it if that was not done yet."""
        inputs, place = steps.inputs(recipe, lock), recipe.directory / GENERATED_FILE
        before = lock.generated
        if before and before.inputs == inputs and place.is_file():
            return lock
        assert recipe.run is not None
        report(ImageEvent(recipe.name, Phase.BUILDING, f"runs {recipe.run.command[0]}"))
        scratch = self.store.scratch(recipe.name)
        try:
            below = layout.read_layers(base.archive, scratch)[1] if base else {}
            tree = add_packages(recipe, below, self._ingredients(recipe, lock, scratch))
            content = steps.generate(recipe, tree, scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        place.write_bytes(content)
        return replace(lock, generated=Generated(hashlib.sha256(content).hexdigest(), inputs))

    def _present(self, recipe: Recipe, base: BuiltImage | None) -> dict[str, str]:
        """The versions, by name, of the packages in the layers below the image."""
        present: dict[str, str] = {}
        while recipe.base and base:
            recipe = self.catalogue.recipe(recipe.base)
            lock = locks.read(base.lock_file) or Lock()
            present |= {item.package: item.version for item in lock.debian.get(self.architecture, ())}
            base = (
                self.store.find(recipe.base, self.catalogue.tag(self.catalogue.recipe(recipe.base)))
                if recipe.base
                else None
            )
        return present

    # -- building ------------------------------------------------------------------------------------------------

    def _build(self, recipe: Recipe, lock: Lock, base: BuiltImage | None, report: Report) -> BuiltImage:
        report(ImageEvent(recipe.name, Phase.BUILDING))
        scratch = self.store.scratch(recipe.name)
        work = scratch / "work"
        work.mkdir()
        try:
            layers, below = layout.read_layers(base.archive, work) if base else ([], {})
            tree = assemble(recipe, below, self._ingredients(recipe, lock, work))
            own = work / "layer.tar"
            with own.open("wb") as stream:
                tree.write_tar(stream)
            layers.append(layout.Layer.of(own))
            inputs = self.catalogue.inputs(recipe)
            reference = self.catalogue.reference(recipe.name, "built")
            archive = scratch / ARCHIVE
            config = layout.configuration(recipe, self.architecture, layers, inputs)
            digest = layout.write_archive(archive, reference, config, layers)
            shutil.rmtree(work)
            locked = lock.inputs() == self.catalogue.lock(recipe).inputs() and (base is None or base.locked)
            image = BuiltImage(recipe.name, reference, digest, archive, archive.stat().st_size, locked)
            return self.store.place(scratch, self.catalogue.tag(recipe), image, lock)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _ingredients(self, recipe: Recipe, lock: Lock, work: Path) -> Ingredients:
        debs: dict[str, Path] = {}
        if recipe.debian:
            debs = self._apt.fetch(lock.debian[self.architecture], recipe.debian.suite)
        arch = self.architecture
        wheels = self._pip.fetch(lock.wheels(arch), recipe.python, arch) if recipe.python else []
        artifacts = self._maven(recipe).fetch(lock.maven) if recipe.maven else {}
        npm_packages = self._npm.fetch(lock.npm_packages(arch)) if recipe.npm else []
        return Ingredients(debs, wheels, arch, work, self.environment, lock, artifacts, npm_packages)

    @property
    def _apt(self) -> Apt:
        return Apt(self.downloads / "apt", self.architecture, self.environment, self.offline)

    @property
    def _pip(self) -> Pip:
        return Pip(self.downloads / "wheels", self.environment, self.offline)

    def _maven(self, recipe: Recipe) -> Maven:
        suite = recipe.debian.suite if recipe.debian else DEBIAN_SUITE

        def defaults() -> Path:
            try:
                return self._apt.newest(DEFAULTS_PACKAGE, suite)
            except UnavailableError:
                self._lists.run(lambda: self._apt.update(suite))
                return self._apt.newest(DEFAULTS_PACKAGE, suite)

        return Maven(self._files("maven"), self.environment, defaults)

    @property
    def _npm(self) -> Npm:
        return Npm(self._files("npm"), self.environment)

    def _files(self, kind: str) -> Downloads:
        return Downloads(self.downloads / kind, self.offline)


def _full_version(python: str, packages: Mapping[str, str]) -> str:
    """The full version of the image's Python, from its Debian package; `python` if there is none."""
    found = re.match(r"[0-9.]+", packages.get(f"python{python}", packages.get(f"python{python}-minimal", "")))
    return found[0] if found else python


@contextmanager
def _named(image: str) -> Iterator[None]:
    """Add the image's name to errors, and convert operating system errors into `ImageBuildError`."""
    try:
        yield
    except WecityError as error:
        raise ImageBuildError(
            f"image {image}: {error.message}", details=error.details, resolution=error.resolution
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ImageBuildError(f"image {image}: {error.cmd[0]} took longer than {error.timeout:.0f} s") from error
    except OSError as error:
        raise ImageBuildError(f"image {image}: {error.strerror or error}", details=str(error.filename or "")) from error


class _Once:
    """Runs an action once, however many threads ask. Later callers get the same error."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._done = False
        self._error: WecityError | None = None

    def run(self, action: Callable[[], None]) -> None:
        with self._guard:
            if not self._done:
                self._done = True
                try:
                    action()
                except WecityError as error:
                    self._error = error
            if self._error is not None:
                raise self._error


def _waves(recipes: tuple[Recipe, ...]) -> list[list[Recipe]]:
    """The recipes in groups that can be built concurrently. The base of an image is in an earlier group."""
    depth: dict[str, int] = {}
    waves: list[list[Recipe]] = []
    for recipe in recipes:
        level = depth[recipe.base] + 1 if recipe.base else 0
        depth[recipe.name] = level
        while len(waves) <= level:
            waves.append([])
        waves[level].append(recipe)
    return waves
