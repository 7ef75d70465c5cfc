"""Reads the lines of an app from the city's log store: those of pods that are gone too."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wecityctl.errors import DeploymentError
from wecityctl.operations.capability_servers import CapabilityServer, conversation, servers_on

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient
    from wecityctl.model.since import Since
    from wecityctl.operations.app_targets import Target
    from wecityctl.session import Session

# The capability type of a log store.
LOGS = "logs"
_QUERY = "/select/logsql/query"
# Lines that are asked for at a time.
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class StoredLine:
    """A line of a container's log. `time` is RFC 3339, with nanoseconds."""

    time: str
    pod: str
    container: str
    text: str


def log_store(session: Session, cloud: str) -> CapabilityServer | None:
    """The log store of a cloud, as the files have it; `None` if nothing keeps its logs."""
    found = servers_on(session.city, session.catalogue, session.plan.placement, cloud, LOGS)
    return found[0] if found else None


async def stored_lines(
    client: KubeClient,
    store: CapabilityServer,
    target: Target,
    components: Iterable[str],
    *,
    tail: int | None,
    since: Since | None,
) -> AsyncIterator[StoredLine]:
    """Yield the lines of an app, the oldest first: the last `tail` of each container, those since then, or all.

    Raises what `conversation` raises, and `DeploymentError` for an answer that is none.
    """
    chosen = selection(target, components, since)
    async with conversation(client, store) as server:
        if tail is not None:
            last = f" | last {tail} by (_time) partition by (pod, container)" if tail else " | limit 0"
            for line in _lines(await server.ask(_QUERY, {"query": f"{chosen}{last} | sort by (_time)"})):
                yield line
            return
        begin, seen = "", 0
        while True:
            # From the time of the last line on, without those that were read with it. Lines that are alike in all by
            # which they are sorted change places from one answer to the next.
            rest = f"{chosen} _time:>={begin}" if begin else chosen
            page = f"{rest} | sort by (_time, pod, container, _msg) offset {seen} limit {_PAGE}"
            lines = list(_lines(await server.ask(_QUERY, {"query": page})))
            for line in lines:
                yield line
            if len(lines) < _PAGE:
                return
            same = sum(line.time == lines[-1].time for line in lines)
            seen = same + (seen if lines[-1].time == begin else 0)
            begin = lines[-1].time


def selection(target: Target, components: Iterable[str], since: Since | None) -> str:
    """The filter of LogsQL that selects the lines of an app, or of some of its components."""
    fields = [f'tenant="{target.app.tenant}"', f'app="{target.app.name}"']
    names = sorted(set(components))
    if names:
        fields.append("component in ({})".format(",".join(f'"{name}"' for name in names)))
    time = since.begin(datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if since is not None else ""
    return f"{{{','.join(fields)}}}" + (f" _time:>={time}" if time else "")


def _lines(text: str) -> Iterable[StoredLine]:
    for item in text.split("\n"):
        if not item:
            continue
        try:
            found = json.loads(item)
            yield StoredLine(found["_time"], found.get("pod", ""), found.get("container", ""), found.get("_msg", ""))
        except (ValueError, KeyError, TypeError) as error:
            # The server tells of what went wrong after it has begun to answer in the answer itself.
            raise DeploymentError("the log store did not answer to the end", details=item[:300]) from error
