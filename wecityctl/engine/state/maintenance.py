"""Maintains states: checks their health, backs them up, and restores earlier versions of damaged ones.

Nothing is overwritten: a replaced state is first moved aside, with the time in its name.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from wecityctl.engine.state import records
from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.checkpoint import Deployment, deployment_in
from wecityctl.engine.state.engine_lock import locks_on
from wecityctl.engine.state.integrity import flaw, require_sound, with_what_is_lost
from wecityctl.engine.state.run_locks import one_stack
from wecityctl.engine.state.store import StateStore, unpacked
from wecityctl.engine.state.store_file import disk_error
from wecityctl.errors import ConfigurationError, DeploymentError, WecityError
from wecityctl.model.words import counted
from wecityctl.paths import write_private

Condition = Literal["sound", "under way", "interrupted", "unsound", "damaged"]
_FORMAT = 1
_NAME = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_INDEX = "index.json"
# The manifest is the first that a state has.
_WRITTEN = re.compile(rb'"manifest":\s*\{\s*"time":\s*"([^"]+)"')
# Far larger than the largest stack's state.
_MOST_BYTES = 1 << 31


@dataclass(frozen=True, slots=True)
class Health:
    """The condition of a stack's state. `detail` says why it is not sound; `updated` is an RFC 3339 time; `size` is in
    bytes.

    `under way`: a run is changing it; `interrupted`: a run was killed, and the next one continues from its journal;
    `unsound`: the engine would reject it; `damaged`: it, or its journal, cannot be read.
    """

    stack: str
    condition: Condition
    detail: str = ""
    resources: int = 0
    pending: int = 0
    updated: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class Mending:
    """A repair of a stack's state: `what` describes it for users, `apply` carries it out."""

    stack: str
    what: str
    apply: Callable[[], object] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Copy:
    """A stack's state in a backup archive. `stored` is the original file; `updated` is an RFC 3339 time."""

    stack: str
    stored: bytes = field(repr=False)
    resources: int
    updated: str


def states_of(backend: Backend) -> StateStore:
    """Return the back end's store. Raises `ConfigurationError` if only the CLI can reach it."""
    if backend.states is None:
        raise ConfigurationError(
            f"the state of {backend.city} is in {backend.url}, which only Pulumi itself reaches",
            resolution='use that back end\'s own copies and versions, or plain `pulumi`: eval "$(wecityctl env PATH)"',
        )
    return backend.states


def changed_at(states: StateStore, stack: str) -> str:
    """Return when the stack's state was last written (RFC 3339), empty if it does not say. The state is not parsed."""
    found = _WRITTEN.search(unpacked(states.stored(stack)))
    return found[1].decode() if found else ""


def health(states: StateStore, stack: str) -> Health:
    """Return the condition of the stack's state. Changes nothing."""
    try:
        deployment, stored = states.read(stack)
    except WecityError as error:
        return Health(stack, "damaged", f"{error.message}: {error.details}" if error.details else error.message)
    found = deployment or {}
    pending = len(found.get("pending_operations") or ())
    numbers = (len(found.get("resources") or ()), pending, _updated(found), len(stored))
    held = locks_on(states, stack)
    if held and not all(lock.is_dead for lock in held):
        return Health(stack, "under way", "; ".join(map(str, held)), *numbers)
    if why := flaw(deployment):
        return Health(stack, "unsound", why, *numbers)
    if held or states.has_journal(stack):
        return Health(stack, "interrupted", "the next run goes on from its journal", *numbers)
    return Health(stack, "sound", "", *numbers)


def good_versions(states: StateStore, stack: str) -> Iterator[Deployment]:
    """Yield earlier states of the stack that the engine would accept, newest first."""
    for deployment in states.earlier(stack):
        if deployment and not flaw(deployment):
            yield deployment


