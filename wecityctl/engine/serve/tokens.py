"""The tokens of a state server: owner, role, allowed stacks, and the file that stores their hashes.

A token has 256 random bits and cannot be guessed, so a fast hash is enough. A slow one such as scrypt protects
user-chosen passwords, and would add about 50 ms to each request of the engine.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import shlex
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
# A hundred tokens take 30 kB.
_MAX_FILE: Final = 16 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}\Z", re.ASCII)
_PATTERN = re.compile(r"[A-Za-z0-9._*?-]{1,200}(/[A-Za-z0-9._*?-]{1,200})?\Z", re.ASCII)


class Role(StrEnum):
    """What a token allows; each role includes those before it."""

    PREVIEW = "preview"
    UPDATE = "update"
    ADMIN = "admin"

    def includes(self, other: Role) -> bool:
        """Whether this role allows all that `other` allows."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret.

    `stacks` are patterns of stack names, empty for all stacks; `expires` and `created` are RFC 3339 times, `expires` is
    empty for a token that does not expire; `hash` is the SHA-256 of the whole token.
    """

    id: str
    name: str
    role: Role
    stacks: tuple[str, ...]
    expires: str
    created: str
    hash: str = field(repr=False)

    def allows(self, stack: str) -> bool:
        """Whether the token allows this stack: `stack` in our project, or `project/stack`, which needs a pattern with a
        slash.
        """
        depth = stack.count("/")
        return not self.stacks or any(each.count("/") == depth and fnmatchcase(stack, each) for each in self.stacks)

    def is_expired(self, now: datetime) -> bool:
        """Whether the token has expired at `now`, a time with time zone."""
        return bool(self.expires) and datetime.fromisoformat(self.expires) <= now


def read_tokens(path: Path) -> tuple[Token, ...]:
    """Return the tokens in a file. Raises `ConfigurationError` if it is missing, damaged or
    accessible to other users.
    """
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
    """Add a token to the file, which is created if missing. Returns the secret text to hand out, and the token.

    `lifetime` is `None` for a token that does not expire. Raises `ConfigurationError` for a name that is taken, and for
    an invalid name or pattern.
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
    # Hexadecimal text without the separator, so that the token is one word.
    given = f"{PREFIX}_{identity}_{secrets.token_hex(_SECRET_BYTES)}"
    token = Token(identity, name, role, patterns, expires, now.isoformat(), hashed(given))
    with turn_of(path.absolute()):
        before = read_tokens(path) if path.exists() else ()
        if any(each.name == name for each in before):
            raise ConfigurationError(
                f"{name} has a token already",
                resolution=f"remove it first: wecityctl state token remove {name} --tokens {shlex.quote(str(path))}",
            )
        _write(path, (*before, token))
    return given, token


def remove_token(path: Path, name: str) -> Token:
    """Remove the token of that name from the file, and return it. Raises `ConfigurationError` if there is none."""
    with turn_of(path.absolute()):
        before = read_tokens(path)
        removed = next((each for each in before if each.name == name), None)
        if removed is None:
            raise ConfigurationError(
                f"there is no token for {name}",
                details="there are tokens for: " + (", ".join(each.name for each in before) or "nobody"),
                resolution="`wecityctl state token list` shows them",
            )
        _write(path, tuple(each for each in before if each is not removed))
    return removed


def _write(path: Path, tokens: tuple[Token, ...]) -> None:
    content = {"version": VERSION, "tokens": [asdict(token) for token in tokens]}
    try:
        # Follow a symbolic link, because the server reads its target.
        write_private(path.resolve(), json.dumps(content, indent=2).encode() + b"\n")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written", details=str(error.strerror)) from error


def hashed(token: str) -> str:
    """Return the hash under which a token is stored."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


class TokenFile:
    """The current tokens of the file: a change of the file takes effect with the next request."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises `ConfigurationError` as `read_tokens` does."""
        self._path = path
        self._seen = self._look()
        self._tokens = {token.id: token for token in read_tokens(path)}
        self._problem: ConfigurationError | None = None

    def find(self, given: str) -> Token | None:
        """Return the matching token; `None` for one that is unknown or expired.

        Raises `ConfigurationError` while the file is unusable: nobody is authenticated then.
        """
        self._refresh()
        if self._problem is not None:
            raise self._problem
        identity = given.split("_", 2)[1] if given.count("_") == 2 else ""
        token = self._tokens.get(identity)
        # Compare even for an unknown id, so that the response time does not reveal which ids exist.
        matches = hmac.compare_digest(token.hash if token is not None else "0" * 64, hashed(given))
        return token if token is not None and matches and not token.is_expired(datetime.now(UTC)) else None

    def with_id(self, identity: str) -> Token | None:
        """Return the token with this id, even if expired; `None` if it was removed."""
        self._refresh()
        return self._tokens.get(identity)

    def holds(self, token: Token) -> bool:
        """Whether the token has not been removed; while the file is unusable, as of the last reading.

        An expired token counts: an update that began before its expiry may end.
        """
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
