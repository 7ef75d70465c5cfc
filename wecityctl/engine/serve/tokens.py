"""The tokens of a state server: who has one, what it allows, and the file that keeps their hashes.

A token is 256 random bits, so a hash without a work factor is enough: nobody can try them all. A slow hash such as
scrypt protects what people choose, and would cost every request of the engine some 50 ms.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from wecityctl.errors import ConfigurationError
from wecityctl.filelock import turn_of
from wecityctl.paths import write_private

VERSION: Final = 1
PREFIX: Final = "wecity"
_SECRET_BYTES: Final = 32
_ID_BYTES: Final = 6
# A hundred tokens are 30 kB.
_MAX_FILE: Final = 16 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}\Z", re.ASCII)
_PATTERN = re.compile(r"[A-Za-z0-9._*?-]{1,200}(/[A-Za-z0-9._*?-]{1,200})?\Z", re.ASCII)


class Role(StrEnum):
    """What a token allows; each role includes those before it."""

    PREVIEW = "preview"
    UPDATE = "update"
    ADMIN = "admin"

    def includes(self, other: Role) -> bool:
        """Whether whoever has this role may do what `other` may do."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret. `stacks` are patterns of stack names, none for all stacks; `expires` and `created`
    are RFC 3339 times, `expires` empty for a token that does not expire; `hash` is the SHA-256 of the whole token."""

    id: str
    name: str
    role: Role
    stacks: tuple[str, ...]
    expires: str
    created: str
    hash: str = field(repr=False)

    def allows(self, stack: str) -> bool:
        """Whether the token is for this stack: `stack` of our project, `project/stack` of another one, for which a
        pattern has a slash too."""
        depth = stack.count("/")
        return not self.stacks or any(each.count("/") == depth and fnmatchcase(stack, each) for each in self.stacks)

    def is_expired(self, now: datetime) -> bool:
        """Whether its time is over at `now`, a time with time zone."""
        return bool(self.expires) and datetime.fromisoformat(self.expires) <= now


def read_tokens(path: Path) -> tuple[Token, ...]:
    """The tokens in a file. Raises `ConfigurationError` for one that is missing, damaged or open to other users."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_FILE:
                raise _unusable(path, "it is no file of tokens")
            if found.st_mode & 0o077:
                raise ConfigurationError(
                    f"the file of tokens {path} is open to other users",
                    details=f"its mode is {stat.S_IMODE(found.st_mode):04o}",
                    resolution=f"chmod 600 {path}",
                )
            data = stream.read()
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no file of tokens at {path}",
            resolution=f"make it with the first token: wecityctl state token add NAME --role admin --tokens {path}",
        ) from None
    except OSError as error:
        raise _unusable(path, str(error.strerror)) from error
    return _parsed(path, data)


