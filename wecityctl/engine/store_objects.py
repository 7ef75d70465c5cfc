"""The self-managed back end in S3 or PostgreSQL, read and written without starting a CLI.

The layout is that of `store_file`. The engine itself works on the place by its own client, and has its own locks there.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from wecityctl.engine.integrity import require_sound
from wecityctl.engine.lock import Lock, lock_content, lock_in, require_free
from wecityctl.engine.moved import Mark, read_mark
from wecityctl.engine.process import Owner
from wecityctl.engine.state import Deployment, deployment_in, deployment_of
from wecityctl.engine.store_file import META, checkpoint_in, compact, repacked, unpacked, updates_before
from wecityctl.model.naming import PROJECT
from wecityctl.objects import Objects, open_objects

META_KEY = ".pulumi/meta.yaml"
STACKS = f".pulumi/stacks/{PROJECT}"
HISTORY = f".pulumi/history/{PROJECT}"
BACKUPS = f".pulumi/backups/{PROJECT}"
LOCKS = f".pulumi/locks/organization/{PROJECT}"


class ObjectStore:
    """The stacks of project `wecity` in the place that a URL names."""

    def __init__(self, url: str) -> None:
        """Open it. Raises what `open_objects` raises."""
        # Pulumi registers this one of the two names.
        self.url = f"postgres://{url.partition('://')[2]}" if url.startswith("postgresql://") else url
        self._objects: Objects = open_objects(url)
        self.public_url = url

    def prepare(self) -> None:
        """Make the place a back end if it is none yet."""
        if self._objects.get(META_KEY) is None:
            self._objects.put(META_KEY, META)

    def mark(self, key: str) -> Mark | None:
        """The mark of a move that lies here under `key`."""
        return read_mark(self._objects.get(key))

    def names(self) -> list[str]:
        """Every stack of the project."""
        return sorted(states_in(self._objects))

    def _find(self, stack: str) -> tuple[str, bytes]:
        """The key of the stack's state and what is stored there; both empty for no stack."""
        for end in (".json", ".json.gz"):
            key = f"{STACKS}/{stack}{end}"
            if (stored := self._objects.get(key)) is not None:
                return key, stored
        return "", b""

    def exists(self, stack: str) -> bool:
        return bool(self._find(stack)[0])

    def read(self, stack: str) -> tuple[Deployment | None, bytes]:
        """The stack's deployment and the bytes it is stored as; both empty for a stack that is not there."""
        key, stored = self._find(stack)
        if not key:
            return None, b""
        return deployment_of(checkpoint_in(stored, stack, f"{self._objects.url}: {key}")), stored

    def earlier(self, stack: str) -> Iterator[Deployment]:
        """Earlier states of the stack, the newest first: the engine's copy beside it, and one for each update."""
        copies = [entry.key for entry in self._objects.list(f"{HISTORY}/{stack}") if ".checkpoint.json" in entry.key]
        key = self._find(stack)[0]
        for each in [*([f"{key}.bak"] if key else []), *sorted(copies, reverse=True)]:
            stored = self._objects.get(each)
            with suppress(OSError, ValueError):
                yield deployment_in(unpacked(stored or b"")) or {}

    def sealed(self, stack: str) -> Deployment | None:
        """The stack's deployment with its secrets encrypted."""
        return self.read(stack)[0]

    def stored(self, stack: str) -> bytes:
        """The stack's state as stored, unread; empty for none."""
        return self._find(stack)[1]

    def glimpse(self, stack: str) -> bytes:
        """The same."""
        return self.stored(stack)

    def create(self, stack: str) -> None:
        """An empty stack, as the CLI itself begins one."""
        self.prepare()
        content = {"version": 3, "checkpoint": {"stack": f"organization/{PROJECT}/{stack}"}}
        self._objects.create(f"{STACKS}/{stack}.json", compact(content))

    def write(self, stack: str, deployment: Deployment) -> None:
        """Replace the state, with the engine's lock held. Raises for a state that the engine would refuse."""
        require_sound(stack, deployment)
        content = {"version": 3, "checkpoint": {"stack": f"organization/{PROJECT}/{stack}", "latest": deployment}}
        with locked(self._objects, (stack,)):
            key, stored = self._find(stack)
            self._objects.put(key or f"{STACKS}/{stack}.json", repacked(compact(content), stored))

    def remove(self, stack: str) -> None:
        """Remove a stack and what the engine keeps about it. Only for stacks with no resources left."""
        with locked(self._objects, (stack,)):
            for area in (HISTORY, BACKUPS):
                for entry in self._objects.list(f"{area}/{stack}"):
                    self._objects.delete(entry.key)
            for end in (".json.bak", ".json.gz.bak", ".json", ".json.gz"):
                self._objects.delete(f"{STACKS}/{stack}{end}")

    def prune(self, stack: str, keep: int) -> None:
        """Remove what the engine has kept of updates before the last `keep`: records, checkpoints, copies of states."""
        for area in (HISTORY, BACKUPS):
            for key in updates_before(keep, [entry.key for entry in self._objects.list(f"{area}/{stack}")]):
                self._objects.delete(key)

    def history(self, stack: str, count: int | None = None) -> list[dict[str, Any]]:
        """The stack's last `count` updates (`None`: all), newest first, as the engine recorded them."""
        keys = [entry.key for entry in self._objects.list(f"{HISTORY}/{stack}") if ".history.json" in entry.key]
        found = [self._objects.get(key) for key in sorted(keys, reverse=True)[:count]]
        return [json.loads(unpacked(stored)) for stored in found if stored is not None]

    def locks(self, stack: str) -> list[Lock]:
        """The engine's locks on the stack."""
        return locks_in(self._objects, stack)

    def unlock(self, lock: Lock) -> None:
        """Remove a lock."""
        self._objects.delete(lock.path.as_posix())


def states_in(place: Objects) -> dict[str, str]:
    """The key of each stack's state; what lies beside the states is left out."""
    found = {}
    for entry in place.list(STACKS):
        name = entry.key.removeprefix(f"{STACKS}/")
        for end in (".json", ".json.gz"):
            if name.endswith(end):
                found[name.removesuffix(end)] = entry.key
    return found


def locks_in(place: Objects, stack: str) -> list[Lock]:
    """The engine's locks on a stack. None of them can be proven dead: nobody has noted its owner."""
    return [lock_in(stack, Path(entry.key), place.get(entry.key)) for entry in place.list(f"{LOCKS}/{stack}")]


@contextmanager
def locked(place: Objects, stacks: Sequence[str]) -> Iterator[None]:
    """The stacks, locked as the engine does. Raises `LockedError`."""
    content = json.dumps(lock_content(Owner.of(os.getpid()))).encode()
    with ExitStack() as held:
        for stack in stacks:
            require_free(stack, locks_in(place, stack))
            key = f"{LOCKS}/{stack}/{uuid.uuid4()}.json"
            held.callback(place.delete, key)
            place.put(key, content)
            # Whoever looked in the same moment has seen nothing either.
            require_free(stack, [lock for lock in locks_in(place, stack) if lock.path.as_posix() != key])
        yield
