"""Creates, removes and cleans up the directories of volumes on the host. Does not use the API."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection
from pathlib import Path

_NAME = re.compile(r"pvc-[0-9a-f-]{36}")
_REMOVING = ".removing-"


class Directories:
    """The directories of volumes below `root`, one for each."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def make(self, name: str) -> None:
        """Create a directory that any user may write to; access is controlled by mounts into pods and by fsGroup."""
        path = self._path(name)
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)

    def remove(self, name: str) -> None:
        """Remove a directory with its content; no error if it does not exist."""
        path = self._path(name)
        going = self._root / f"{_REMOVING}{name}"
        if path.exists():
            # Rename it first, atomically, so that an interrupted removal leaves no partial volume under its name.
            path.rename(going)
        shutil.rmtree(going, ignore_errors=True)

    def sweep(self, known: Collection[str]) -> None:
        """Clean up after a controller that was killed: finish removals, and remove empty directories without a volume.

        A directory with content is never removed, because it may belong to a retained volume.
        """
        if not self._root.is_dir():
            return
        for path in self._root.iterdir():
            if path.name.startswith(_REMOVING):
                shutil.rmtree(path, ignore_errors=True)
            elif _NAME.fullmatch(path.name) and path.name not in known and not any(path.iterdir()):
                path.rmdir()

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a volume of ours")
        return self._root / name
