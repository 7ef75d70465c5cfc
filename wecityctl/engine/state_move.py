"""Moves a city's states to another back end, where plain `pulumi` and the next run find them as they were.

Every back end has the same objects under the same keys (pulumi/pkg backend/diy, version 1), so they are copied as they
are, secrets encrypted. Each is read back, states come last, and only then is the old place marked as left: cut off
anywhere, the same command goes on from there. What was there is kept beside the mark.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from wecityctl.engine.backend import Backend
from wecityctl.engine.locks import break_dead, held_in_engine
from wecityctl.engine.moved import Mark, left_key, read_mark, under_way_key
from wecityctl.engine.run_locks import whole_city
from wecityctl.engine.state import deployment_in
from wecityctl.engine.store_file import META, unpacked
from wecityctl.engine.store_objects import BACKUPS, HISTORY, META_KEY, STACKS, locked
from wecityctl.errors import ConfigurationError, DeploymentError
from wecityctl.objects import Objects, open_objects

# The engine keeps these by stack; the city's own history is one object.
_BY_STACK = (HISTORY, BACKUPS)


@dataclass(frozen=True, slots=True)
class Move:
    """What is to be moved: `source` and `target` are URLs without credentials, `keys` the objects, states last, `size`
    their bytes. `is_copied`: an earlier move was cut off when nothing was left but to clear the old place."""

    city: str
    source: str
    target: str
    stacks: tuple[str, ...]
    keys: tuple[str, ...]
    size: int
    is_copied: bool = False


def planned(backend: Backend, url: str) -> Move:
    """What moving the city's states to `url` comes to. Changes nothing.

    Raises `ConfigurationError` where `url` cannot take them, or has other states of the city.
    """
    with _both(backend, url) as (source, target):
        return _planned(backend.city, source, target)


def move(backend: Backend, url: str) -> Move:
    """Move the city's states to `url`. Raises `LockedError`, and what `planned` raises; then all is as it was."""
    city = backend.city
    with whole_city(backend), _both(backend, url) as (source, target):
        found = _planned(city, source, target)
        if not found.is_copied:
            for stack in found.stacks:
                break_dead(backend, stack)
            # Again, because what a dead run has journaled is in its state now.
            found = _planned(city, source, target)
            with _locked(backend, source, found.stacks):
                _copy_all(city, source, target, found.keys)
        target.delete(under_way_key(city))
        _clear(city, source, found)
    return found


def _copy_all(city: str, source: Objects, target: Objects, keys: Sequence[str]) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    target.put(under_way_key(city), Mark(source.url, now).to_json())
    if target.get(META_KEY) is None:
        target.put(META_KEY, META)
    for key in keys:
        _copy(source, target, key)
    target.delete(left_key(city))
    source.put(left_key(city), Mark(target.url, now).to_json())


@contextmanager
def _both(backend: Backend, url: str) -> Iterator[tuple[Objects, Objects]]:
    with ExitStack() as closing:
        places = []
        for each in (backend.url, url):
            places.append(open_objects(each))
            closing.callback(places[-1].close)
        source, target = places
        if source.url == target.url:
            raise ConfigurationError(f"the states of {backend.city} are in {target.url} already")
        yield source, target


def _planned(city: str, source: Objects, target: Objects) -> Move:
    _require_layout(source)
    _require_layout(target)
    states = _states(city, source)
    stacks = tuple(dict.fromkeys(stack for stack, _ in states))
    left, begun = read_mark(source.get(left_key(city))), read_mark(target.get(under_way_key(city)))
    if left is not None and left.url != target.url:
        raise ConfigurationError(f"the states of {city} were moved to {left.url}", resolution="move them from there")
    if not stacks:
        raise ConfigurationError(f"there are no states of {city} in {source.url}")
    there = _states(city, target)
    if there and left is None and (begun is None or begun.url != source.url):
        raise ConfigurationError(
            f"{target.url} has states of {city} already",
            details="\n".join(stack for stack, _ in there),
            resolution="name a place without any, or move those away first",
        )
    kept = [entry for entry in source.list(".wecity/history") if entry.key == f".wecity/history/{city}.jsonl"]
    kept += [entry for area in _BY_STACK for stack in stacks for entry in source.list(f"{area}/{stack}")]
    sizes = {entry.key: entry.size for entry in (*kept, *source.list(STACKS))}
    keys = (*(entry.key for entry in kept), *(key for _, key in states))
    size = sum(sizes[key] for key in keys)
    return Move(city, source.url, target.url, stacks, keys, size, is_copied=left is not None)


def _states(city: str, place: Objects) -> list[tuple[str, str]]:
    """The city's stacks and the keys of their states, each with the state before the last run beside it."""
    found = [(entry.key.rpartition("/")[2].partition(".json")[0], entry.key) for entry in place.list(STACKS)]
    return [(stack, key) for stack, key in found if stack.startswith(f"{city}.")]


def _require_layout(place: Objects) -> None:
    """Raise `ConfigurationError` for a back end of the layout before the present one."""
    meta = place.get(META_KEY)
    if meta is None and any(entry.key != META_KEY for entry in place.list(".pulumi/stacks")):
        raise ConfigurationError(
            f"{place.url} has the layout of a very old Pulumi", resolution="run `pulumi state upgrade` there once"
        )


def _copy(source: Objects, target: Objects, key: str) -> None:
    data = source.get(key)
    if data is None:
        raise DeploymentError(f"{key} went from {source.url} while it was moved", resolution="run it again")
    if key.startswith(f"{STACKS}/") and not key.endswith(".bak"):
        try:
            deployment_in(unpacked(data))
        except (ValueError, OSError, EOFError) as error:
            raise DeploymentError(
                f"the state {key} cannot be read",
                details=f"{source.url}: {error}",
                resolution="mend it first: wecityctl state repair PATH",
            ) from error
    target.put(key, data)
    if target.get(key) != data:
        raise DeploymentError(f"{target.url} gave something else back than was written", details=key)


@contextmanager
def _locked(backend: Backend, place: Objects, stacks: Sequence[str]) -> Iterator[None]:
    """The stacks, locked as the engine does. Raises `LockedError`."""
    if backend.files is None:
        with locked(place, stacks):
            yield
        return
    with ExitStack() as held:
        for stack in stacks:
            held.enter_context(held_in_engine(backend.files, stack))
        yield


def _clear(city: str, source: Objects, found: Move) -> None:
    """Take what was moved out of plain `pulumi`'s sight: beside the mark, under its keys."""
    for key in found.keys:
        data = source.get(key)
        if data is not None:
            source.put(f".wecity/moved/{city}/{key.removeprefix('.')}", data)
            source.delete(key)
