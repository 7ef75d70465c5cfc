"""A copy of the program made of links, to which a test adds files without touching the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def link_program(place: Path, directories: Sequence[str]) -> None:
    """Link the program into `place`; `directories` are made anew there, of copied files, so that files can be added.

    A directory comes after those that it lies in.
    """
    for directory in directories:
        (place / directory).mkdir()
        for item in (ROOT / directory).iterdir():
            if item.is_file():
                shutil.copy(item, place / directory)
            elif item.relative_to(ROOT).as_posix() not in directories and item.name != "__pycache__":
                (place / directory / item.name).symlink_to(item.resolve())


def run_python(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with the copy's modules before the checkout's."""
    environment = {**os.environ, "PYTHONPATH": f"{place}{os.pathsep}{ROOT}", "HOME": str(place), "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=place, capture_output=True, text=True, check=False
    )


def run_wecityctl(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The copy's `wecityctl`."""
    return run_python(place, "-c", "from wecityctl.entry import main; main()", *arguments)
