"""The interface of object storage, and the rules for keys. Other modules implement it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol, TypeAlias

from wecityctl.errors import WecityError

# S3's limit for a key, and the usual file system limit for one name; in bytes of UTF-8.
KEY_BYTES: Final = 1024
PART_BYTES: Final = 255
_SHOWN_CHARACTERS: Final = 400


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an operation may take.

    One attempt ends after `seconds`. It is repeated at most `attempts` times in all; `pause` (seconds) is the time
    before the second attempt, and doubles for each one after that. Attempts that the server refuses because it has too
    much to do do not count: there may be `busy_attempts` of them, with `busy_pause` (seconds, doubled up to eight times
    as much) after the first.
    """

    seconds: float = 20.0
    attempts: int = 3
    pause: float = 0.2
    busy_attempts: int = 8
    busy_pause: float = 1.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored object: its key, its size in bytes, and when it was last written (with time zone)."""

    key: str
    size: int
    modified: datetime


# A named alias, because a class with a method `list` cannot use `list[Entry]` in annotations.
Entries: TypeAlias = list[Entry]


class Objects(Protocol):
    """Storage for objects by key.

    All methods block and are thread-safe. A process may use only an instance that it opened itself after its last fork.
    A key is a relative POSIX path such as `.pulumi/stacks/wecity/x.json`; every method raises `WecityError` for any
    other key.

    All methods raise `AuthenticationError` if the credentials are rejected, `ConfigurationError` if the place in the
    URL does not exist, and `DeploymentError` if an operation fails after its retries.
    """

    @property
    def url(self) -> str:
        """The URL of the place, without credentials."""

    def get(self, key: str) -> bytes | None:
        """Return the object's data; `None` if it does not exist."""

    def exists(self, key: str) -> bool:
        """Whether the object exists. Its data is not read."""

    def put(self, key: str, data: bytes) -> None:
        """Write the object, replacing an existing one. It is durable when this returns.

        A reader sees either the old or the new data. If this raises, either may be stored.
        """

    def create(self, key: str, data: bytes) -> bool:
        """Write the object if it does not exist; return whether this call wrote it.

        Of several callers exactly one gets `True`. If a response is lost, the stored object is read back, so that a
        caller's own write is never attributed to another.
        """

    def replace(self, key: str, data: bytes, before: bytes) -> bool:
        """Write the object if its data equals `before`; return whether this call wrote it.

        Returns `False` too if it does not exist. Of several callers with the same `before` exactly one gets `True`,
        unless they all write that data again. A write that arrives late replaces nothing else.
        """

    def replaces_safely(self) -> bool:
        """Whether `replace` compares and writes atomically; the server is asked once.

        Otherwise another process's write in between is lost: some S3-compatible servers ignore conditions.
        """

    def delete(self, key: str) -> None:
        """Delete the object; does nothing if it does not exist."""

    def list(self, prefix: str = "") -> Entries:
        """Return all objects below the directory `prefix`, at every depth, sorted by key; all
        objects if it is empty.
        """

    def close(self) -> None:
        """Release connections. The instance must not be used afterwards."""


def check_key(key: str) -> str:
    """Return `key`. Raises `WecityError` unless it is a relative POSIX path that every kind of storage supports."""
    if problem := _problem(key):
        raise WecityError(
            f"{key[:80]!r} cannot be the key of an object: {problem}",
            resolution="use a relative path such as .pulumi/stacks/wecity/name.json",
        )
    return key


def check_prefix(prefix: str) -> str:
    """Return `prefix` without a trailing slash; empty for all keys. Raises `WecityError` as `check_key` does."""
    trimmed = prefix.removesuffix("/")
    return check_key(trimmed) if prefix else ""


def _problem(key: str) -> str:
    """Return why `key` is invalid; empty if it is valid."""
    parts = key.split("/")
    if not key:
        return "it is empty"
    if key.startswith("/"):
        return "it is an absolute path"
    if "" in parts:
        return "a part of it is empty"
    if not {".", ".."}.isdisjoint(parts):
        return "it has a part . or .."
    if "\\" in key:
        return "it contains a backslash"
    # Cc: control characters; Cs: halves of a surrogate pair, which UTF-8 cannot encode; Zl, Zp: line separators.
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in key):
        return "it contains a control character"
    if len(key.encode()) > KEY_BYTES:
        return f"it is longer than {KEY_BYTES} bytes"
    if any(len(part.encode()) > PART_BYTES for part in parts):
        return f"a part of it is longer than {PART_BYTES} bytes"
    return ""


def shown(error: BaseException, secrets: Iterable[str] = ()) -> str:
    """Return the first line of an error's text for `details`, shortened, with `secrets` masked."""
    line = next(iter(hidden(str(error), secrets).strip().splitlines()), "")
    return f"{type(error).__name__}: {line[:_SHOWN_CHARACTERS]}" if line else type(error).__name__


def hidden(text: str, secrets: Iterable[str]) -> str:
    """Return `text` with `secrets` masked; empty ones are ignored."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text
