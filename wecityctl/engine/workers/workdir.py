"""The temporary directory of one run: project file, event pipes, and a scratch back end for previews."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from wecityctl.engine.process.identity import Owner
from wecityctl.engine.state.backend import project_file
from wecityctl.engine.state.store_file import FileStore
from wecityctl.paths import cache_dir, private_dir


class Workdir:
    """The directory of this run. Directories left by dead runs are removed by the next one."""

    def __init__(self) -> None:
        home = private_dir(cache_dir() / "runs")
        _sweep(home)
        owner = Owner.of(os.getpid())
        self.path = home / f"{owner.pid}-{owner.started}-{id(self):x}"
        self.path.mkdir(mode=0o700)
        (self.path / "Pulumi.yaml").write_text(project_file())
        self.scratch = FileStore(self.path / "scratch")

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path, ignore_errors=True)


def _sweep(home: Path) -> None:
    for path in home.iterdir():
        with contextlib.suppress(ValueError, OSError):
            pid, started, _ = path.name.split("-")
            if Owner.of(int(pid)).started != int(started):
                shutil.rmtree(path, ignore_errors=True)
