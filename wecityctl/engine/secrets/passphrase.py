"""Finds the passphrase of the city's state, and decides when a new one may be created."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wecityctl.errors import AuthenticationError
from wecityctl.paths import create_private, state_dir

VARIABLE = "PULUMI_CONFIG_PASSPHRASE"
FILE_VARIABLE = "PULUMI_CONFIG_PASSPHRASE_FILE"


@dataclass(frozen=True, slots=True)
class Passphrase:
    """The passphrase, and the environment that passes it to a CLI. `source` says where it was found, for users.

    A new one is written to `file` only with the first state, so that a preview leaves nothing behind.
    """

    value: str = field(repr=False)
    source: str
    environment: Mapping[str, str] = field(repr=False)
    file: Path | None = None

    def persist(self) -> None:
        """Write a new passphrase to its file.

        Raises `AuthenticationError` if another run has created one meanwhile; nothing has been encrypted with this one
        yet.
        """
        if self.file is None or create_private(self.file, f"{self.value}\n".encode()):
            return
        if _read(self.file) != self.value:
            raise AuthenticationError(
                "another run has made the passphrase of this machine's states meanwhile",
                details=str(self.file),
                resolution="run it again: it takes that one",
            )


def default_file() -> Path:
    """Return the file with the passphrase of the local default back end."""
    return state_dir() / "passphrase"


def find_passphrase(*, local_default: bool, encrypted_state: bool) -> Passphrase:
    """Return the passphrase from the environment, a file named there, or the file of the local default back end.

    A new one is created only for the local default, while no encrypted state exists there. Raises
    `AuthenticationError`.
    """
    if VARIABLE in os.environ:
        value = os.environ[VARIABLE]
        if not value:
            raise AuthenticationError(
                f"{VARIABLE} is empty", resolution="set it to the passphrase of the city's state, or unset it"
            )
        return Passphrase(value, VARIABLE, {VARIABLE: value})
    if FILE_VARIABLE in os.environ:
        path = Path(os.environ[FILE_VARIABLE])
        return Passphrase(_read(path), str(path), {FILE_VARIABLE: str(path)})
    path = default_file()
    if local_default and path.exists():
        return Passphrase(_read(path), str(path), {FILE_VARIABLE: str(path)})
    if local_default and not encrypted_state:
        value = secrets.token_urlsafe(32)
        return Passphrase(value, str(path), {VARIABLE: value}, path)
    raise AuthenticationError(
        "the passphrase of the city's state is missing",
        details=f"looked at {VARIABLE}, {FILE_VARIABLE}" + (f" and {path}" if local_default else ""),
        resolution=f"set {VARIABLE} or {FILE_VARIABLE} to the passphrase that the state was made with",
    )


def _read(path: Path) -> str:
    try:
        value = path.read_text(encoding="utf-8", errors="surrogateescape").strip()
    except OSError as error:
        raise AuthenticationError(
            f"the passphrase file cannot be read: {path}",
            details=error.strerror or "",
            resolution=f"set {FILE_VARIABLE} to a file that can be read",
        ) from error
    if not value:
        raise AuthenticationError(
            f"the passphrase file is empty: {path}", resolution="put the passphrase of the city's state in it"
        )
    return value
