"""`render`: computes a city's manifests from its files, without access to a cloud. Secrets are redacted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from wecityctl.engine.sdk import render as manifests
from wecityctl.errors import ConfigurationError
from wecityctl.operations.offline import record_session

if TYPE_CHECKING:
    from wecityctl.session import Session


def render(session: Session, only: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the city's manifests by file name; with `only`, just those of the matching stacks.

    Raises the first failing program's error.
    """
    recordings = record_session(session, only)
    wanted = session.plan.matching(only) if only else {item.stack for item in recordings}
    return manifests.render(item for item in recordings if item.stack in wanted)


def as_one_document(files: Mapping[str, str]) -> str:
    """Return the manifests as one YAML stream."""
    return manifests.join(files)


def write_manifests(files: Mapping[str, str], directory: Path) -> None:
    """Write a file for each manifest. Raises `ConfigurationError` unless the directory is new or empty."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ConfigurationError(f"{directory} is not an empty directory", resolution="name another one")
    for name, text in files.items():
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
