"""Takes parts from PATH if their version is in the tested range. They are linked into the cache, not copied."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from wecityctl.toolchain.model import Binary, Part, Phase, SourceName, VersionRange
from wecityctl.toolchain.settings import Settings
from wecityctl.toolchain.source_protocol import NotOfferedError, Progress, Provided
from wecityctl.toolchain.versions import VersionUnknownError, version_of


@dataclass(frozen=True, slots=True)
class PathSource:
    """Looks for all programs of a part in the directories of PATH."""

    settings: Settings
    name: SourceName = SourceName.PATH
    is_named: bool = False

    def provide(self, part: Part, staging: Path, progress: Progress) -> Provided:
        """Link the programs into `staging/bin` if all of them are found and report the same accepted version."""
        if part.accepts is None:
            raise NotOfferedError("this part is not taken from PATH")
        found: dict[str, Path] = {}
        versions: set[str] = set()
        for binary in part.binaries_for(self.settings.platform):
            path = find(binary.name, self.settings.search_path)
            if path is None:
                raise NotOfferedError(f"{binary.name} is not on PATH")
            progress(Phase.TRYING, f"{path}")
            versions.add(_accepted(path, binary, part.accepts))
            found[binary.name] = path
        if len(versions) > 1:
            raise NotOfferedError(f"the programs on PATH differ in version: {', '.join(sorted(versions))}")
        for name, path in found.items():
            (staging / "bin" / name).symlink_to(path)
        return Provided(versions.pop(), ", ".join(str(path) for path in found.values()))


def _accepted(path: Path, binary: Binary, accepts: VersionRange) -> str:
    try:
        version = version_of(path, binary)
    except VersionUnknownError as error:
        raise NotOfferedError(f"{path}: {error}") from error
    if version not in accepts:
        raise NotOfferedError(f"{path} is {version}; tested are {accepts}")
    return version


def find(name: str, directories: tuple[Path, ...]) -> Path | None:
    """The first executable file called `name` in `directories`; `None` if there is none."""
    for directory in directories:
        candidate = directory / name
        # Checked first, because `is_file` raises if the directory is not accessible.
        if os.access(candidate, os.X_OK) and candidate.is_file():
            return candidate
    return None
