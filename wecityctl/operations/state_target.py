"""`state backup --to-target` and `state restore --from-target`: a city's states in the target that the City names.

Nothing of the city is needed to restore them but its files, the passphrase of its states, and the target with its keys:
a vault opens only with the secret store, and the secret store is one of the states.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from wecityctl.engine.context.secret_store import SecretStore
from wecityctl.engine.secrets.crypto import WrongPassphraseError
from wecityctl.engine.state import maintenance, sealed_copies
from wecityctl.engine.state.backend import quick_salt
from wecityctl.engine.state.maintenance import Copy, states_of
from wecityctl.engine.state.sealed_copies import SealedCopy
from wecityctl.engine.state.store import unpacked
from wecityctl.errors import AuthenticationError, ConfigurationError
from wecityctl.model.backups import when
from wecityctl.model.naming import backup_key
from wecityctl.objects.model import Limits
from wecityctl.objects.s3_settings import Keys, S3Settings
from wecityctl.operations.state import Replacement, matching, replacements

if TYPE_CHECKING:
    from wecityctl.engine.state.backend import Backend
    from wecityctl.model.city import City
    from wecityctl.objects.model import Objects

# Below the city's part of the target, beside the capabilities' repositories: no capability has such a name.
_PLACE = "_state"
_ACCESS, _SECRET, _BUNDLE = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_CA_BUNDLE"


@dataclass(frozen=True, slots=True)
class TargetCopy:
    """A copy that was written: where and what is in it, and those that were removed because their number is full."""

    place: str
    copy: SealedCopy
    copies: tuple[Copy, ...]
    removed: tuple[SealedCopy, ...]


def newest_copy(city: City, backend: Backend, limits: Limits) -> SealedCopy | None:
    """Return the newest copy of the city's states in its target, without one of a clock that is ahead.

    Raises `ConfigurationError` if the city names no target, and what keeps the target from being read.
    """
    now = datetime.now(UTC)
    with _target(city, backend, limits) as objects:
        found = [item for item in sealed_copies.copies(objects) if not item.is_ahead(now)]
        return found[-1] if found else None


def why_of_others(city: City, backend: Backend, item: SealedCopy, limits: Limits) -> str:
    """Why a copy in the target is of other states than these; empty if it is of these, or is damaged.

    All states of a city are encrypted with one salt, which is made with the first of them: a city that comes up again
    after their loss, and without the copy, has another. Raises what keeps the target from being read.
    """
    passphrase = _passphrase(backend)
    with _target(city, backend, limits) as objects:
        try:
            archive = sealed_copies.read(objects, city.name, passphrase, item)
            copies = maintenance.read_backup(item.key, city.name, archive)
        except AuthenticationError as error:
            if not isinstance(error.__cause__, WrongPassphraseError):
                raise
            return "its newest copy is encrypted with another passphrase"
        except ConfigurationError:
            return ""
    there = {salt for copy in copies if (salt := quick_salt(unpacked(copy.stored)))}
    states = states_of(backend)
    here = {salt for stack in backend.list_stacks() if (salt := quick_salt(unpacked(states.stored(stack))))}
    # One that has no secrets tells nothing.
    is_of_these = not there or not here or there & here
    return "" if is_of_these else "its newest copy is of other states of the city, as those before a loss"


def back_up_to_target(
    city: City, backend: Backend, parts: Sequence[str] = (), limits: Limits | None = None
) -> TargetCopy:
    """Write the states of the stacks with one of `parts` in their name, or of all, to the city's target.

    They are encrypted with the passphrase, and copies go by `compliance.backup.keep`. Raises `ConfigurationError` if
    the city names no target or no stack matches, and what keeps the target from being written.
    """
    passphrase = _passphrase(backend)
    stacks = matching(backend.list_stacks(), parts)
    if not stacks:
        raise ConfigurationError(f"there are no states of {city.name}", resolution="run `wecityctl up` first")
    with _target(city, backend, limits or Limits()) as objects:
        now = datetime.now(UTC)
        archive, found = maintenance.archive(states_of(backend), city.name, stacks)
        written = sealed_copies.write(objects, city.name, passphrase, archive, now)
        # What cannot be read back is no copy.
        maintenance.read_backup(written.key, city.name, sealed_copies.read(objects, city.name, passphrase, written))
        removed = sealed_copies.prune(objects, city.compliance.backup.keep, now)
        return TargetCopy(objects.url, written, found, removed)


def plan_restore_from_target(
    city: City, backend: Backend, parts: Sequence[str] = (), at: datetime | None = None
) -> tuple[SealedCopy, tuple[Replacement, ...]]:
    """Plan to put the states of the newest copy in the target in their place; with `at`, of one that is not younger.

    Without `at`, copies of a clock that was ahead are passed over: they would hide all later ones.

    Raises `ConfigurationError` if there is no such copy, or it is damaged or another city's, and
    `AuthenticationError` if the passphrase does not open it.
    """
    passphrase, now = _passphrase(backend), datetime.now(UTC)
    with _target(city, backend, Limits()) as objects:
        there = sealed_copies.copies(objects)
        found = [item for item in there if (item.at <= at if at is not None else not item.is_ahead(now))]
        if not found:
            limit = f" of {when(at)} or before" if at is not None else ""
            raise ConfigurationError(
                f"there is no copy of the states of {city.name}{limit} in {objects.url}",
                details=f"there are others, the last of {when(there[-1].at)}" if there else "",
                resolution="take one with --at" if there else "write one with `wecityctl state backup --to-target`",
            )
        archive = sealed_copies.read(objects, city.name, passphrase, found[-1])
        copies = maintenance.read_backup(found[-1].key, city.name, archive)
    return found[-1], replacements(backend, copies, parts)


def _passphrase(backend: Backend) -> str:
    if backend.passphrase is None:
        raise ConfigurationError(
            f"the states of {backend.city} have no passphrase, with which they could be encrypted in the target",
            resolution="copy them with `wecityctl state backup --file`, and encrypt the file yourself",
        )
    backend.unlock()
    return backend.passphrase.value


@contextmanager
def _target(city: City, backend: Backend, limits: Limits) -> Iterator[Objects]:
    """Open the city's part of its target.

    Keys and certificates are those of its secret store, or else of the environment, whose own may be of the place of
    the states.
    """
    from wecityctl.objects.s3 import open_settings

    backup = city.compliance.backup
    if not backup.is_taken:
        raise ConfigurationError(
            f"{city.name} names no target for backups",
            resolution="name the target's server, its addresses and the secrets under compliance.backup of the City",
        )
    bucket, _, prefix = backup.bucket.partition("/")
    with tempfile.TemporaryDirectory() as directory:
        keys, authorities = _access(city, backend, Path(directory))
        settings = S3Settings(
            bucket=bucket,
            prefix="/".join(part for part in (prefix, city.name, _PLACE) if part),
            url=f"{backup.target.rstrip('/')}/{city.name}/{_PLACE}",
            region=os.environ.get("AWS_REGION") or "us-east-1",
            endpoint=backup.endpoint.rstrip("/"),
            path_style=True,
            anonymous=False,
            keys=keys,
            encryption="",
            encryption_key="",
            authorities=authorities,
        )
        objects = open_settings(settings, limits)
        try:
            yield objects
        finally:
            objects.close()


def _access(city: City, backend: Backend, directory: Path) -> tuple[Keys, Path | None]:
    """The keys of the target, and the file with its certificates, made in `directory` where it is a secret."""
    backup = city.compliance.backup
    given = Keys(os.environ.get(_ACCESS, ""), os.environ.get(_SECRET, ""))
    values = SecretStore(backend).read()
    access, _, secret = values.get(backup_key(backup.credentials), "").partition(":")
    keys = Keys(access, secret) if access and secret else given
    if not keys.access or not keys.secret:
        raise AuthenticationError(
            f"the keys of the target {backup.target} are missing",
            details=f"looked at the secret {backup.credentials} of the city, and at {_ACCESS} and {_SECRET}",
            resolution=f"`wecityctl secrets set {backup.credentials}`, or set {_ACCESS} and {_SECRET}",
        )
    text = values.get(backup_key(backup.authority), "") if backup.authority else ""
    if not text:
        bundle = os.environ.get(_BUNDLE)
        return keys, Path(bundle) if bundle else None
    file = directory / "authority.pem"
    file.write_text(text)
    return keys, file
