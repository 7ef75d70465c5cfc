"""Private files in directories that others may write to."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from wecityctl.paths import write_private


@pytest.mark.parametrize("kind", ["link", "hard link", "left"])
def test_what_is_in_the_place_of_the_temporary_file_is_not_written_to(kind: str, tmp_path: Path) -> None:
    """As another user may put it there once the directory was looked at, such as one for dashboards."""
    own, shared = tmp_path / "own", tmp_path / "shared"
    own.write_text("mine")
    shared.mkdir()
    guessed = shared / f".index.html.{os.getpid()}.{threading.get_ident()}.tmp"
    if kind == "link":
        guessed.symlink_to(own)
    elif kind == "hard link":
        guessed.hardlink_to(own)
    else:
        guessed.write_text("of a process that was killed")
    write_private(shared / "index.html", b"page")
    assert own.read_text() == "mine"
    assert (shared / "index.html").read_text() == "page"
    assert stat.S_IMODE((shared / "index.html").stat().st_mode) == 0o600
    assert [item.name for item in shared.iterdir()] == ["index.html"]
