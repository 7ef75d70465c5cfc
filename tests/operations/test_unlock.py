"""Locks are found and removed from Python; what was taken since is left."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.engine.state.test_abandoned_locks import dead_process
from wecityctl.engine.process.identity import Owner
from wecityctl.engine.state import layout
from wecityctl.engine.state.engine_lock import LockedError, lock_content
from wecityctl.operations.unlock import Unlocked, find_locks, unlock
from wecityctl.paths import write_private
from wecityctl.session import Session

STACK = "one.base.main"


@pytest.fixture
def states(brought_up: Session, tmp_path: Path) -> Path:
    return tmp_path / "state of the city"


def lock(states: Path, owner: Owner, name: str) -> Path:
    path = states / layout.LOCKS / STACK / f"{name}.json"
    write_private(path, json.dumps(lock_content(owner)).encode())
    write_private(states / layout.lock_note(STACK), json.dumps(owner.to_json()).encode())
    return path


def test_only_locks_that_were_shown_are_removed(brought_up: Session, states: Path) -> None:
    dead = dead_process()
    shown = lock(states, dead, "shown")
    found = find_locks(brought_up, "base")
    assert len(found.lines) == 1
    assert f"process {dead.pid}" in found.lines[0]
    later = lock(states, dead, "later")
    assert unlock(found) == Unlocked(found.lines, ())
    assert (shown.exists(), later.exists()) == (False, True)


def test_the_lock_of_a_living_run_stays(brought_up: Session, states: Path) -> None:
    held = lock(states, Owner.of(os.getpid()), "held")
    with pytest.raises(LockedError, match="is alive"):
        unlock(find_locks(brought_up, "base"))
    assert held.exists()


def test_without_locks_nothing_is_said(brought_up: Session) -> None:
    assert find_locks(brought_up).lines == ()
    assert unlock(find_locks(brought_up)) == Unlocked((), ())