def _parsed(path: Path, data: bytes) -> tuple[Token, ...]:
    try:
        found = json.loads(data)
        if found["version"] != VERSION:
            raise _unusable(path, f"it is of version {found['version']!r}, not {VERSION}")
        return tuple(_token(item) for item in found["tokens"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _unusable(path, f"{type(error).__name__}: {error}") from error


def _token(item: dict[str, Any]) -> Token:
    token = Token(**{**item, "role": Role(item["role"]), "stacks": tuple(item["stacks"])})
    strings = (token.id, token.name, token.expires, token.created, token.hash, *token.stacks)
    if not all(isinstance(each, str) for each in strings):
        raise ValueError("a field of a token is no text")
    if token.expires and datetime.fromisoformat(token.expires).tzinfo is None:
        raise ValueError("a time has no time zone")
    return token


def _unusable(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"the file of tokens {path} cannot be used", details=why, resolution="put back a copy of it, or make a new one"
    )


def add_token(
    path: Path, name: str, role: Role, stacks: Iterable[str] = (), lifetime: timedelta | None = None
) -> tuple[str, Token]:
    """Add a token to the file, which is made where there is none: the token to hand out, and what is noted of it.

    `lifetime` is `None` for a token that does not expire. Raises `ConfigurationError` for a name that is taken, and for
    a name or a pattern that cannot be one.
    """
    patterns = tuple(stacks)
    if not _NAME.match(name):
        raise ConfigurationError(
            f"{name!r} cannot be the name of a token",
            resolution="use up to 63 letters, digits and . _ @ -, a letter or digit first",
        )
    for pattern in patterns:
        if not _PATTERN.match(pattern):
            raise ConfigurationError(
                f"{pattern!r} is no pattern of stack names", resolution="write one such as 'xingcheng.tenant.health.*'"
            )
    now = datetime.now(UTC).replace(microsecond=0)
    expires = (now + lifetime).isoformat() if lifetime is not None else ""
    identity = secrets.token_hex(_ID_BYTES)
    # URL-safe text without the separator, so that the token is one word everywhere.
    given = f"{PREFIX}_{identity}_{secrets.token_hex(_SECRET_BYTES)}"
    token = Token(identity, name, role, patterns, expires, now.isoformat(), hashed(given))
    with turn_of(path.absolute()):
        before = read_tokens(path) if path.exists() else ()
        if any(each.name == name for each in before):
            raise ConfigurationError(
                f"{name} has a token already", resolution=f"remove it first: wecityctl state token remove {name}"
            )
        _write(path, (*before, token))
    return given, token


def remove_token(path: Path, name: str) -> Token:
    """Remove the token of that name from the file. Raises `ConfigurationError` where there is none."""
    with turn_of(path.absolute()):
        before = read_tokens(path)
        removed = next((each for each in before if each.name == name), None)
        if removed is None:
            raise ConfigurationError(
                f"nobody called {name} has a token", details="tokens: " + (", ".join(each.name for each in before))
            )
        _write(path, tuple(each for each in before if each is not removed))
    return removed


def _write(path: Path, tokens: tuple[Token, ...]) -> None:
    content = {"version": VERSION, "tokens": [asdict(token) for token in tokens]}
    try:
        # Behind a symbolic link, the server reads the file itself.
        write_private(path.resolve(), json.dumps(content, indent=2).encode() + b"\n")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written", details=str(error.strerror)) from error


def hashed(token: str) -> str:
    """The hash under which a token is kept."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


class TokenFile:
    """The file's tokens as they are now: a change of the file counts from the next request on."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises `ConfigurationError` as `read_tokens` does."""
        self._path = path
        self._seen = self._look()
        self._tokens = {token.id: token for token in read_tokens(path)}
        self._problem: ConfigurationError | None = None

    def find(self, given: str) -> Token | None:
        """The token that was given; `None` for one that is unknown or expired.

        Raises `ConfigurationError` while the file cannot be used: then nobody is let in.
        """
        self._refresh()
        if self._problem is not None:
            raise self._problem
        identity = given.split("_", 2)[1] if given.count("_") == 2 else ""
        token = self._tokens.get(identity)
        # Compared also where there is nothing to compare with, so that the time does not tell which ids exist.
        matches = hmac.compare_digest(token.hash if token is not None else "0" * 64, hashed(given))
        return token if token is not None and matches and not token.is_expired(datetime.now(UTC)) else None

    def with_id(self, identity: str) -> Token | None:
        """The token with this id, also an expired one; `None` for one that was removed."""
        self._refresh()
        return self._tokens.get(identity)

    def holds(self, token: Token) -> bool:
        """Whether the token has not been removed; as last read, while the file cannot be used. An expired one counts:
        what was begun in its time comes to its end."""
        self._refresh()
        return token.id in self._tokens

    def _refresh(self) -> None:
        seen = self._look()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._tokens, self._problem = {token.id: token for token in read_tokens(self._path)}, None
        except ConfigurationError as error:
            self._problem = error

    def _look(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode, found.st_ctime_ns
