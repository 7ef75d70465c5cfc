"""`secrets`: sets, lists and removes values of a city's secret store. `rotate` renews those that are generated."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from wecityctl.errors import ConfigurationError
from wecityctl.model.naming import (
    BACKUP_KEYS,
    CITY_KEYS,
    GIVEN_KEYS,
    NOTIFICATION_KEYS,
    REGISTRY_KEYS,
    TENANT_KEYS,
    given_name,
)
from wecityctl.model.registries import is_credential

if TYPE_CHECKING:
    from wecityctl.model.city import City
    from wecityctl.session import Session

_SHORTEST_PASSWORD = 12
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class SecretNames:
    """The names in a store (`kept`), those of them that nothing uses, and those that apps name and nobody has set."""

    kept: tuple[str, ...]
    unused: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SecretSet:
    """A value that was stored. `nearest` is the most similar name that apps use, if no app uses this one."""

    name: str
    is_used: bool
    nearest: str = ""


def secret_key(session: Session, name: str) -> str:
    """Return the store's key for `tenant/name`, or for the `name` of a secret of the city's own.

    Raises `ConfigurationError` if the city has no such tenant.
    """
    tenants = {item.name for item in session.city.tenants}
    for prefix, used in _own_names(session.city).items():
        bare = name.removeprefix(prefix) if prefix.rstrip("/") not in tenants else name
        if _NAME.fullmatch(bare) and (bare != name or bare in used):
            return f"{prefix}{bare}"
    tenant, _, short = name.removeprefix(TENANT_KEYS).partition("/")
    from wecityctl.guesses import nearest

    known = [item.name for item in session.city.tenants]
    near = nearest(tenant, known)
    if not short or tenant not in known:
        raise ConfigurationError(
            f"there is no tenant {tenant!r}" if short else f"{name!r} does not name a tenant's secret",
            details="tenants: " + (", ".join(known) or "none"),
            resolution=f"did you mean {near}/{short}?" if short and near else "write it as TENANT/NAME",
        )
    if not _NAME.fullmatch(short):
        raise ConfigurationError(
            f"{short!r} cannot be a secret's name",
            resolution="use at most 63 lower-case letters, digits and '-', with a letter or digit at both ends",
        )
    return f"{TENANT_KEYS}{tenant}/{short}"


def _own_names(city: City) -> dict[str, tuple[str, ...]]:
    """Return the names of the secrets of the city's own, by the prefix of their keys."""
    return {
        REGISTRY_KEYS: tuple(city.images.credentials.values()),
        BACKUP_KEYS: city.compliance.backup.secrets,
        NOTIFICATION_KEYS: city.notification.secrets if city.notification is not None else (),
    }


def secrets_of(city: City) -> list[str]:
    """Return every secret that the city uses: `TENANT/NAME`, or `NAME` for one of the city's own."""
    named = {f"{app.tenant}/{name}" for app in city.apps for part in app.components for name in part.secrets}
    return sorted({*named, *city.entry.tls.certificates.values(), *chain.from_iterable(_own_names(city).values())})


def list_secrets(session: Session) -> SecretNames:
    """Return the names in the store and those that are missing; no values. Changes nothing."""
    from wecityctl.engine.context.secret_store import SecretStore, needed
    from wecityctl.engine.state.backend import open_backend

    kept = SecretStore(open_backend(session.city)).names()
    # What begins so is the city's own: what stacks are given is made with it.
    wanted = (*needed(session.plan), *(name for name in kept if name.startswith(CITY_KEYS)))
    missing = tuple(name for name in wanted if name.startswith(GIVEN_KEYS) and name not in kept)
    return SecretNames(tuple(kept), tuple(name for name in kept if name not in wanted), missing)


def set_secret(session: Session, key: str, value: str) -> SecretSet:
    """Store a value under a key of `secret_key`. The next `up` hands it to the apps.

    Raises `LockedError` while a run changes the city, `CancelledError` and `DeploymentError`.
    """
    from wecityctl.engine.run import edit_secrets
    from wecityctl.engine.state.backend import open_backend
    from wecityctl.guesses import nearest

    if key.startswith(REGISTRY_KEYS) and not is_credential(value):
        raise ConfigurationError(
            "the value is not USER:PASSWORD in one line",
            resolution="give the name and password of an account that may pull, with a colon between them",
        )
    if key.startswith(BACKUP_KEYS):
        _check_of_backups(session.city, given_name(key), value)
    if key.startswith(NOTIFICATION_KEYS):
        _check_of_channels(session.city, given_name(key), value)
    edit_secrets.set_secret(open_backend(session.city), key, value)
    name, used = given_name(key), secrets_of(session.city)
    if name in used:
        return SecretSet(name, is_used=True)
    tenant = name.partition("/")[0]
    near = nearest(name, [other for other in used if other.startswith(f"{tenant}/")] or used)
    return SecretSet(name, is_used=False, nearest=near or "")


def _check_of_backups(city: City, name: str, value: str) -> None:
    """Raise `ConfigurationError` for a value that backups cannot use."""
    backup = city.compliance.backup
    if name == backup.credentials and not is_credential(value):
        raise ConfigurationError(
            "the value is not ACCESS-KEY:SECRET-KEY in one line",
            resolution="give the keys of an account that may read and write the target, with a colon between them",
        )
    if name == backup.password and not (len(value) >= _SHORTEST_PASSWORD and value.isprintable()):
        raise ConfigurationError(
            f"the value is not a password of one line and at least {_SHORTEST_PASSWORD} characters",
            resolution="whoever has a copy of the backups can try passwords: take a random one, and keep it elsewhere",
        )
    if name == backup.authority and "-----BEGIN CERTIFICATE-----" not in value:
        raise ConfigurationError(
            "the value has no certificate in PEM",
            resolution="give the certificates that the target's server is known by",
        )


def _check_of_channels(city: City, name: str, value: str) -> None:
    """Raise `ConfigurationError` for a value that a channel of messages cannot use."""
    for kind, channel in city.notification.channels.items() if city.notification is not None else ():
        if name == channel.credentials and kind == "mail" and not is_credential(value):
            raise ConfigurationError(
                "the value is not USER:PASSWORD in one line",
                resolution="give the name and password of an account of the relay, with a colon between them",
            )
        if name == channel.credentials and kind != "mail" and not (value.isascii() and value.isprintable()):
            raise ConfigurationError(
                "the value is not a token of printable ASCII characters in one line",
                resolution="give the token that the server expects after `Authorization: Bearer`",
            )
        if name == channel.authority and "-----BEGIN CERTIFICATE-----" not in value:
            raise ConfigurationError(
                "the value has no certificate in PEM",
                resolution="give the certificates that the channel's server is known by",
            )


def remove_secret(session: Session, name: str) -> None:
    """Remove the value of `tenant/name` from the store. Raises as `set_secret` does, and if there is none."""
    from wecityctl.engine.run import edit_secrets
    from wecityctl.engine.state.backend import open_backend

    edit_secrets.remove_secret(open_backend(session.city), secret_key(session, name))
