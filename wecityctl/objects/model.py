"""The interface to a place that keeps objects by key, and the rules for keys. Places themselves are other modules."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol, TypeAlias

from wecityctl.errors import WecityError

# S3's limit for a key, and the usual limit of a file system for one name; in bytes of UTF-8.
KEY_BYTES: Final = 1024
PART_BYTES: Final = 255
_SHOWN_CHARACTERS: Final = 400


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an operation may take.

    One attempt ends after `seconds`. It is repeated at most `attempts` times in all; `pause` (seconds) is the time
    before the second attempt, and doubles for each one after that.
    """

    seconds: float = 20.0
    attempts: int = 3
    pause: float = 0.2


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored object: its key, its size in bytes, and when it was last written (with time zone)."""

    key: str
    size: int
    modified: datetime


# Named, because a class with a method `list` cannot say `list[Entry]`.
Entries: TypeAlias = list[Entry]


class Objects(Protocol):
    """A place that keeps objects by key.

    All methods block, and several threads may call them. A process uses only what it opened itself, after its last
    fork. A key is a relative POSIX path such as `.pulumi/stacks/wecity/x.json`; every method raises `WecityError` for
    any other key.

    All methods raise `AuthenticationError` where the credentials are refused, `ConfigurationError` where the place
    that the URL names does not exist, and `DeploymentError` where an operation fails after its attempts.
    """

    @property
    def url(self) -> str:
        """The URL of the place, without credentials."""

    def get(self, key: str) -> bytes | None:
        """The object's data; `None` where there is no such object."""

    def exists(self, key: str) -> bool:
        """Whether there is such an object. Its data is not read."""

    def put(self, key: str, data: bytes) -> None:
        """Write the whole object, replacing one that exists. It is durable when this returns.

        A reader sees the old data or the new data. Where this raises, either may be stored.
        """

    def create(self, key: str, data: bytes) -> bool:
        """Write the object if the key is free; whether this call wrote it.

        Of several callers exactly one gets `True`. Where an answer is lost, the stored object is read back, so that a
        caller's own write is never reported as somebody else's.
        """

    def replace(self, key: str, data: bytes, before: bytes) -> bool:
        """Write the object if it is there with exactly the data `before`; whether this call wrote it.

        `False` too where there is none. Of several callers that name the same `before` exactly one gets `True`, unless
        all write that again. A write whose answer is lost, or that arrives late, replaces nothing else.
        """

    def replaces_safely(self) -> bool:
        """Whether `replace` compares and writes in one step. Where it does not, another's write between the two is
        lost: some servers of S3's protocol take no condition. The server is asked once."""

    def delete(self, key: str) -> None:
        """Delete the object; nothing happens where there is none."""

    def list(self, prefix: str = "") -> Entries:
        """All objects below the directory `prefix`, at every depth, sorted by key; all objects for an empty prefix."""

    def close(self) -> None:
        """Release connections. The object is not used afterwards."""


def check_key(key: str) -> str:
    """Return `key`. Raises `WecityError` for a key that is not a relative POSIX path that every place can keep."""
    if problem := _problem(key):
        raise WecityError(
            f"{key[:80]!r} cannot be the key of an object: {problem}",
            resolution="use a relative path such as .pulumi/stacks/wecity/name.json",
        )
    return key


def check_prefix(prefix: str) -> str:
    """Return `prefix` without a slash at its end; empty for all keys. Raises `WecityError` as `check_key` does."""
    trimmed = prefix.removesuffix("/")
    return check_key(trimmed) if prefix else ""


def _problem(key: str) -> str:
    """Why `key` cannot be used; empty if it can."""
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
    """The first line of an error's text for `details`, shortened, with every one of `secrets` replaced."""
    line = next(iter(hidden(str(error), secrets).strip().splitlines()), "")
    return f"{type(error).__name__}: {line[:_SHOWN_CHARACTERS]}" if line else type(error).__name__


def hidden(text: str, secrets: Iterable[str]) -> str:
    """`text` with every one of `secrets` replaced; empty ones are none."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text
