"""Distributions of the Python package index through pip, with the machine's own pip settings.

pip resolves and downloads; unpacking is ours, so that no installer leaves its marks: a pure wheel is a zip of what goes
into the target directory.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wecityctl.oci.lock import Wheel
from wecityctl.oci.tree import ImageBuildError, Tree, regular

PIP_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Pip:
    """pip over `root`, our directory for wheels."""

    root: Path
    environment: Mapping[str, str]
    offline: bool = False

    def resolve(self, requirements: Sequence[str], python: str) -> tuple[Wheel, ...]:
        """The wheels that `requirements` need on Python `python`, downloaded already."""
        with tempfile.TemporaryDirectory(dir=self._ready(), prefix="resolve-") as scratch:
            self._download([*_flags(python), *requirements], Path(scratch))
            return tuple(sorted(self._keep(path) for path in Path(scratch).glob("*.whl")))

    def fetch(self, wheels: Sequence[Wheel], python: str) -> list[Path]:
        """The locked wheels' files, from our cache or else downloaded."""
        if any(not self._place(wheel).is_file() for wheel in wheels):
            with tempfile.TemporaryDirectory(dir=self._ready(), prefix="fetch-") as scratch:
                locked = Path(scratch) / "requirements.txt"
                locked.write_text("".join(f"{w.project}=={w.version} --hash=sha256:{w.sha256}\n" for w in wheels))
                self._download([*_flags(python), "--no-deps", "--require-hashes", "-r", str(locked)], Path(scratch))
                for path in Path(scratch).glob("*.whl"):
                    self._keep(path)
        if absent := [wheel.file for wheel in wheels if not self._place(wheel).is_file()]:
            raise ImageBuildError(f"pip brought other files than the locked ones: {', '.join(absent)} did not come")
        return [self._place(wheel) for wheel in wheels]

    def _place(self, wheel: Wheel) -> Path:
        return self.root / f"{wheel.sha256}.whl"

    def _ready(self) -> Path:
        self.root.mkdir(parents=True, exist_ok=True)
        return self.root

    def _keep(self, path: Path) -> Wheel:
        project, version = path.name.split("-")[:2]
        wheel = Wheel(project, version, path.name, hashlib.sha256(path.read_bytes()).hexdigest())
        path.replace(self._place(wheel))
        return wheel

    def _download(self, arguments: Sequence[str], target: Path) -> None:
        if self.offline:
            raise ImageBuildError("offline, and not all Python distributions are in the cache")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(target), *arguments]
        done = subprocess.run(
            command,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=PIP_SECONDS,
        )
        if done.returncode != 0:
            raise ImageBuildError(
                "pip cannot download the image's Python distributions",
                details="\n".join(done.stderr.strip().splitlines()[-8:]),
                resolution="check pip's index settings on this machine",
            )


def unpack(tree: Tree, wheel: Path, target: str) -> None:
    """Add a pure wheel's files to `tree` under `target`."""
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith("/"):
                continue
            if ".data/" in name or name.startswith(("/", "..")) or "/../" in name:
                raise ImageBuildError(f"{wheel.name} is no pure wheel: it brings {name}")
            tree.add(f"{target}/{name}", regular(archive.read(name)))


def _flags(python: str) -> list[str]:
    # Pure distributions alone, whatever Python runs this: the same files for every architecture.
    return [
        "--only-binary=:all:",
        "--implementation=py",
        "--abi=none",
        "--platform=any",
        f"--python-version={python}",
    ]
