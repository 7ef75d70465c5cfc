"""Run locks as stored objects, exclusive or shared, for S3 and PostgreSQL, which several machines use.

To lock a name exclusively, a process creates the one object of that name and then checks for sharers. To share it, it
writes an object of its own and then checks for an exclusive owner. Of two that meet, at least one sees the other and
withdraws. Locks of processes that are certainly dead on this machine are removed; those of other machines are reported
and stay until the user breaks them (`wecityctl unlock`).

A dead process's exclusive lock counts as absent. The next process that locks exclusively replaces it in one conditional
write, so whoever is interrupted leaves nothing but a lock that can be replaced or broken again.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field

from wecityctl.engine.process.identity import Holder, Owned, Owner, owner_in
from wecityctl.engine.state import layout
from wecityctl.errors import WecityError
from wecityctl.model.times import in_utc
from wecityctl.objects import Objects

_ALONE = "alone.json"


@dataclass(frozen=True, slots=True)
class Held(Owned):
    """A stored lock. `owner` is `None` if it cannot be read. `stored` is the object's data."""

    key: str
    number: str
    since: str
    owner: Owner | None
    stored: bytes = field(default=b"", repr=False)
    command: str = ""

    @property
    def is_exclusive(self) -> bool:
        return self.key.endswith(f"/{_ALONE}")

    @property
    def is_alive(self) -> bool:
        """Whether the owner certainly runs on this machine."""
        return self.owner is not None and self.owner.is_alive()

    def __str__(self) -> str:
        return f"{self.key.split('/')[-2]}: {self.holder}"

    @property
    def holder(self) -> str:
        """Who holds it, since when, and with which command."""
        if self.owner is None:
            return f"an unknown process, since {in_utc(self.since)}"
        return str(Holder(self.owner, self.since, self.command))


@dataclass(slots=True)
class StoredLocks:
    """Locks of this process as objects of a store; see `run_locks.Locks`."""

    objects: Objects
    _number: str = field(default_factory=lambda: uuid.uuid4().hex)
    _keys: set[str] = field(default_factory=set)

    @property
    def abandoned(self) -> str:
        """See `Locks`."""
        return "if it is dead for certain: wecityctl unlock PATH"

    def take(self, name: str, *, alone: bool) -> bool:
        """See `Locks.take`."""
        mine = self._alone_key(name) if alone else self._shared_key(name)
        if any(key in self._keys and self._is_mine(key) for key in (mine, self._alone_key(name))):
            return True
        # Recorded before the write, so that a lock whose answer was lost is released too.
        self._keys.add(mine)
        if alone:
            if not self._created(mine):
                self._keys.discard(mine)
                return False
        else:
            self.objects.put(mine, self._note())
        if self._others(name) if alone else self._holder(name):
            self._give_back(mine)
            return False
        return True

    def holders(self, names: Collection[str]) -> list[str]:
        """See `Locks.holders`."""
        found = (_held(self.objects, self._alone_key(name)) for name in names)
        others = (each for each in found if each is not None and each.number != self._number)
        return [each.holder for each in others if each.owner and not each.is_dead]

    def below(self, city: str) -> list[str]:
        """See `Locks.below`."""
        names = {entry.key.split("/")[-2] for entry in self.objects.list(layout.RUN_LOCKS)}
        return sorted(name for name in names if name.startswith(f"{city}."))

    def release(self) -> None:
        """See `Locks.release`."""
        for key in sorted(self._keys):
            # An error on one lock must not keep the others or hide the run's own error. The lock's owner is dead soon.
            with suppress(WecityError):
                self._give_back(key)
        self._keys.clear()

    def _give_back(self, key: str) -> None:
        if self._is_mine(key):
            self.objects.delete(key)
        self._keys.discard(key)

    def _is_mine(self, key: str) -> bool:
        """Whether the lock still exists and is this process's. If it was broken, another process may have it."""
        held = _held(self.objects, key)
        return held is not None and held.number == self._number

    def _created(self, key: str) -> bool:
        if self.objects.create(key, self._note()):
            return True
        held = _held(self.objects, key)
        if held is None:
            return self.objects.create(key, self._note())
        return held.is_dead and self.objects.replace(key, self._note(), held.stored)

    def _others(self, name: str) -> list[Held]:
        """Return the locks of other processes on the name, exclusive or shared."""
        return [held for held in _held_below(self.objects, f"{layout.RUN_LOCKS}/{name}") if self._stands(held)]

    def _holder(self, name: str) -> Held | None:
        """Return another process's exclusive lock on the name; `None` for none."""
        held = _held(self.objects, self._alone_key(name))
        return held if held is not None and self._stands(held) else None

    def _stands(self, held: Held) -> bool:
        """Whether another run holds this lock. Removes a shared one whose owner is dead on this machine."""
        if held.is_dead and not held.is_exclusive:
            break_lock(self.objects, held)
        return held.number != self._number and not held.is_dead

    def _note(self) -> bytes:
        return _note_of(self._number)

    @staticmethod
    def _alone_key(name: str) -> str:
        return f"{layout.RUN_LOCKS}/{name}/{_ALONE}"

    def _shared_key(self, name: str) -> str:
        return f"{layout.RUN_LOCKS}/{name}/{self._number}.json"


def left_in(objects: Objects, city: str) -> list[Held]:
    """Return the current run locks on the city and its stacks."""
    found = ((held.key.split("/")[-2], held) for held in _held_below(objects, layout.RUN_LOCKS))
    return [held for name, held in found if name == city or name.startswith(f"{city}.")]


def _held_below(objects: Objects, prefix: str) -> list[Held]:
    keys = [entry.key for entry in objects.list(prefix) if entry.key.endswith(".json")]
    return [held for key in keys if (held := _held(objects, key)) is not None]


def _held(objects: Objects, key: str) -> Held | None:
    stored = objects.get(key)
    if stored is None:
        return None
    try:
        found = json.loads(stored)
        number, since, command = (str(found.get(name, "")) for name in ("number", "since", "command"))
        return Held(key, number, since, owner_in(found["owner"]), stored, command)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return Held(key, "", "?", None, stored)


def _note_of(number: str) -> bytes:
    """Return the data of a lock of this process."""
    holder = Holder.of_this_process()
    note = {"number": number, "since": holder.since, "owner": holder.owner.to_json(), "command": holder.command}
    return json.dumps(note).encode()


def break_lock(objects: Objects, dead: Held) -> None:
    """Remove the lock that was examined, but not a newer one under the same key.

    An exclusive lock is first replaced by one of this process, which succeeds for one of several processes; the others
    do nothing. A shared lock's key contains its owner's number, so nobody else ever writes it.
    """
    if not dead.is_exclusive or objects.replace(dead.key, _note_of(uuid.uuid4().hex), dead.stored):
        objects.delete(dead.key)
