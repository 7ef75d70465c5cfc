"""Keeps the records of apps that are released by canary: one object for each app, beside the states.

A record is replaced only if it is still the one that was read, so that of two runs one notices the other.
"""

from __future__ import annotations

from dataclasses import replace

from wecityctl.engine.state import layout
from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.store import StateStore
from wecityctl.errors import ConfigurationError, WecityError
from wecityctl.model.releases import AppReleases, from_text, to_text
from wecityctl.model.rollouts import AppKey


class ReleasesChangedError(WecityError):
    """Another run has changed the record since it was read."""


def read_all(backend: Backend) -> dict[AppKey, AppReleases]:
    """Return the records of all apps of the city that have one, by tenant and name.

    Empty where only the engine's CLI reaches the state: nothing is kept there. Raises `ConfigurationError` for a record
    that cannot be read, and the back end's errors.
    """
    states = backend.states
    if states is None:
        return {}
    prefix = layout.releases(backend.city)
    found = [_read(states, key) for key in states.keys(prefix.removesuffix("/")) if key.endswith(".json")]
    return {(item.tenant, item.app): item for item in found if item is not None}


def keys(backend: Backend) -> tuple[AppKey, ...]:
    """Return tenant and name of the apps that have a record."""
    prefix = layout.releases(backend.city)
    names = backend.states.keys(prefix.removesuffix("/")) if backend.states is not None else []
    parts = (name.removeprefix(prefix).removesuffix(".json").split("/") for name in names)
    return tuple((found[0], found[1]) for found in parts if len(found) == 2)


def read(backend: Backend, tenant: str, app: str) -> AppReleases | None:
    """Return the record of one app; `None` without any. Raises as `read_all`."""
    states = backend.states
    return _read(states, layout.releases(backend.city, tenant, app)) if states is not None else None


def write(backend: Backend, record: AppReleases) -> AppReleases:
    """Replace the record if its generation is still that of `record`; return it with the next generation.

    Raises `ReleasesChangedError` if it is not, `ConfigurationError` if the state keeps no records, and the back end's
    errors.
    """
    states = required(backend)
    key = layout.releases(backend.city, record.tenant, record.app)
    new = replace(record, generation=record.generation + 1)
    data = to_text(new).encode("utf-8", "surrogatepass")
    stored = states.get(key)
    before = _parsed(states, key, stored).generation if stored is not None else 0
    same = before == record.generation
    written = same and (states.put_new(key, data) if stored is None else states.swap(key, data, stored))
    if not written:
        raise ReleasesChangedError(
            f"another run has changed the rollout of {record.tenant}/{record.app}", resolution="run it again"
        )
    return new


def forget(backend: Backend, tenant: str, app: str) -> None:
    """Delete the record of an app that is gone. Does nothing without one."""
    if backend.states is not None:
        backend.states.delete(layout.releases(backend.city, tenant, app))


def required(backend: Backend) -> StateStore:
    """The store of the records. Raises `ConfigurationError` where only the engine's CLI reaches the state."""
    if backend.states is None:
        raise ConfigurationError(
            "the state cannot keep the releases of a canary",
            details=f"{backend.url} is reached only through the engine's CLI",
            resolution="use a directory, S3 or PostgreSQL, or another strategy",
        )
    return backend.states


def _read(states: StateStore, key: str) -> AppReleases | None:
    stored = states.get(key)
    return _parsed(states, key, stored) if stored is not None else None


def _parsed(states: StateStore, key: str, stored: bytes) -> AppReleases:
    try:
        found = from_text(stored.decode("utf-8", "surrogatepass"))
        if not key.endswith(f"/{found.tenant}/{found.app}.json"):
            raise ValueError(f"it is of {found.tenant}/{found.app}")
        return found
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(
            "the record of an app's releases cannot be read",
            details=f"{states.where(key)}: {error}",
            resolution="use the version that wrote it; deleted, the next `up` releases what the files say at once",
        ) from None
