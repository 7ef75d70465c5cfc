"""`history`: lists the runs on a city's stacks, from the engine's records and those of our own runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from wecityctl.errors import NoSuchStackError
from wecityctl.model.naming import WHO

if TYPE_CHECKING:
    from wecityctl.engine.state.activity import Activity, Touched
    from wecityctl.session import Session


@dataclass(frozen=True, slots=True)
class Update:
    """What one run did to one stack. `started` is in RFC 3339, empty if unknown; `changes` are counts by operation.

    `objects` are those that the run restored or removed beside the engine. `who` is whose token it was, where a state
    server noted that.
    """

    stack: str
    operation: str
    result: str
    started: str
    seconds: int
    changes: Mapping[str, int]
    objects: tuple[Touched, ...] = ()
    who: str = ""


def history(session: Session) -> tuple[Update, ...]:
    """Return the runs on the city's stacks, newest first. Raises `NoSuchStackError` if there are none."""
    from wecityctl.engine.state import activity
    from wecityctl.engine.state.backend import open_backend

    backend = open_backend(session.city)
    found = [update_of(name, item) for name in backend.list_stacks() for item in backend.history(name)]
    found += [_of_activity(item) for item in activity.read(backend)]
    if not found:
        raise NoSuchStackError(
            f"nothing was ever done to {session.city.name}",
            resolution=f"bring it up first: wecityctl up {session.arguments}",
        )
    return tuple(sorted(found, key=lambda item: item.started, reverse=True))


def update_of(stack: str, update: Mapping[str, Any]) -> Update:
    """Return what the engine's record of an update says."""
    started, ended = int(update.get("startTime") or 0), int(update.get("endTime") or 0)
    return Update(
        stack,
        str(update.get("kind") or ""),
        str(update.get("result") or ""),
        datetime.fromtimestamp(started, UTC).isoformat() if started else "",
        max(0, ended - started),
        {key: value for key, value in (update.get("resourceChanges") or {}).items() if value},
        who=str((update.get("environment") or {}).get(WHO) or ""),
    )


def _of_activity(done: Activity) -> Update:
    return Update(
        done.stack,
        done.operation,
        done.result,
        datetime.fromtimestamp(int(done.started), UTC).isoformat(),
        round(done.seconds),
        {"delete": done.deleted} if done.deleted else {},
        done.objects,
    )
