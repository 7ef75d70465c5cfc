"""The on-disk cache of parts: paths, locks, staging directories, and atomic installation.

The layout is `<root>/<part>/<version>/bin/<binary>` and `receipt.json`. Obtaining the files is left to the sources.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from wecityctl.filelock import BUILD_SECONDS, hold
from wecityctl.toolchain import receipt as receipts
from wecityctl.toolchain.model import Part, PartState, Platform
from wecityctl.toolchain.receipt import Receipt


@dataclass(frozen=True, slots=True)
class Store:
    """The cache below `root`, for one platform."""

    root: Path
    platform: Platform

    def directory(self, part: Part) -> Path:
        """The directory of the pinned version of `part`, whether it exists or not."""
        return self.root / part.name / part.pin

    def binary(self, part: Part, name: str) -> Path:
        """The path of the program `name` of `part`, whether it exists or not."""
        return self.directory(part) / "bin" / name

    def receipt(self, part: Part) -> Receipt | None:
        """The receipt of `part` if its files exist with the right sizes; otherwise `None`."""
        state, found, _ = self.inspect(part)
        return found if state is PartState.OK else None

    def inspect(self, part: Part, *, hashed: bool = False) -> tuple[PartState, Receipt | None, str]:
        """The state of `part`, its receipt, and the problem if any. Compares sizes and, with `hashed`, digests."""
        directory = self.directory(part)
        if not directory.is_dir():
            return PartState.MISSING, None, ""
        found = receipts.read(directory)
        if found is None:
            return PartState.CORRUPT, None, "there is no valid receipt"
        if found.part != part.name or found.platform != str(self.platform):
            return PartState.CORRUPT, found, f"the receipt is for {found.part} on {found.platform}"
        for binary in part.binaries_for(self.platform):
            problem = self._problem(part, binary.name, found, hashed)
            if problem:
                return PartState.CORRUPT, found, problem
        return PartState.OK, found, ""

    def _problem(self, part: Part, name: str, found: Receipt, hashed: bool) -> str:
        record = found.binaries.get(name)
        if record is None:
            return f"the receipt does not name {name}"
        path = self.binary(part, name)
        try:
            if path.stat().st_size != record.size:
                return f"{name} has another size than when it was installed"
            if hashed and receipts.digest(path) != record.sha256:
                return f"{name} has another content than when it was installed"
        except OSError as error:
            return f"{name}: {error.strerror}"
        return ""

    @contextlib.contextmanager
    def lock(self, part: Part, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold the part's lock between processes. `waiting` is called repeatedly while another process holds it."""
        locks = self.root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with (locks / f"{part.name}.lock").open("w") as stream:
            hold(stream.fileno(), seconds=BUILD_SECONDS, what=part.name, waiting=waiting)
            yield

    @contextlib.contextmanager
    def staging(self, part: Part) -> Iterator[Path]:
        """An empty directory beside the final one. It is removed afterwards unless `place` moved it. Needs the lock."""
        home = self.root / part.name
        home.mkdir(parents=True, exist_ok=True)
        self._sweep(home)
        directory = Path(tempfile.mkdtemp(prefix=f".{part.pin}.", dir=home))
        directory.chmod(0o755)
        try:
            (directory / "bin").mkdir()
            yield directory
        finally:
            _remove(directory)

    @staticmethod
    def _sweep(home: Path) -> None:
        # The holder of the lock is the only active process here, so hidden directories were left by dead ones.
        for leftover in home.glob(".*"):
            if leftover.is_dir():
                _remove(leftover)

    def place(self, part: Part, staging: Path, receipt: Receipt) -> None:
        """Move the staged files to the part's directory atomically. Needs the lock."""
        for child in (staging / "bin").iterdir():
            if not child.is_symlink():
                child.chmod(0o755)
                _sync(child)
        for extra in staging.iterdir():
            if extra.name != "bin":
                _remove(extra)
        receipts.write(staging, receipt)
        final = self.directory(part)
        if final.exists():
            doomed = final.with_name(f".{final.name}.old.{os.getpid()}")
            final.rename(doomed)
            staging.rename(final)
            _remove(doomed)
        else:
            staging.rename(final)
        _sync(final.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
