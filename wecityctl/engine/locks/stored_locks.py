"""Locks as objects, alone or shared, where the kernel of no machine knows all who ask: in S3 and PostgreSQL.

Whoever wants a name alone creates the one object of that name, and then looks for others who share it; whoever shares
it writes an object of its own, and then looks for one who has it alone. Of two that meet at least one sees the other,
and withdraws. What a process of this machine has left that is certainly dead is removed; what another machine has left
is named, and stays until a person says so (`wecityctl unlock`).
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from wecityctl.engine.process.identity import Owner
from wecityctl.engine.state import layout
from wecityctl.errors import WecityError
from wecityctl.objects import Objects

_ALONE = "alone.json"


@dataclass(frozen=True, slots=True)
class Held:
    """A lock as it is stored. `owner` is `None` for one that cannot be read."""

    key: str
    number: str
    since: str
    owner: Owner | None

    @property
    def is_dead(self) -> bool:
        return self.owner is not None and self.owner.is_dead()

    @property
    def is_alive(self) -> bool:
        """Whether its owner certainly runs on this machine."""
        return self.owner is not None and self.owner.is_alive()

    def __str__(self) -> str:
        return f"{self.key.split('/')[-2]}: a run, {self.owner or 'somebody'}, since {self.since}"


@dataclass(slots=True)
class StoredLocks:
    """Locks of this process in a place of objects; see `run_locks.Locks`."""

    objects: Objects
    _number: str = field(default_factory=lambda: uuid.uuid4().hex)
    _keys: set[str] = field(default_factory=set)

    def take(self, name: str, *, alone: bool) -> bool:
        """See `Locks.take`."""
        mine = self._alone_key(name) if alone else self._shared_key(name)
        if any(key in self._keys and self._is_mine(key) for key in (mine, self._alone_key(name))):
            return True
        # Noted before it is written: where the answer is lost, it is given back all the same.
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
        return [str(each.owner) for each in found if each is not None and each.owner and each.number != self._number]

    def below(self, city: str) -> list[str]:
        """See `Locks.below`."""
        names = {entry.key.split("/")[-2] for entry in self.objects.list(layout.RUN_LOCKS)}
        return sorted(name for name in names if name.startswith(f"{city}."))

    def release(self) -> None:
        """See `Locks.release`."""
        for key in sorted(self._keys):
            # One that cannot be given back keeps none of the others, and does not hide what the run ended with: its
            # owner is dead soon.
            with suppress(WecityError):
                self._give_back(key)
        self._keys.clear()

    def _give_back(self, key: str) -> None:
        if self._is_mine(key):
            self.objects.delete(key)
        self._keys.discard(key)

    def _is_mine(self, key: str) -> bool:
        """Whether it is still there, and this process's: broken by somebody, it may be another's by now."""
        held = _held(self.objects, key)
        return held is not None and held.number == self._number

    def _created(self, key: str) -> bool:
        if self.objects.create(key, self._note()):
            return True
        held = _held(self.objects, key)
        if held is not None and held.is_dead:
            break_lock(self.objects, held)
        return (held is None or held.is_dead) and self.objects.create(key, self._note())

    def _others(self, name: str) -> list[Held]:
        """Who else has the name, alone or shared."""
        return [held for held in _held_below(self.objects, f"{layout.RUN_LOCKS}/{name}") if self._stands(held)]

    def _holder(self, name: str) -> Held | None:
        """Who else has the name alone."""
        held = _held(self.objects, self._alone_key(name))
        return held if held is not None and self._stands(held) else None

    def _stands(self, held: Held) -> bool:
        """Whether another run has it; what the dead of this machine have is removed."""
        if held.number == self._number:
            return False
        if held.is_dead:
            break_lock(self.objects, held)
        return not held.is_dead

    def _note(self) -> bytes:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return json.dumps({"number": self._number, "since": now, "owner": Owner.of(os.getpid()).to_json()}).encode()

    @staticmethod
    def _alone_key(name: str) -> str:
        return f"{layout.RUN_LOCKS}/{name}/{_ALONE}"

    def _shared_key(self, name: str) -> str:
        return f"{layout.RUN_LOCKS}/{name}/{self._number}.json"


def left_in(objects: Objects, city: str) -> list[Held]:
    """The locks of runs on the city and its stacks that stand."""
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
        return Held(key, str(found["number"]), str(found["since"]), Owner(**found["owner"]))
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return Held(key, "", "?", None)


def break_lock(objects: Objects, dead: Held) -> None:
    """Remove a lock that was looked at, and no other that has taken its place meanwhile.

    Two that find it dead create one object, so that only one of them removes it; and that one looks again first.
    """
    turn_key = f"{dead.key.rpartition('/')[0]}/{dead.number}.broken"
    if not objects.create(turn_key, b"{}"):
        return
    held = _held(objects, dead.key)
    if held is not None and held.number == dead.number:
        objects.delete(dead.key)
    objects.delete(turn_key)
