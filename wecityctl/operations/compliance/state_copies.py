"""The evidence of copies of the city's states: the newest in the target, and whether it has what was written since."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from wecityctl.errors import WecityError
from wecityctl.model.backups import when
from wecityctl.operations.compliance.backups import CONTROL, GRACE, longest_gap
from wecityctl.operations.state_copies import StateCopies, look
from wecityctl.policy.evidence import Measure, Observation
from wecityctl.session import Session


def state_measures(session: Session, now: datetime, *, asking: bool) -> Iterator[tuple[tuple[str, ...], Measure]]:
    """What the target has of the states; nothing for a city without target or states. It is asked only if `asking`."""
    from wecityctl.engine.state.backend import open_backend

    backup = session.city.compliance.backup
    if not backup.is_taken:
        return
    seen = Observation(backup.target, "not-looked-at", 0, 1)
    if asking:
        try:
            found = look(session.city, open_backend(session.city))
        except WecityError as error:
            seen = Observation(backup.target, "not-looked-at", 0, 1, detail=error.message)
        else:
            if found is None:
                return
            seen = observed(found, now - longest_gap(backup.schedule) - GRACE)
    notes = () if backup.states else ("no `up` copies them: compliance.backup.states is false",)
    title = "Copies of the city's states at another place 状态异地备份"
    yield (CONTROL,), Measure("setting", "state-copies", title, notes=notes, observations=(seen,))


def observed(found: StateCopies, limit: datetime) -> Observation:
    """The copies as an observation. One that is not current still counts if it was made after `limit`."""
    if found.newest is None:
        return Observation(found.url, "missing", 0, 1, detail=str(found))
    counts = found.is_current or found.newest.at >= limit
    since = when(found.newest.at)
    return Observation(found.url, "observed" if counts else "partial", int(counts), 1, since, str(found))
