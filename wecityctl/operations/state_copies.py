"""Whether the target has a copy of the city's states as they are, and the copy that an `up` leaves there.

A copy is current while no state was written after it. So an `up` that changes nothing copies nothing, and the one after
a target was away copies what it missed. A copy of other states, as of those before a loss, is never hidden by a younger
one that nobody asked for. What is said of copies was observed: the target was asked.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from wecityctl.errors import WecityError, error_text
from wecityctl.model.backups import parse_time, when
from wecityctl.model.events import Emit, Progress
from wecityctl.objects.model import Limits
from wecityctl.operations.state_target import back_up_to_target, newest_copy, why_of_others

if TYPE_CHECKING:
    from wecityctl.engine.state.backend import Backend
    from wecityctl.engine.state.sealed_copies import SealedCopy
    from wecityctl.model.city import City

# An `up` is done when it comes to this, and whoever looks wants an answer: a target that is away is not waited for.
LIMITS = Limits(seconds=10.0, attempts=2)


@dataclass(frozen=True, slots=True)
class StateCopies:
    """The newest copy in the target at `url`, if there is one, and when a state was last written (UTC)."""

    url: str
    newest: SealedCopy | None
    written: datetime | None

    @property
    def is_current(self) -> bool:
        """Whether no state was written after the newest copy."""
        return self.newest is not None and (self.written is None or self.newest.at >= self.written)

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        at = None if self.newest is None else when(self.newest.at)
        written = None if self.written is None else when(self.written)
        return {"target": self.url, "newest": at, "written": written, "current": self.is_current}

    def __str__(self) -> str:
        if self.newest is None:
            return f"there is no copy of the states in {self.url}"
        text = f"the newest copy of the states in {self.url} is of {when(self.newest.at)}"
        if self.is_current or self.written is None:
            return f"{text}, and no state was written since"
        return f"{text}, and states were written since, the last at {when(self.written)}"


def look(city: City, backend: Backend) -> StateCopies | None:
    """Ask the target for the newest copy; `None` if there is no state to copy.

    Raises what `newest_copy` does.
    """
    stacks = backend.list_stacks()
    if not stacks:
        return None
    newest = newest_copy(city, backend, LIMITS)
    return StateCopies(city.compliance.backup.target, newest, _written(backend, stacks))


def copy_states(city: City, backend: Backend, emit: Emit) -> str:
    """Copy the states to the target if it has no current copy. Returns why that was not possible; empty if it was.

    Does nothing for a city that names no target, or wants no copies there.
    """
    backup, began, phase = city.compliance.backup, time.monotonic(), "looking for a copy"
    if not backup.is_taken or not backup.states:
        return ""
    emit(Progress("states", phase, f"in {backup.target}"))
    try:
        found = look(city, backend)
        if found is not None and not found.is_current:
            others = why_of_others(city, backend, found.newest, LIMITS) if found.newest is not None else ""
            if others:
                return (
                    f"the states were not copied to {backup.target}, for {others}: bring those back with "
                    "`wecityctl state restore --from-target`, or give them up with `wecityctl state backup --to-target`"
                )
            phase = "copying"
            emit(Progress("states", phase, f"to {backup.target}"))
            back_up_to_target(city, backend, limits=LIMITS)
    except (WecityError, OSError) as error:
        return (
            f"the states were not copied to {backup.target}, which the next `up` tries again, and "
            f"`wecityctl state backup --to-target` at once: {error_text(error)}"
        )
    finally:
        emit(Progress("states", phase, done=True, seconds=time.monotonic() - began))
    return ""


def _written(backend: Backend, stacks: tuple[str, ...]) -> datetime | None:
    from wecityctl.engine.state.maintenance import changed_at, states_of

    states, last = states_of(backend), None
    for stack in stacks:
        try:
            at = parse_time(changed_at(states, stack).replace("Z", "+00:00"))
        except ValueError:
            # It does not say: a state of no resources.
            continue
        last = at if last is None or at > last else last
    return last
