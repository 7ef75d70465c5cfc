"""Installs parts concurrently, each from the first source that has it, with a lock per part between processes."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeVar

from wecityctl import cancellation
from wecityctl.model.words import counted
from wecityctl.toolchain import receipt as receipts
from wecityctl.toolchain import sources, system
from wecityctl.toolchain.catalogue import Catalogue
from wecityctl.toolchain.model import (
    Binary,
    Part,
    PartEvent,
    PartInstallError,
    PartState,
    PartStatus,
    Phase,
    Report,
    SystemPart,
)
from wecityctl.toolchain.receipt import BinaryRecord, Receipt
from wecityctl.toolchain.settings import Settings
from wecityctl.toolchain.source_protocol import NotOfferedError, Progress, Provided, SourceFailedError, StoppedError
from wecityctl.toolchain.store import Store
from wecityctl.toolchain.versions import VersionUnknownError, version_of

T = TypeVar("T")
WORKERS = 4
POLL_SECONDS = 0.5
REPEAT_SECONDS = 1.0
REPEATING = frozenset({Phase.BUILDING, Phase.DOWNLOADING, Phase.WAITING})


@dataclass(frozen=True, slots=True)
class Installer:
    """Installs the parts of `catalogue` and reports their state, according to `settings`."""

    settings: Settings
    catalogue: Catalogue = field(default_factory=Catalogue)

    @property
    def store(self) -> Store:
        """The cache into which parts are installed."""
        return Store(self.settings.root, self.settings.platform)

    def ensure(self, names: Iterable[str], report: Report, *, hashed: bool = False) -> None:
        """Install the named parts if needed. `report` is called from several threads, one call at a time.

        All parts are tried before `PartInstallError` is raised for those that failed. With `hashed`, parts in the cache
        are verified by digest and not only by size.
        """
        run = _Run(self, report, threading.Event(), hashed)
        run.install([self.catalogue.find(name) for name in dict.fromkeys(names)])

    def status(self, *, hashed: bool = True) -> list[PartStatus]:
        """The state of every part on this machine. `hashed` verifies the programs in the cache by digest."""
        with ThreadPoolExecutor(WORKERS) as pool:
            placed = list(pool.map(lambda part: self._status(part, hashed), self._placeable()))
        if self.settings.platform.os != "linux":
            return placed
        return placed + [system.status(part, self.settings) for part in self.catalogue.system]

    def _placeable(self) -> list[Part]:
        linux = self.settings.platform.os == "linux"
        vendors = [part for part in self.catalogue.vendors if self.store.directory(part).is_dir()]
        return [part for part in self.catalogue.parts if linux or not part.linux_only] + vendors

    def _status(self, part: Part, hashed: bool) -> PartStatus:
        state, found, problem = self.store.inspect(part, hashed=hashed)
        if found is None:
            return PartStatus(part.name, part.version, state, None, None, part.optional, problem)
        directory = self.store.directory(part)
        return PartStatus(
            part.name, found.version, state, found.source, directory, part.optional, problem or found.detail
        )


class _Run:
    """One call of `ensure`: its threads, its cancellation, and its sources, which share one reachability test."""

    def __init__(self, installer: Installer, report: Report, cancelled: threading.Event, hashed: bool) -> None:
        self._installer = installer
        self._report = report
        self._report_lock = threading.Lock()
        self._cancelled = cancelled
        self._hashed = hashed
        # apt-get cannot run concurrently; builds with cgo may need packages while system parts are being installed.
        self._apt = threading.Lock()
        self._sources = sources.ordered(installer.settings, cancelled, self._apt)

    def install(self, parts: list[Part | SystemPart]) -> None:
        placed = [part for part in parts if isinstance(part, Part)]
        packaged = [part for part in parts if isinstance(part, SystemPart)]
        failures: dict[str, str] = {}
        ended: SimpleQueue[None] = SimpleQueue()
        with ThreadPoolExecutor(WORKERS) as pool:
            futures = {part.name: pool.submit(_telling(self._ensure_placed, ended), part) for part in placed}
            if packaged:
                # apt-get cannot run concurrently.
                futures["system packages"] = pool.submit(_telling(self._ensure_packaged, ended), packaged)
            try:
                for _ in futures:
                    _await_one(ended)
            except BaseException:
                self._cancelled.set()
                raise
            for name, future in futures.items():
                error = future.exception()
                if isinstance(error, SourceFailedError):
                    failures[name] = str(error)
                elif error is not None:
                    raise error
        if failures:
            raise PartInstallError(
                f"{len(failures)} of {counted(len(parts), 'part')} could not be had: {', '.join(failures)}",
                details="\n".join(f"{name}:\n{reason}" for name, reason in failures.items()),
                resolution="Give a bundle with --bundle, or see wecityctl engine install --help.",
            )

    def _progress(self, part: str) -> Progress:
        began, last = time.monotonic(), (Phase.READY, 0.0)

        def progress(phase: Phase, detail: str = "") -> None:
            nonlocal last
            elapsed = time.monotonic() - began
            if phase in REPEATING and phase is last[0] and elapsed - last[1] < REPEAT_SECONDS:
                return
            last = (phase, elapsed)
            with self._report_lock:
                self._report(PartEvent(part, phase, elapsed, detail))

        return progress

    def _ensure_packaged(self, parts: list[SystemPart]) -> None:
        settings, failures = self._installer.settings, []
        for part in parts:
            progress = self._progress(part.name)
            if system.missing(part, settings):
                progress(Phase.INSTALLING, system.apt_line([part]))
                try:
                    with self._apt:
                        system.install(part.packages, settings)
                except SourceFailedError as error:
                    progress(Phase.FAILED, str(error))
                    failures.append(f"  {part.name}: {error}")
                    continue
            progress(Phase.READY, str(system.locate(part, part.binaries[0], settings)))
        if failures:
            raise SourceFailedError("\n".join(failures))

    def _ensure_placed(self, part: Part) -> None:
        progress = self._progress(part.name)
        if self._in_cache(part, progress):
            return
        if part.linux_only and self._installer.settings.platform.os != "linux":
            raise SourceFailedError("  it exists for Linux only")
        try:
            self._install(part, progress)
        except OSError as error:
            raise SourceFailedError(f"  {error}") from error

    def _install(self, part: Part, progress: Progress) -> None:
        def waiting() -> None:
            if self._cancelled.is_set():
                raise StoppedError
            progress(Phase.WAITING, "another process is installing it")

        store = self._installer.store
        with store.lock(part, waiting):
            # The previous holder of the lock may have installed it.
            if self._in_cache(part, progress):
                return
            with store.staging(part) as staging:
                self._from_first_source(part, staging, progress)

    def _in_cache(self, part: Part, progress: Progress) -> bool:
        state, found, problem = self._installer.store.inspect(part, hashed=self._hashed)
        if state is PartState.OK and found is not None:
            progress(Phase.READY, f"cache: {found.version} ({found.source})")
            return True
        if state is PartState.CORRUPT:
            progress(Phase.FAILED, f"cache: {problem}; it is installed again")
        return False

    def _from_first_source(self, part: Part, staging: Path, progress: Progress) -> None:
        reasons = []
        for source in self._sources:
            if self._cancelled.is_set():
                raise StoppedError
            try:
                provided = source.provide(part, staging, progress)
                progress(Phase.VERIFYING, f"{source.name}")
                receipt = self._check(part, staging, source, provided)
            except NotOfferedError as reason:
                progress(Phase.SKIPPED, f"{source.name}: {reason}")
                reasons.append(f"  {source.name}: {reason}")
            except (SourceFailedError, VersionUnknownError) as reason:
                progress(Phase.FAILED, f"{source.name}: {reason}")
                reasons.append(f"  {source.name}: {reason}")
                if source.is_named:
                    # A source that the user specified is used exclusively: no other source is tried.
                    break
            else:
                self._installer.store.place(part, staging, receipt)
                progress(Phase.READY, f"{source.name}: {receipt.version} ({provided.detail})")
                return
            _empty(staging)
        raise SourceFailedError("\n".join(reasons))

    def _check(self, part: Part, staging: Path, source: sources.Source, provided: Provided) -> Receipt:
        """Verify that the programs exist, run, and have the promised version; returns their receipt."""
        target = self._installer.settings.platform
        records = {}
        for binary in part.binaries_for(target):
            path = staging / "bin" / binary.name
            if not path.is_file():
                raise SourceFailedError(f"{binary.name} is not there")
            if not path.is_symlink():
                path.chmod(0o755)
            self._check_version(path, binary, provided.version)
            records[binary.name] = BinaryRecord.of(path)
        version = f"v{provided.version}"
        return Receipt(part.name, version, str(target), source.name, provided.detail, receipts.now(), records)

    @staticmethod
    def _check_version(path: Path, binary: Binary, promised: str) -> None:
        if not binary.version_arguments:
            return
        told = version_of(path, binary)
        if told != promised:
            raise SourceFailedError(f"{binary.name} says it is {told}, not {promised}")


def _telling(function: Callable[[T], None], ended: SimpleQueue[None]) -> Callable[[T], None]:
    """Return the function with a copy of this context, for another thread; when it has ended, `ended` has one more."""

    def call(given: T) -> None:
        try:
            function(given)
        finally:
            ended.put(None)

    return cancellation.in_context(call)


def _await_one(ended: SimpleQueue[None]) -> None:
    """Take one from `ended`, as soon as there is one. Raises what ends this context's operation.

    Asking the futures again and again would take their locks. Ctrl-C within that leaves a lock taken, and the thread
    that has to tell its result waits for it for ever. This queue has no lock that an interrupt leaves taken.
    """
    while True:
        try:
            return ended.get(timeout=POLL_SECONDS)
        except Empty:
            cancellation.check()


def _empty(staging: Path) -> None:
    for child in staging.iterdir():
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        else:
            child.unlink()
    (staging / "bin").mkdir()
