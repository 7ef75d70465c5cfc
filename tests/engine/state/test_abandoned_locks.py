"""Whose lock may be broken, and by whom."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.engine.drive import files_of, make_city
from wecityctl.engine.process.identity import Owner
from wecityctl.engine.state import layout
from wecityctl.engine.state.abandoned_locks import break_dead, unlock
from wecityctl.engine.state.backend import Backend, open_backend
from wecityctl.engine.state.engine_lock import LockedError
from wecityctl.engine.state.store_file import FileStore
from wecityctl.paths import write_private

STACK = "one.base.main"


@pytest.fixture
def backend(home: Path) -> Backend:
    return open_backend(make_city("one"))


def store(backend: Backend) -> FileStore:
    return files_of(backend)


def lock(backend: Backend, owner: Owner, *, noted: bool = True) -> Path:
    """A lock as the engine writes it, and our note beside it."""
    path = (store(backend).root / layout.LOCKS / STACK) / "4f1c.json"
    content = {"pid": owner.pid, "username": owner.user, "hostname": owner.host, "timestamp": "2026-11-21T10:00:00Z"}
    write_private(path, json.dumps(content).encode())
    if noted:
        write_private((store(backend).root / layout.lock_note(STACK)), json.dumps(owner.to_json()).encode())
    return path


def dead_process() -> Owner:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    owner = Owner.of(process.pid)
    process.kill()
    process.wait()
    return owner


def test_a_dead_run_s_lock_is_broken(backend: Backend) -> None:
    path = lock(backend, dead_process())
    assert [found.stack for found in break_dead(backend, STACK)] == [STACK]
    assert not path.exists()


def test_a_living_run_s_lock_is_named(backend: Backend) -> None:
    path = lock(backend, Owner.of(os.getpid()))
    with pytest.raises(LockedError) as caught:
        break_dead(backend, STACK)
    assert f"process {os.getpid()}" in caught.value.details
    assert f"wecityctl unlock PATH {STACK}" in caught.value.resolution
    assert path.exists()
    with pytest.raises(LockedError):
        unlock(backend, STACK)


def test_a_process_number_used_again_does_not_pass_for_the_owner(backend: Backend) -> None:
    me = Owner.of(os.getpid())
    lock(backend, replace(me, started=me.started - 1000))
    assert len(break_dead(backend, STACK)) == 1


def test_after_a_reboot_the_owner_is_dead(backend: Backend) -> None:
    lock(backend, replace(Owner.of(os.getpid()), boot="an earlier one"))
    assert len(break_dead(backend, STACK)) == 1


@pytest.mark.parametrize("change", [{"machine": "another"}, {"namespace": 1}], ids=["machine", "container"])
def test_a_lock_from_elsewhere_is_never_broken_by_itself(backend: Backend, change: dict[str, object]) -> None:
    path = lock(backend, replace(dead_process(), **change))  # type: ignore[arg-type]
    with pytest.raises(LockedError):
        break_dead(backend, STACK)
    assert path.exists()
    # The user may say so.
    assert len(unlock(backend, STACK)) == 1
    assert not path.exists()


def test_a_lock_that_is_not_ours_is_never_broken_by_itself(backend: Backend) -> None:
    lock(backend, dead_process(), noted=False)
    with pytest.raises(LockedError):
        break_dead(backend, STACK)


def test_a_lock_cut_off_while_it_was_written(backend: Backend) -> None:
    lock(backend, dead_process()).write_text('{"pid": 1')
    assert len(break_dead(backend, STACK)) == 1
