"""`history`: lists the runs on a city's stacks, from the engine's records and those of our own runs.

It also lists who entered the city's running apps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from wecityctl.errors import NoSuchStackError
from wecityctl.model.naming import WHO, stack_name

if TYPE_CHECKING:
    from wecityctl.engine.state.access_log import Access
    from wecityctl.engine.state.activity import Activity, Touched
    from wecityctl.session import Session


@dataclass(frozen=True, slots=True)
class Update:
    """What one run did to one stack. `started` is in RFC 3339, empty if unknown; `changes` are counts by operation.

    `objects` are those that the run restored or removed beside the engine. `who` is whose token it was, where a state
    server noted that.

    Access to a running app is one too: `operation` is `exec` or `forward`, `result` the exit code, `access` says where
    and what, `who` the user of the machine and their name for the cluster.
    """

    stack: str
    operation: str
    result: str
    started: str
    seconds: int
    changes: Mapping[str, int]
    objects: tuple[Touched, ...] = ()
    who: str = ""
    access: str = ""


def history(session: Session) -> tuple[Update, ...]:
    """Return the runs on the city's stacks, newest first. Raises `NoSuchStackError` if there are none."""
    from wecityctl.engine.state import access_log, activity
    from wecityctl.engine.state.backend import open_backend

    backend = open_backend(session.city)
    found = [update_of(name, item) for name in backend.list_stacks() for item in backend.history(name)]
    # Newest first, as what begins in the same second keeps its order.
    found += [_of_activity(item) for item in reversed(activity.read(backend))]
    found += [_of_access(session.city.name, item) for item in reversed(access_log.read(backend))]
    if not found:
        raise NoSuchStackError(
            f"nothing was ever done to {session.city.name}",
            resolution=f"bring it up first: wecityctl up {session.arguments}",
        )
    return tuple(sorted(found, key=lambda item: item.started, reverse=True))


def _of_access(city: str, access: Access) -> Update:
    tenant = access.where.partition("/")[0]
    return Update(
        stack_name(city, "tenant", tenant, access.cloud),
        access.kind,
        _result(access.result),
        datetime.fromtimestamp(int(access.started), UTC).isoformat(),
        round(access.seconds),
        {},
        who=f"{access.who} as {access.identity}" if access.identity else access.who,
        access=f"{access.where}, pod {access.object}: {access.command}",
    )


def _result(result: str) -> str:
    if not result:
        return "begun"
    return f"exit code {result}" if result.isdigit() else result


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
