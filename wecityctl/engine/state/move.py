"""Moves a city's states to another back end, so that plain `pulumi` and the next run find them unchanged.

Every back end has the same objects under the same keys (pulumi/pkg backend/diy, version 1), so objects are copied
unchanged, with secrets encrypted. Each copy is read back, and states are copied last. Only then is the old place marked
as left. If the move is interrupted, the same command continues it. The old objects are kept beside the mark.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from wecityctl.engine.state import layout
from wecityctl.engine.state.abandoned_locks import break_dead
from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.checkpoint import deployment_in
from wecityctl.engine.state.engine_lock import held_in_engine
from wecityctl.engine.state.layout import BACKUPS, HISTORY, META, META_KEY, STACKS, states_in
from wecityctl.engine.state.maintenance import states_of
from wecityctl.engine.state.moved import Mark, left_key, read_mark, under_way_key
from wecityctl.engine.state.run_locks import whole_city
from wecityctl.engine.state.store import unpacked
from wecityctl.errors import ConfigurationError, DeploymentError, WecityError
from wecityctl.model.fileurl import FileUrlError, file_path
from wecityctl.objects import Objects, open_objects

# The engine keeps these by stack; the city's own history is one object.
_BY_STACK = (HISTORY, BACKUPS)
_AREAS = (*_BY_STACK, layout.ACTIVITY, layout.RECORDS, layout.LEAVING, layout.RELEASES, STACKS)


@dataclass(frozen=True, slots=True)
class Move:
    """What is to be moved.

    `source` and `target` are URLs without credentials, `keys` the objects with states last, `size` their total in
    bytes. `is_copied`: an earlier move has copied everything, and only the old place has to be cleared.
    """

    city: str
    source: str
    target: str
    stacks: tuple[str, ...]
    keys: tuple[str, ...]
    size: int
    is_copied: bool = False


def planned(backend: Backend, url: str) -> Move:
    """Return what a move of the city's states to `url` would do. Changes no object.

    Raises `ConfigurationError` if `url` cannot store them or already has other states of the city.
    """
    with _both(backend, url) as (source, target):
        return _planned(backend.city, source, target)


def move(backend: Backend, url: str) -> Move:
    """Move the city's states to `url`. Raises `LockedError`, and what `planned` raises; then nothing has changed."""
    city = backend.city
    with whole_city(backend, moving=True), _both(backend, url) as (source, target):
        _planned(city, source, target)
        stacks = [*_states(city, source)]
        for stack in stacks:
            break_dead(backend, stack)
        with _locked(backend, stacks):
            # The states can no longer change, and journals of dead runs have been replayed.
            found = _planned(city, source, target)
            if not found.is_copied:
                _copy_all(city, source, target, found.keys)
            target.delete(under_way_key(city))
            _clear(city, source, found.keys)
    return found


def undo(backend: Backend, url: str) -> int:
    """Remove from `url` what an interrupted move has copied there; return the number of removed objects.

    Raises `LockedError`, and `ConfigurationError` if no such move has begun or if it can only be continued.
    """
    city = backend.city
    with whole_city(backend, moving=True), _both(backend, url) as (source, target):
        begun = read_mark(target.get(under_way_key(city)))
        if begun is None or begun.url != source.url:
            raise ConfigurationError(f"no move of the states of {city} from {source.url} to {target.url} was cut off")
        if source.get(under_way_key(city)) is not None or source.get(left_key(city)) is not None:
            raise ConfigurationError(
                f"the states of {city} have left {source.url}, or both are one place",
                resolution="give the command without --undo, and move them back then",
            )
        keys = _sizes(city, target, _states(city, source))
        for key in keys:
            target.delete(key)
        target.delete(under_way_key(city))
    return len(keys)


def _copy_all(city: str, source: Objects, target: Objects, keys: Sequence[str]) -> None:
    mark = Mark(source.url, datetime.now(UTC).isoformat(timespec="seconds"), uuid.uuid4().hex)
    begun = target.create(under_way_key(city), mark.to_json())
    try:
        if not begun:
            _require_own(city, source, target)
        elif source.get(under_way_key(city)) is not None:
            raise ConfigurationError(f"{target.url} is the place that the states of {city} are in, by another name")
        if target.get(META_KEY) is None:
            target.put(META_KEY, META)
        # An earlier interrupted move may have copied objects that no longer exist.
        for key in {*_sizes(city, target, _states(city, source))} - {*keys}:
            target.delete(key)
        for key in keys:
            _copy(source, target, key)
    except BaseException:
        if begun:
            with suppress(WecityError):
                is_apart = source.get(under_way_key(city)) is None
                for key in _sizes(city, target, _states(city, source)) if is_apart else ():
                    target.delete(key)
                target.delete(under_way_key(city))
        raise
    target.delete(left_key(city))
    source.put(left_key(city), replace(mark, url=target.url).to_json())


@contextmanager
def _both(backend: Backend, url: str) -> Iterator[tuple[Objects, Objects]]:
    _require_apart(backend.url, url)
    with ExitStack() as closing:
        places = []
        for each in (backend.url, url):
            places.append(open_objects(each))
            closing.callback(places[-1].close)
        source, target = places
        if source.url == target.url:
            raise ConfigurationError(f"the states of {backend.city} are in {target.url} already")
        yield source, target