def mending(backend: Backend, stack: str) -> Mending | None:
    """Return the repair of the stack's state; `None` if it is sound or if only a run can complete it.

    Raises `DeploymentError` if there is no earlier version to restore.
    """
    states = states_of(backend)
    judged = seen(states, stack)
    found = health(states, stack)

    def to(deployment: Deployment) -> Callable[[], object]:
        return lambda: replace(backend, stack, deployment, judged=judged)

    def without_journal() -> None:
        with one_stack(backend, states, stack):
            _require_as_judged(states, stack, judged)
            states.put_journal_aside(stack)

    if found.condition not in ("unsound", "damaged"):
        return None
    if found.condition == "damaged" and _is_journal_s(states, stack):
        return Mending(stack, "move the journal aside: its run is forgotten", without_journal)
    if found.condition == "unsound":
        deployment = states.read(stack)[0] or {}
        whole, count = with_what_is_lost(deployment, states.earlier(stack))
        if count and not flaw(whole):
            return Mending(stack, f"put back {count} that its resources name", to(whole))
    earlier = next(good_versions(states, stack), None)
    if earlier is None:
        raise DeploymentError(
            f"there is no earlier state of {stack} to go back to",
            details=found.detail,
            resolution="put a copy back with `wecityctl state restore`; without one, move the file away and run `up`, "
            "which adopts what exists",
        )
    when = _updated(earlier) or "an unknown time"
    what = f"go back to the state of {when}, {counted(len(earlier.get('resources') or ()), 'resource')}"
    return Mending(stack, what, to(earlier))


def _is_journal_s(states: StateStore, stack: str) -> bool:
    """Whether the state is readable and only its journal is damaged."""
    if not states.has_journal(stack):
        return False
    try:
        states.alone(stack)
    except WecityError:
        return False
    return True


def exported(backend: Backend, stack: str) -> dict[str, Any]:
    """Return the stack's state in the format of `pulumi stack export`, with secrets encrypted."""
    found = states_of(backend).checkpoint(stack)
    if found is None:
        raise ConfigurationError(f"there is no stack {stack}", resolution="see `wecityctl state list`")
    features = {"features": list(found.features)} if found.features else {}
    return {"version": found.version, **features, "deployment": found.deployment}


def imported(text: bytes, stack: str) -> Deployment:
    """Return the deployment in an export. Raises `ConfigurationError` if it is invalid or belongs to another stack."""
    try:
        deployment: Deployment = json.loads(text)["deployment"]
        deployment_in(json.dumps({"checkpoint": {"stack": stack, "latest": deployment}}))
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            "this is no exported state",
            details=str(error),
            resolution="give a file that `wecityctl state export` or `pulumi stack export` has written",
        ) from error
    others = {str(item["urn"]).split(":")[2] for item in deployment.get("resources") or ()} - {stack}
    if others:
        raise ConfigurationError(
            f"this is a state of {min(others)}, and not of {stack}",
            resolution=f"name the stack it is of: {min(others)}",
        )
    require_sound(stack, deployment)
    return deployment


def seen(states: StateStore, stack: str) -> str:
    """Return a digest of the stack's stored state and journal, to detect changes between a decision
    and its execution.
    """
    found = hashlib.sha256(states.digest(stack).encode())
    found.update(states.lines(stack).raw())
    return found.hexdigest()


def replace(backend: Backend, stack: str, deployment: Deployment, *, judged: str = "") -> str:
    """Replace the stack's state; return where the previous one was moved, empty if there was none.

    `judged` is the result of `seen` at the time of the decision. Raises `LockedError`, and `DeploymentError` if the
    state has changed since.
    """
    return _exchange(backend, stack, lambda states: states.replace(stack, deployment), judged)


def back_up(states: StateStore, city: str, stacks: Sequence[str], target: Path) -> tuple[Copy, ...]:
    """Write an archive of these stacks' states, as `archive` makes it. Raises `DeploymentError`.

    Only its owner can read it.
    """
    data, copies = archive(states, city, stacks)
    try:
        write_private(target, data)
    except OSError as error:
        raise disk_error(error, target) from error
    return copies


