"""`migrate`: renames fields of a city's files that an earlier release called otherwise."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from wecityctl.operations.city_files import turn_to_edit, write_together
from wecityctl.spec.migrate import MigratedFile
from wecityctl.spec.migrate import migrate as migrated_files


def migrate(path: Path, *, dry_run: bool = False) -> tuple[MigratedFile, ...]:
    """Rename the fields, and return the files with renamed ones; with `dry_run` nothing is written.

    Comments and layout stay. Each file is replaced in one step and keeps its permissions, or none is changed. Raises
    `InvalidCityError`, and `ConfigurationError` if a file cannot be written.
    """
    with nullcontext() if dry_run else turn_to_edit(path):
        migrated = migrated_files(path)
        if not dry_run:
            write_together({changed.path: changed.text for changed in migrated})
    return migrated