def _require_apart(source: str, target: str) -> None:
    """Raise `ConfigurationError` if one directory is the other or is inside it."""
    try:
        one, other = (file_path(url).resolve() for url in (source, target))
    except FileUrlError:
        # Not both are directories, or one cannot be opened, which is reported when it is opened.
        return
    if one == other or one in other.parents or other in one.parents:
        raise ConfigurationError(
            f"{target} is, has or lies in the directory that the states are in", resolution="name a directory beside it"
        )


def _planned(city: str, source: Objects, target: Objects) -> Move:
    _require_layout(source)
    _require_layout(target)
    left = read_mark(source.get(left_key(city)))
    if source.get(under_way_key(city)) is not None:
        raise ConfigurationError(
            f"the states of {city} are being moved to {source.url}, and have not all arrived",
            resolution="give the command again that moves them there",
        )
    if left is not None and left.url != target.url:
        raise ConfigurationError(f"the states of {city} were moved to {left.url}", resolution="move them from there")
    states, there = _states(city, source), _states(city, target)
    if left is None and not states:
        raise ConfigurationError(f"there are no states of {city} in {source.url}")
    if left is not None and not there:
        raise ConfigurationError(
            f"the states of {city} were moved to {target.url}, which has none now",
            resolution=f"look there first; copies of what was moved are in {source.url}, below .wecity/moved",
        )
    if there and left is None:
        _require_own(city, source, target)
    sizes = _sizes(city, source)
    total = sum(sizes.values())
    return Move(city, source.url, target.url, tuple(states), tuple(sizes), total, is_copied=left is not None)


def _require_own(city: str, source: Objects, target: Objects) -> None:
    """Raise `ConfigurationError` if the target has objects of the city that are not from an interrupted move of this
    source.
    """
    begun = read_mark(target.get(under_way_key(city)))
    if begun is None or begun.url != source.url:
        raise ConfigurationError(
            f"{target.url} has states of {city} already",
            details="\n".join(_states(city, target)) or "more are on their way there",
            resolution="name a place without any, or move those away first",
        )


def _states(city: str, place: Objects) -> dict[str, str]:
    """Return the key of the state of each of the city's stacks."""
    return {
        stack: key
        for stack, key in states_in(entry.key for entry in place.list(STACKS)).items()
        if stack.startswith(f"{city}.")
    }


def _sizes(city: str, place: Objects, stacks: Iterable[str] = ()) -> dict[str, int]:
    """Return the city's objects with their size in bytes, in the order of the move: states come last.

    Includes objects of `stacks` whose states are missing.
    """
    states = dict.fromkeys(stacks, "") | _states(city, place)
    # A state's directory also has the previous state and, if set, the tags.
    beside = {f"{STACKS}/{stack}{end}" for stack in states for end in (".json.bak", ".json.gz.bak", ".pulumi-tags")}
    records = {layout.record(stack) for stack in states} | {layout.activity(city), layout.access_log(city)}
    last, found = {*states.values()}, dict[str, int]()
    for area in _AREAS:
        for entry in place.list(area):
            is_kept = area in _BY_STACK and entry.key.split("/")[3] in states
            # Of stacks that are gone, too.
            of_city = (layout.leaving(f"{city}.").removesuffix(".json"), layout.releases(city))
            is_kept = is_kept or entry.key.startswith(of_city)
            if is_kept or entry.key in beside | records | last:
                found[entry.key] = entry.size
    return dict(sorted(found.items(), key=lambda item: item[0] in last))


def _require_layout(place: Objects) -> None:
    """Raise `ConfigurationError` if the back end has another layout version."""
    meta = place.get(META_KEY)
    if meta is None and place.list(".pulumi/stacks"):
        raise ConfigurationError(
            f"{place.url} has the layout of a very old Pulumi", resolution="run `pulumi state upgrade` there once"
        )
    if meta is not None and meta.strip() != META.strip():
        raise ConfigurationError(
            f"{place.url} has a layout that this version does not know", details=f"{META_KEY}: {meta[:80]!r}"
        )


def _copy(source: Objects, target: Objects, key: str) -> None:
    data = source.get(key)
    if data is None:
        raise DeploymentError(f"{key} went from {source.url} while it was moved", resolution="run it again")
    if key.startswith(f"{STACKS}/") and key.endswith((".json", ".json.gz")):
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
def _locked(backend: Backend, stacks: Sequence[str]) -> Iterator[None]:
    """Hold the engine's locks on the stacks. Raises `LockedError`."""
    with ExitStack() as held:
        for stack in stacks:
            held.enter_context(held_in_engine(states_of(backend), stack))
        yield


def _clear(city: str, source: Objects, keys: Sequence[str]) -> None:
    """Move the old objects out of sight of plain `pulumi`, beside the mark, under the number of the move."""
    mark = read_mark(source.get(left_key(city)))
    number = mark.number if mark is not None else ""
    for key in keys:
        data = source.get(key)
        if data is not None:
            source.put(f".wecity/moved/{city}/{number or 'unknown'}/{key.removeprefix('.')}", data)
            source.delete(key)