def archive(states: StateStore, city: str, stacks: Sequence[str]) -> tuple[bytes, tuple[Copy, ...]]:
    """Return an archive of these stacks' states, with journals replayed, and what is in it.

    Secrets stay encrypted as in the states.
    """
    copies = tuple(_copy(stack, states.stored(stack)) for stack in stacks)
    index = {
        "format": _FORMAT,
        "city": city,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "stacks": {item.stack: hashlib.sha256(item.stored).hexdigest() for item in copies},
    }
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as written:
        _add(written, _INDEX, json.dumps(index, indent=2).encode())
        for item in copies:
            _add(written, f"{item.stack}.json", item.stored)
    return stream.getvalue(), copies


def read_backup(source: Path | str, city: str, data: bytes | None = None) -> tuple[Copy, ...]:
    """Return the states in an archive after checking each: the file `source`, or `data` that is of the place `source`.

    Raises `ConfigurationError` if it is damaged or another city's.
    """
    try:
        stream = io.BytesIO(Path(source).read_bytes() if data is None else data)
        with tarfile.open(fileobj=stream, mode="r:gz") as found:
            index = json.loads(_member(found, _INDEX))
            if index.get("format") != _FORMAT:
                raise ValueError(f"format {index.get('format')!r}, not {_FORMAT}")
            texts = {str(stack): _member(found, f"{stack}.json") for stack in index["stacks"]}
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, tarfile.TarError) as error:
        raise ConfigurationError(
            f"{source} is no archive of states",
            details=(error.strerror if isinstance(error, OSError) else "") or str(error),
            resolution="give one that `state backup` has written",
        ) from error
    if index.get("city") != city:
        raise ConfigurationError(f"{source} is of {index.get('city')!r}, and not of {city}")
    for stack, stored in texts.items():
        if not _NAME.fullmatch(stack):
            raise ConfigurationError(f"{source} is damaged", details=f"{stack!r} is no name of a stack")
        if hashlib.sha256(stored).hexdigest() != index["stacks"][stack] or not stack.startswith(f"{city}."):
            raise ConfigurationError(f"{source} is damaged", details=f"{stack}: its checksum is another's")
    return tuple(_copy(stack, stored) for stack, stored in texts.items())


def restore(backend: Backend, item: Copy, *, judged: str = "") -> str:
    """Restore a state from an archive; return where the previous one was moved. Raises as `replace` does."""
    return _exchange(backend, item.stack, lambda states: states.put_back(item.stack, item.stored), judged)


def _exchange(backend: Backend, stack: str, write: Callable[[StateStore], None], judged: str) -> str:
    """Move the stack's state aside and write another one, with the locks held; return where the
    previous one was moved.
    """
    states = states_of(backend)
    with one_stack(backend, states, stack):
        _require_as_judged(states, stack, judged)
        states.prepare()
        before = _put_aside(states, stack)
        # The record belongs to the previous state; without it, the next `up` examines the stack.
        records.discard(states, stack)
        write(states)
    return before


def _require_as_judged(states: StateStore, stack: str, judged: str) -> None:
    if judged and seen(states, stack) != judged:
        raise DeploymentError(
            f"another run has changed {stack} meanwhile",
            details="what was decided was about the state before",
            resolution="look again: wecityctl state list",
        )


def _copy(stack: str, stored: bytes) -> Copy:
    found: Mapping[str, Any] = deployment_in(unpacked(stored)) or {}
    return Copy(stack, stored, len(found.get("resources") or ()), _updated(found))


def _updated(deployment: Mapping[str, Any]) -> str:
    return str((deployment.get("manifest") or {}).get("time") or "")


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o600
    archive.addfile(member, io.BytesIO(data))


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    """Return a regular file of the archive by its full name, without extracting anything to disk."""
    member = archive.getmember(name)
    stream = archive.extractfile(member) if member.isfile() and member.size <= _MOST_BYTES else None
    if stream is None:
        raise ValueError(f"{name} is no file of it")
    return stream.read()


def _put_aside(states: StateStore, stack: str) -> str:
    """Move the stored state and its journal aside; return where the state is."""
    states.put_journal_aside(stack)
    key, stored = states.find(stack)
    return states.put_aside(key.rpartition("/")[2], stored) if key else ""
