"""Copies of a city's states in an object store at another place, encrypted with the passphrase of the states.

Each copy is an object of its own that is never written again. Its name is the time at which it was made, and is
authenticated with its content, so that whoever has the store can neither read a copy nor show an old one as a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from wecityctl.engine.secrets.crypto import WrongPassphraseError, new_salt, open_salt
from wecityctl.errors import AuthenticationError, ConfigurationError, DeploymentError
from wecityctl.model.city import Keep
from wecityctl.objects.model import Objects

_HEADER = "wecity-state 1"
_TIME, _END = "%Y%m%dT%H%M%S.%fZ", ".sealed"
# A clock that is further ahead than this has jumped.
_AHEAD = timedelta(minutes=10)
# Far larger than a city's states.
_MOST_BYTES = 1 << 31


@dataclass(frozen=True, slots=True)
class SealedCopy:
    """A copy in the store: its key, when it was made by the clock of who made it (UTC), and its size in bytes."""

    key: str
    at: datetime
    size: int

    def is_ahead(self, now: datetime) -> bool:
        """Whether it was made by a clock that is ahead of ours."""
        return self.at > now + _AHEAD


def copies(objects: Objects) -> tuple[SealedCopy, ...]:
    """Return the copies in the store, oldest first. What else is there is passed over."""
    found = []
    for entry in objects.list():
        try:
            at = datetime.strptime(entry.key, f"{_TIME}{_END}").replace(tzinfo=UTC)
        except ValueError:
            continue
        found.append(SealedCopy(entry.key, at, entry.size))
    return tuple(sorted(found, key=lambda item: item.at))


def write(objects: Objects, city: str, passphrase: str, archive: bytes, now: datetime) -> SealedCopy:
    """Write an archive of a city's states as a copy of the time `now`.

    Raises `DeploymentError` if a copy of that very time is there, and what the store raises.
    """
    salt, crypter = new_salt(passphrase)
    key = f"{now.astimezone(UTC):{_TIME}}{_END}"
    head = f"{_HEADER} {salt}\n".encode()
    data = head + crypter.seal(archive, _about(head, city, key))
    if not objects.create(key, data):
        raise DeploymentError(f"there is a copy of that very time: {key}", resolution="run it again")
    return SealedCopy(key, now, len(data))


def read(objects: Objects, city: str, passphrase: str, item: SealedCopy) -> bytes:
    """Return the archive in a copy.

    Raises `AuthenticationError` if the passphrase does not open it, `ConfigurationError` if it is damaged or another
    city's, and what the store raises.
    """
    if item.size > _MOST_BYTES:
        raise ConfigurationError(
            f"the copy {item.key} is of {item.size:,} bytes, which no copy of states is",
            resolution="take an earlier one with --at",
        )
    data = objects.get(item.key)
    if data is None:
        raise DeploymentError(f"the copy {item.key} is not there any more", resolution="run it again")
    line, newline, sealed = data.partition(b"\n")
    head, _, salt = line.decode(errors="replace").rpartition(" ")
    try:
        if head != _HEADER or not newline:
            raise ValueError(f"it does not begin with {_HEADER!r}: it is damaged, or a newer version's")
        crypter = open_salt(passphrase, salt)
        return crypter.unseal(sealed, _about(line + newline, city, item.key))
    except WrongPassphraseError as error:
        raise AuthenticationError(
            f"the passphrase does not open the copy of the states of {item.at:%Y-%m-%dT%H:%M:%SZ}",
            resolution="set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE to that of the states",
        ) from error
    except ValueError as error:
        raise ConfigurationError(
            f"the copy {item.key} is no copy of the states of {city}",
            details=str(error),
            resolution="take an earlier one with --at",
        ) from error


def _about(head: bytes, city: str, key: str) -> bytes:
    return head + f"{city}/{key}".encode()


def prune(objects: Objects, keep: Keep, now: datetime) -> tuple[SealedCopy, ...]:
    """Delete the copies that `kept` leaves out, and return them."""
    found = copies(objects)
    stay = set(kept(found, keep, now))
    gone = tuple(item for item in found if item not in stay)
    for item in gone:
        objects.delete(item.key)
    return gone


def kept(found: Collection[SealedCopy], keep: Keep, now: datetime) -> tuple[SealedCopy, ...]:
    """Return the copies that stay: the newest, and the last of so many days, weeks and months in which there are some.

    By number and not by age, so that a clock that jumps makes nothing old. Those of a clock that was ahead of `now`
    stay and take nobody's place: else the next copy could be the one that goes.
    """
    newest_first = sorted((item for item in found if not item.is_ahead(now)), key=lambda item: item.at, reverse=True)
    periods: Sequence[tuple[int, Callable[[datetime], object]]] = (
        (1, lambda at: at),
        (keep.daily, datetime.date),
        (keep.weekly, lambda at: date.isocalendar(at)[:2]),
        (keep.monthly, lambda at: (at.year, at.month)),
    )
    stay = {item.key for item in found if item.is_ahead(now)}
    for count, period in periods:
        last: dict[object, SealedCopy] = {}
        for item in newest_first:
            last.setdefault(period(item.at), item)
        stay |= {item.key for item in list(last.values())[:count]}
    return tuple(sorted((item for item in found if item.key in stay), key=lambda item: item.at, reverse=True))
