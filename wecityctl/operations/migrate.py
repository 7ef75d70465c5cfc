"""`migrate`: renames fields of a city's files that an earlier release called otherwise."""

from __future__ import annotations

from pathlib import Path

from wecityctl.errors import ConfigurationError
from wecityctl.paths import replace_text
from wecityctl.spec.migrate import MigratedFile
from wecityctl.spec.migrate import migrate as migrated_files


def migrate(path: Path, *, dry_run: bool = False) -> tuple[MigratedFile, ...]:
    """Rename the fields, and return the files with renamed ones; with `dry_run` nothing is written.

    Comments and layout stay. Each file is replaced in one step and keeps its permissions. Raises `InvalidCityError`,
    and `ConfigurationError` if a file cannot be written.
    """
    migrated = migrated_files(path)
    for changed in () if dry_run else migrated:
        try:
            replace_text(changed.path, changed.text)
        except OSError as error:
            raise ConfigurationError(
                f"{changed.file.name} cannot be written: {error.strerror or error}",
                resolution="make the file and its directory writable, and run it again",
            ) from error
    return migrated
