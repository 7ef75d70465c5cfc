"""`state`: checks, exports, backs up, repairs and moves the states of a city's stacks. No cloud is contacted.

What replaces a state is planned first and applied when the caller has obtained approval. A plan that is out of date by
then is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from wecityctl.engine.state import layout, maintenance
from wecityctl.engine.state.backend import Backend, open_backend
from wecityctl.engine.state.maintenance import Copy, Health, Mending, states_of
from wecityctl.engine.state.move import Move, move, planned, undo
from wecityctl.errors import ConfigurationError
from wecityctl.guesses import nearest
from wecityctl.model.city import City
from wecityctl.session import open_session

__all__ = [
    "Backend",
    "Backup",
    "Copy",
    "Exported",
    "Health",
    "Mending",
    "Move",
    "Replacement",
    "aside_of",
    "back_up",
    "export_state",
    "list_states",
    "move",
    "needs_repair",
    "open_city",
    "open_states",
    "plan_import",
    "plan_repair",
    "plan_restore",
    "planned",
    "undo",
]

_DEFAULT_NAME = "{}-state-{:%Y%m%dT%H%M%SZ}.tar.gz"


@dataclass(frozen=True, slots=True)
class Exported:
    """A stack's state as the text that `pulumi stack export` writes, its secrets encrypted."""

    stack: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Replacement:
    """A state that is to replace a stack's own. `now` is the condition of that; `None` if there is none.

    `resources` and `updated` (RFC 3339, empty if unknown) are the new state's. `aside` is the place below which the
    stack's own is put first, empty if it has none. `apply` carries it out and returns where
    the previous state is, empty if there was none; it raises `LockedError`, and `DeploymentError` if the state has
    changed since.
    """

    stack: str
    now: Health | None
    resources: int
    updated: str
    aside: str
    apply: Callable[[], str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Backup:
    """An archive that was written, and what is in it."""

    file: Path
    copies: tuple[Copy, ...]


def open_states(path: Path, *, moving: bool = False) -> Backend:
    """Open the state back end of the city at `path`.

    Raises `ConfigurationError` if its states were moved elsewhere, unless the caller is `moving` them.
    """
    return open_backend(open_session(path, lenient=True).city, moving=moving)


def open_city(path: Path) -> tuple[City, Backend]:
    """Open a city and its state back end. Raises as `open_states` does."""
    city = open_session(path, lenient=True).city
    return city, open_backend(city)


def list_states(backend: Backend) -> tuple[Health, ...]:
    """Return the condition of each stack's state."""
    states = states_of(backend)
    return tuple(maintenance.health(states, stack) for stack in backend.list_stacks())


def needs_repair(found: Sequence[Health]) -> bool:
    """Whether `plan_repair` has something to do."""
    return any(item.condition in ("unsound", "damaged") for item in found)


def export_state(backend: Backend, part: str) -> Exported:
    """Export the state of the one stack that `part` names. Raises `ConfigurationError` if it names none or several."""
    stack = _only(backend.list_stacks(), part)
    return Exported(stack, json.dumps(maintenance.exported(backend, stack), indent=4, ensure_ascii=False) + "\n")


def aside_of(backend: Backend) -> str:
    """Return the place below which replaced states are kept."""
    return states_of(backend).where(layout.ASIDE)


def plan_import(backend: Backend, part: str, read: Callable[[], bytes]) -> Replacement:
    """Plan to give the stack that `part` names the exported state that `read` returns.

    Raises `ConfigurationError` for no export, that of another stack, and a state that the engine would refuse.
    """
    states = states_of(backend)
    stack = _only(backend.list_stacks(), part)
    deployment, judged = maintenance.imported(read(), stack), maintenance.seen(states, stack)
    return Replacement(
        stack,
        maintenance.health(states, stack),
        len(deployment.get("resources") or ()),
        "",
        aside_of(backend) if states.exists(stack) else "",
        partial(maintenance.replace, backend, stack, deployment, judged=judged),
    )


def back_up(backend: Backend, parts: Sequence[str] = (), file: Path | None = None) -> Backup:
    """Write the states of the stacks with one of `parts` in their name, or of all, into a new archive.

    Without `file` its name has the city and the time, in the current directory. Raises `ConfigurationError` if the file
    exists or no stack matches, and `DeploymentError` if it cannot be written.
    """
    target = file or Path(_DEFAULT_NAME.format(backend.city, datetime.now(UTC)))
    if target.exists():
        raise ConfigurationError(f"{target} is there already", resolution="name another file")
    stacks = matching(backend.list_stacks(), parts)
    return Backup(target, maintenance.back_up(states_of(backend), backend.city, stacks, target.absolute()))


def plan_restore(backend: Backend, file: Path, parts: Sequence[str] = ()) -> tuple[Replacement, ...]:
    """Plan to put the states of an archive in their place: those with one of `parts` in their name, or all.

    Raises `ConfigurationError` if the archive is damaged or another city's, or if no stack of it matches.
    """
    return replacements(backend, maintenance.read_backup(file, backend.city), parts)


def replacements(backend: Backend, found: Sequence[Copy], parts: Sequence[str]) -> tuple[Replacement, ...]:
    """Plan to put these states in their place: those with one of `parts` in their name, or all.

    Raises `ConfigurationError` if none matches.
    """
    states = states_of(backend)
    copies = {item.stack: item for item in found}
    wanted = matching(tuple(copies), parts)
    judged = {name: maintenance.seen(states, name) for name in wanted}
    return tuple(
        Replacement(
            name,
            maintenance.health(states, name) if states.exists(name) else None,
            copies[name].resources,
            copies[name].updated,
            aside_of(backend) if states.exists(name) else "",
            partial(maintenance.restore, backend, copies[name], judged=judged[name]),
        )
        for name in wanted
    )


def plan_repair(backend: Backend, parts: Sequence[str] = ()) -> tuple[Mending, ...]:
    """Return the repairs of the states that need one: of the stacks with one of `parts` in their name, or of all.

    Raises `ConfigurationError` if no stack matches, and `DeploymentError` for a state without an earlier version.
    """
    stacks = matching(backend.list_stacks(), parts)
    return tuple(item for name in stacks if (item := maintenance.mending(backend, name)) is not None)


def matching(names: Sequence[str], parts: Sequence[str]) -> tuple[str, ...]:
    """Return the stacks with one of `parts` in their name; all stacks if it is empty.

    Raises `ConfigurationError` if none matches.
    """
    for part in parts:
        if not any(part in name for name in names):
            near = nearest(part, [*names, *(word for name in names for word in name.split("."))])
            raise ConfigurationError(
                f"no stack matches {part!r}",
                details="stacks: " + (", ".join(names) or "none"),
                resolution=f"did you mean {near!r}?" if near else "name a stack, or a part of its name",
            )
    return tuple(name for name in names if not parts or any(part in name for part in parts))


def _only(names: Sequence[str], part: str) -> str:
    """Return the one stack of that name, or with that text in its name.

    Raises `ConfigurationError` if none or several match.
    """
    found = [name for name in names if name == part] or [name for name in names if part in name]
    if len(found) != 1:
        raise ConfigurationError(
            f"{part!r} names {'several stacks' if found else 'no stack'}",
            details="stacks: " + (", ".join(found or names) or "none"),
            resolution=_which(part, names, found),
        )
    return found[0]


def _which(part: str, names: Sequence[str], found: Sequence[str]) -> str:
    """Return what to write instead of a part of a name that matches several stacks (`found`) or none."""
    near = "" if found else nearest(part, names)
    return f"did you mean {near!r}?" if near else "give the whole name of one stack"
