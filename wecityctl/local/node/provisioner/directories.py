"""The volumes' directories on the host: made, removed, swept. Knows nothing of the API."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection
from pathlib import Path

_NAME = re.compile(r"pvc-[0-9a-f-]{36}")
_REMOVING = ".removing-"


class Directories:
    """Volumes below `root`, one directory each."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def make(self, name: str) -> None:
        """A directory that any user may write to: who may, is decided by which pod mounts it, and by fsGroup."""
        path = self._path(name)
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)

    def remove(self, name: str) -> None:
        """Remove it with everything in it; not there is as good."""
        path = self._path(name)
        going = self._root / f"{_REMOVING}{name}"
        if path.exists():
            # First out of the way in one step: a removal cut short must not leave half a volume under its name.
            path.rename(going)
        shutil.rmtree(going, ignore_errors=True)

    def sweep(self, known: Collection[str]) -> None:
        """What a controller that was killed left: removals to be finished, and empty directories of no volume.

        A directory with something in it is never swept: it may be a retained volume's.
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
