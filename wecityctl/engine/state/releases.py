"""Keeps the records of apps' releases: one object for each tenant, beside the states.

A record is replaced only if it is still the one that was read, so that of two runs one notices the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from wecityctl.engine.state import layout
from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.store import StateStore
from wecityctl.errors import ConfigurationError, WecityError
from wecityctl.model.releases import AppReleases, from_text, to_text
from wecityctl.model.rollouts import AppKey

# A tenant's records by app.
_Records = dict[str, AppReleases]
# How often a tenant's object is read again because runs for other apps of it have written it in between.
_ATTEMPTS = 50


class ReleasesChangedError(WecityError):
    """Another run has changed the record since it was read."""


def read_all(backend: Backend, *, heads: bool = False) -> dict[AppKey, AppReleases]:
    """Return the records of all apps of the city that have one, by tenant and name; with `heads`, what runs need of
    them (`from_text`).

    Empty where only the engine's CLI reaches the state: nothing is kept there. Raises `ConfigurationError` for a record
    that cannot be read, and the back end's errors.
    """
    states = backend.states
    if states is None:
        return {}
    prefix, found = layout.releases(backend.city), dict[AppKey, AppReleases]()
    for key in states.keys(prefix.removesuffix("/")):
        tenant = key.removeprefix(prefix).removesuffix(".json")
        records = _parsed(states, key, states.get(key), tenant, heads=heads)
        found |= {(tenant, app): record for app, record in records.items()}
    return found


def read(backend: Backend, tenant: str, app: str) -> AppReleases | None:
    """Return the record of one app; `None` without any. Raises as `read_all`."""
    states = backend.states
    if states is None:
        return None
    key = layout.releases(backend.city, tenant)
    return _parsed(states, key, states.get(key), tenant).get(app)


def write(backend: Backend, record: AppReleases) -> AppReleases:
    """Replace the record if its generation is still that of `record`; return it with the next generation.

    Raises `ReleasesChangedError` if it is not, `ConfigurationError` if the state keeps no records, and the back end's
    errors.
    """
    written = write_all(backend, (record,))
    if not written:
        raise ReleasesChangedError(
            f"another run has changed the releases of {record.tenant}/{record.app}", resolution="run it again"
        )
    return written[0]


def write_all(backend: Backend, records: Sequence[AppReleases]) -> tuple[AppReleases, ...]:
    """Replace those of the records whose generation is still theirs; return them, each with the next generation.

    Each tenant's object is written once. Raises `ConfigurationError` if the state keeps no records, and the back end's
    errors.
    """
    states, done = required(backend), list[AppReleases]()
    for tenant in dict.fromkeys(record.tenant for record in records):
        own = [record for record in records if record.tenant == tenant]
        written = list[AppReleases]()

        def changed(found: _Records, own: list[AppReleases] = own, written: list[AppReleases] = written) -> _Records:
            same = (item for item in own if (found[item.app].generation if item.app in found else 0) == item.generation)
            written[:] = [replace(item, generation=item.generation + 1) for item in same]
            return found | {item.app: item for item in written}

        _change(states, layout.releases(backend.city, tenant), tenant, changed)
        done += written
    return tuple(done)


def forget(backend: Backend, keys: Iterable[AppKey]) -> None:
    """Delete the records of apps that are gone. Does nothing without one."""
    gone, states = set(keys), backend.states
    if states is None:
        return
    for tenant in sorted({key[0] for key in gone}):
        apps = {key[1] for key in gone if key[0] == tenant}

        def without(found: _Records, apps: set[str] = apps) -> _Records:
            return {app: record for app, record in found.items() if app not in apps}

        _change(states, layout.releases(backend.city, tenant), tenant, without)


def required(backend: Backend) -> StateStore:
    """The store of the records. Raises `ConfigurationError` where only the engine's CLI reaches the state."""
    if backend.states is None:
        raise ConfigurationError(
            "the state cannot keep the releases of apps",
            details=f"{backend.url} is reached only through the engine's CLI",
            resolution="use a directory, S3 or PostgreSQL; without one, apps are not released by canary",
        )
    return backend.states


def _change(states: StateStore, key: str, tenant: str, change: Callable[[_Records], _Records]) -> None:
    """Write what `change` makes of a tenant's records, unless that is the same. Without records, delete the object."""
    for _ in range(_ATTEMPTS):
        stored = states.get(key)
        before = _parsed(states, key, stored, tenant)
        after = change(before)
        if after == before:
            return
        if not after:
            states.delete(key)
            return
        data = to_text(after.values()).encode("utf-8", "surrogatepass")
        if states.put_new(key, data) if stored is None else states.swap(key, data, stored):
            return
    raise ReleasesChangedError(f"other runs change the releases of {tenant} all the time", resolution="run it again")


def _parsed(states: StateStore, key: str, stored: bytes | None, tenant: str, *, heads: bool = False) -> _Records:
    if stored is None:
        return {}
    try:
        found = from_text(stored.decode("utf-8", "surrogatepass"), heads=heads)
        others = [f"{item.tenant}/{item.app}" for item in found if item.tenant != tenant]
        if others:
            raise ValueError(f"it is of {', '.join(others)}")
        return {item.app: item for item in found}
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(
            "the record of apps' releases cannot be read",
            details=f"{states.where(key)}: {error}",
            resolution="use the version that wrote it; deleted, the next `up` releases what the files say at once",
        ) from None
