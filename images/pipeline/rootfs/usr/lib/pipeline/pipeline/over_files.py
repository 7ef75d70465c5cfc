"""Collects records of CSV files that are put into a directory: `inbox`, from where they go to `done` or `refused`."""

from __future__ import annotations

import threading
from pathlib import Path

from sample_app.log import say

from pipeline import intake
from pipeline.description import Description
from pipeline.errors import PipelineError
from pipeline.filtering import rows_of_csv
from pipeline.store import Store

SECONDS = 2.0


def watch(root: Path, description: Description, store: Store, ended: threading.Event) -> None:
    """Take files until `ended`; one that cannot be stored now is tried again."""
    for name in ("inbox", "done", "refused"):
        (root / name).mkdir(exist_ok=True)
    while not ended.wait(SECONDS):
        try:
            take_all(root, description, store)
        except (PipelineError, OSError) as error:
            say("failed", source="file", problem=str(error)[:300])


def take_all(root: Path, description: Description, store: Store) -> None:
    """Take each file. It moves after its records are stored; where that fails, they are duplicates the next time."""
    for path in sorted((root / "inbox").glob("*.csv")):
        try:
            text = _text(path)
            found = intake.take(description, store, "file", rows_of_csv(description, text))
        except (intake.WholeError, ValueError) as error:
            say("file refused", file=path.name, reason=str(error))
            path.replace(root / "refused" / path.name)
        else:
            say("file taken", file=path.name, **found)
            path.replace(root / "done" / path.name)


def _text(path: Path) -> str:
    if path.is_symlink() or not path.is_file():
        raise intake.WholeError("it is no file")
    if path.stat().st_size > intake.BYTES_MOST:
        raise intake.WholeError(f"it has more than {intake.BYTES_MOST} bytes")
    return path.read_text(encoding="utf-8-sig")
