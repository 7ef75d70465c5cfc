"""`state backup --to-target` and `state restore --from-target`: what they say, and their arguments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wecityctl.cli._common import Output, note, say, say_json
from wecityctl.errors import ConfigurationError
from wecityctl.model.words import counted

if TYPE_CHECKING:
    from wecityctl.operations.state import Backend, Replacement


def back_up_to_target(path: Path, stacks: Sequence[str], file: Path | None, output: Output) -> None:
    """Write a copy of the city's states to its target, and say what is in it."""
    from wecityctl.model.backups import when
    from wecityctl.operations import state_target
    from wecityctl.operations.state import open_city

    if file is not None:
        raise ConfigurationError("--file and --to-target do not go together", resolution="give one of them")
    city, backend = open_city(path)
    done = state_target.back_up_to_target(city, backend, stacks)
    if output is Output.JSON:
        states = [{"stack": item.stack, "resources": item.resources, "updated": item.updated} for item in done.copies]
        copy = {"at": when(done.copy.at), "key": done.copy.key, "bytes": done.copy.size}
        removed = [when(item.at) for item in done.removed]
        say_json({"city": city.name, "target": done.place, **copy, "states": states, "removed": removed})
        return
    for item in done.copies:
        say(f"{item.stack}: {counted(item.resources, 'resource')}")
    note(
        f"{done.place}: {done.copy.key}, {done.copy.size:,} bytes, read back; whoever restores it needs the passphrase"
    )
    if done.removed:
        note(f"{counted(len(done.removed), 'older copy', 'older copies')} removed")


def plan_from_target(path: Path, at: str, stacks: Sequence[str]) -> tuple[Backend, tuple[Replacement, ...]]:
    """Plan to restore states from the target, and say of which time they are."""
    from wecityctl.model.backups import parse_time, when
    from wecityctl.operations import state_target
    from wecityctl.operations.state import open_city

    try:
        time = parse_time(at.replace("Z", "+00:00")) if at else None
    except ValueError:
        raise ConfigurationError(
            f"--at={at} is no time with a time zone", resolution="write it as 2026-11-27T02:30:00Z"
        ) from None
    city, backend = open_city(path)
    copy, planned = state_target.plan_restore_from_target(city, backend, stacks, time)
    note(f"the states are those of {when(copy.at)}")
    return backend, planned
