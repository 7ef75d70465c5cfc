"""Finds what a run does with the apps of a city, from files and records of releases."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from wecityctl.errors import WecityError
from wecityctl.model import naming
from wecityctl.model.releases import version_of
from wecityctl.model.rollouts import AppKey, Share, canary_part
from wecityctl.operations.app_access import who
from wecityctl.operations.rollouts.moves import Move, Now, held_now, next_move, share_now
from wecityctl.operations.rollouts.outcomes import StackNames

if TYPE_CHECKING:
    from wecityctl.engine.state.backend import Backend
    from wecityctl.model.city import App
    from wecityctl.model.events import Operation
    from wecityctl.model.releases import AppReleases
    from wecityctl.session import Session

# Seconds by which the clocks of machines may differ without anything being done about it.
_SKEW = 5.0
_ADVANCING: tuple[Operation, ...] = ("preview", "up")


def open_current(path: Path, *, usable: bool = False) -> Session:
    """Open the city at `path` as it is placed now, with the canaries that run and the releases that are held.

    Raises what `open_session` raises.

    `usable` leaves out files of other people that have problems; for commands that only look.
    Where these credentials cannot read the state, the city is that of the files: who looks at an app needs no more. So
    such a command waits for no state of a city without canaries.
    """
    from wecityctl.engine.state.backend import open_backend
    from wecityctl.operations.current_placement import current_placement
    from wecityctl.session import open_session

    session = open_session(path, current_placement, usable=usable)
    if usable and not any(canary_part(app) is not None for app in session.city.apps):
        return session
    try:
        moves = planned_moves(session, open_backend(session.city), "refresh")
    except (WecityError, OSError):
        return session
    return session.with_shares(shares_of(moves))


def planned_moves(
    session: Session,
    backend: Backend,
    operation: Operation,
    *,
    only: frozenset[AppKey] | None = None,
    records: Mapping[AppKey, AppReleases] | None = None,
) -> tuple[Move, ...]:
    """Return what `operation` does with each app that has a canary in the files, or is not as they say.

    Only `up` and `preview` go on with rollouts, of the apps whose stacks are selected (and that are in `only`); a
    preview shows what comes after the current pause. `records` are those of all apps (`None`: they are read). Raises
    `ConfigurationError` if the state cannot keep records or has one that cannot be read, and the back end's errors.
    """
    from wecityctl.engine.state import releases

    if records is None:
        records = releases.read_all(backend, heads=True)
    selected = {stack.name for stack in session.plan.stacks}
    found = []
    for app in session.said.apps:
        key = (app.tenant, app.name)
        record, part = records.get(key), canary_part(app)
        if not app.runs or (part is None and record is None):
            continue
        advances = operation in _ADVANCING and stacks_of(session, app).tenant in selected
        if advances and (only is None or key in only):
            if part is not None:
                releases.required(backend)
            at = now(patient=operation == "up")
            move = next_move(app, record, session.images, at)
            if move is not None and move.writes and record is not None:
                # Of what is written, all releases are needed.
                move = next_move(app, releases.read(backend, *key), session.images, at)
        else:
            move = as_it_is(session, app, record)
        if move is not None:
            found.append(move)
    return tuple(found)


def restart_pauses(backend: Backend, moves: Iterable[Move]) -> bool:
    """Let pauses that began in the future begin now; return whether there was one.

    The clock was set back, or another machine's is ahead. Such a pause would take all of that time longer.
    """
    from wecityctl.engine.state import releases

    latest, ahead = time.time() + _SKEW, []
    for move in moves:
        record = move.record if move.kind == "wait" else None
        if record is not None and record.rollout is not None and record.rollout.since > latest:
            ahead.append(replace(record, rollout=replace(record.rollout, since=time.time())))
    return bool(ahead) and bool(releases.write_all(backend, ahead))


def shares_of(moves: Iterable[Move]) -> dict[AppKey, tuple[Share, ...]]:
    """Return what runs of each app after these moves, where it is not what the files say."""
    return {move.key: move.shares for move in moves if move.shares}


def stacks_of(session: Session, app: App) -> StackNames:
    """Return the names of the stacks that a rollout of the app changes."""
    city = session.city.name
    cloud = session.plan.placement.apps[(app.tenant, app.name)]
    entry = naming.stack_name(city, "entry")
    has_entry = any(stack.name == entry for stack in session.plan.whole.stacks)
    return StackNames(naming.stack_name(city, "tenant", app.tenant, cloud), entry if has_entry else "")


def now(*, patient: bool = True) -> Now:
    """Return the time and the user; without `patient` a time at which every pause is over."""
    seconds = time.time()
    return Now(
        seconds if patient else float("inf"), datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds"), who()
    )


def as_it_is(session: Session, app: App, record: AppReleases | None) -> Move | None:
    """The move that leaves an app with what its record says; `None` if that is what the files say."""
    key, part = (app.tenant, app.name), canary_part(app)
    if record is None:
        return None
    if part is None:
        held = held_now(app, record, session.images)
        return Move(key, "hold", None, record, held=held) if held else None
    if record.component != part.name:
        return None
    return Move(key, "hold", share_now(part, record, version_of(part, session.images)), record)
