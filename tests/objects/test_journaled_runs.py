"""Runs that journal in every place: cut off at each change, brought to an end by another, and kept apart by locks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import use_home
from tests.engine.drive import go, make_city
from tests.engine.state.test_abandoned_locks import dead_process
from tests.engine.state_service.test_service import Crash, begun, made
from tests.objects.conftest import SERVERS, Place
from wecityctl.engine.state import layout
from wecityctl.engine.state.abandoned_locks import break_run_lock, is_left_behind, run_locks_on
from wecityctl.engine.state.backend import open_backend
from wecityctl.engine.state.engine_lock import LockedError, locks_on
from wecityctl.engine.state.run_locks import ContendedError, RunLocks, part_of_city, whole_city
from wecityctl.engine.state.store_objects import ObjectStore
from wecityctl.engine.state.stored_locks import StoredLocks, break_lock, left_in
from wecityctl.engine.state_service.updates import About, Running
from wecityctl.errors import DeploymentError
from wecityctl.model.city import City
from wecityctl.objects import Objects, open_objects

pytestmark = pytest.mark.engine
STACK = "one.base.main"
ROOT = f"wecity-{STACK}"
PASSPHRASE = "PULUMI_CONFIG_PASSPHRASE"


class Cut:
    """A place whose machine goes off at the change with a number, before it or after it."""

    def __init__(self, objects: Objects, number: int, *, after: bool) -> None:
        self._objects, self._number, self._after = objects, number, after
        self.url = objects.url
        self.get, self.list, self.close = objects.get, objects.list, objects.close
        self.replaces_safely, self.exists = objects.replaces_safely, objects.exists

    def _change(self, act: Callable[[], Any]) -> Any:
        self._number -= 1
        if self._number < 0 or (self._number == 0 and not self._after):
            raise Crash
        found = act()
        if self._number == 0:
            raise Crash
        return found

    def put(self, key: str, data: bytes) -> None:
        self._change(lambda: self._objects.put(key, data))

    def create(self, key: str, data: bytes) -> bool:
        return bool(self._change(lambda: self._objects.create(key, data)))

    def replace(self, key: str, data: bytes, before: bytes) -> bool:
        return bool(self._change(lambda: self._objects.replace(key, data, before)))

    def delete(self, key: str) -> None:
        self._change(lambda: self._objects.delete(key))


@pytest.fixture
def states(objects: Objects) -> ObjectStore:
    """The empty stack in its place."""
    store = ObjectStore(objects)
    store.create(STACK)
    return store


def urns(states: ObjectStore) -> list[str]:
    deployment, _ = states.read(STACK)
    return [item["urn"].rpartition("::")[2] for item in (deployment or {}).get("resources") or ()]


def all_dead(states: ObjectStore) -> None:
    """Have whoever holds the stack be a process that is gone."""
    for lock in locks_on(states, STACK):
        states.put(layout.lock_note(STACK), json.dumps({**dead_process().to_json(), "pid": lock.pid}).encode())


def brought_to_an_end(states: ObjectStore) -> None:
    """What the next run of this machine does first."""
    for lock in locks_on(states, STACK):
        assert lock.is_dead
    states.settle(STACK)
    for lock in locks_on(states, STACK):
        states.delete(lock.key)


def test_a_run_cut_off_at_any_change_is_replayed(states: ObjectStore) -> None:
    whole = [[made("root")], [made("one", operation=2)], [begun("two")]]
    empty, moments = states.find(STACK), 0
    for number in range(1, 60):
        for after in (False, True):
            written, acknowledged, crashed = 0, 0, False
            store = ObjectStore(Cut(states.objects, number, after=after))
            try:
                run = Running(store, STACK, About("update"))
                for batch in whole:
                    written += 1
                    run.append(batch)
                    acknowledged += 1
                assert run.complete(succeeded=True) == ""
            except Crash:
                crashed = True
            all_dead(states)
            noted = len(states.history(STACK))
            # Whoever looks before the next run sees the same as after it.
            seen = urns(states)
            brought_to_an_end(states)
            found = [ROOT, "one"]
            assert urns(states) == seen
            assert seen in ([found[:acknowledged], found[:written]] if acknowledged < 3 else [found])
            assert not is_left_behind(states, STACK)
            # Each run is there once, however it was cut off; one that had not begun a journal is not.
            history = states.history(STACK)
            assert len(history) == 1 or not written or (noted, history) == (0, [])
            if acknowledged:
                assert len(history) == 1 and history[0]["kind"] == "update"
            states.clear(f"{layout.HISTORY}/{STACK}")
            states.put(*empty)
            moments += crashed
            if not crashed:
                assert moments > 20
                return
    pytest.fail("it never came to its end")


def test_whoever_is_brought_to_an_end_by_another_adds_nothing_more(states: ObjectStore) -> None:
    run = Running(states, STACK, About("update"))
    run.append([made("root")])
    elsewhere = ObjectStore(states.objects)
    # As `unlock` does, where somebody says that this run is dead.
    elsewhere.settle(STACK)
    for lock in locks_on(elsewhere, STACK):
        elsewhere.delete(lock.key)
    another = Running(elsewhere, STACK, About("update"))
    another.append([made("one", operation=2)])
    with pytest.raises(DeploymentError, match="somebody else has brought the journal"):
        run.append([made("two")])
    with pytest.raises(DeploymentError, match="could not be kept"):
        run.append([made("three")])
    with pytest.raises(LockedError, match="taken away"):
        run.complete(succeeded=True)
    assert another.complete(succeeded=True) == ""
    assert sorted(urns(states)) == ["one", ROOT]
    assert not is_left_behind(states, STACK)
    # Also the one that others have ended is in the history.
    found = [(entry["kind"], entry["result"]) for entry in states.history(STACK)]
    assert found == [("update", "succeeded"), ("update", "failed")]


def test_a_journal_that_lacks_a_line_or_fits_another_state_is_told(states: ObjectStore) -> None:
    run = Running(states, STACK, About("update"))
    for batch in ([made("root")], [made("one", operation=2)], [made("two", operation=3)]):
        run.append(batch)
    keys = states.keys(layout.journal(STACK))
    assert len(keys) == 4
    third = states.get(keys[2])
    assert third is not None
    states.delete(keys[2])
    with pytest.raises(DeploymentError, match="lacks a line"):
        states.read(STACK)
    states.put(keys[2], third.replace(b"one", b"two"))
    with pytest.raises(DeploymentError, match="damaged"):
        states.settle(STACK)
    states.put(keys[2], third)
    with pytest.raises(DeploymentError, match="another run's journal"):
        states.lines(STACK).begin("{}")
    key, stored = states.find(STACK)
    states.put(key, stored + b" ")
    with pytest.raises(DeploymentError, match="was changed while"):
        states.settle(STACK)
    states.put(key, stored)
    assert run.complete(succeeded=True) == ""
    assert urns(states) == [ROOT, "one", "two"]


@pytest.fixture
def locks(objects: Objects) -> Callable[[], RunLocks]:
    """New locks of a run, of any number of runs."""
    return lambda: RunLocks(StoredLocks(objects), "two")


def test_a_name_is_held_alone_or_shared(locks: Callable[[], RunLocks], objects: Objects) -> None:
    one, two, three = locks(), locks(), locks()
    one.wait({"two": False, "two.base": False, "two.shop": True})
    two.wait({"two": False, "two.base": False})
    with pytest.raises(LockedError, match=r"another run is changing two\.shop") as refused:
        three.wait({"two": False, "two.shop": False})
    assert f"process {os.getpid()}" in refused.value.details
    with pytest.raises(LockedError, match="another run is changing two") as refused:
        three.wait({"two": True})
    assert f"process {os.getpid()}" in refused.value.details
    with pytest.raises(ContendedError):
        one.claim(["two.base"])
    two.close()
    one.claim(["two.base"])
    with pytest.raises(LockedError):
        two.wait({"two": False, "two.base": False})
    one.close()
    three.wait({"two": True})
    three.claim(["two.base"])
    with pytest.raises(LockedError, match="is changing two"):
        one.wait({"two": False})
    three.close()
    assert objects.list(".wecity") == []


def test_the_dead_of_this_machine_hold_nothing_and_others_are_named(
    locks: Callable[[], RunLocks], objects: Objects
) -> None:
    root = ".wecity/locks/runs/two"
    dead = {"number": "d1", "since": "?", "owner": dead_process().to_json()}
    for name in ("alone", "d2"):
        objects.put(f"{root}/{name}.json", json.dumps({**dead, "number": name}).encode())
    one = locks()
    one.wait({"two": True})
    one.close()
    assert objects.list(".wecity") == []
    away = {**dead["owner"], "machine": "another", "host": "harbour"}  # type: ignore[dict-item]
    for shared in ("alone", "d2"):
        key = f"{root}/{shared}.json"
        objects.put(key, json.dumps({**dead, "owner": away}).encode())
        with pytest.raises(LockedError) as refused:
            one.wait({"two": True})
        assert ("on harbour" in refused.value.details) == (shared == "alone")
        assert [entry.key for entry in objects.list(".wecity")] == [key]
        objects.delete(key)


def test_breaking_a_lock_can_be_interrupted_at_any_change(locks: Callable[[], RunLocks], objects: Objects) -> None:
    root = ".wecity/locks/runs/two"
    key, dead = f"{root}/alone.json", {"number": "d1", "since": "?", "owner": dead_process().to_json()}
    # What breaking it left in earlier versions if the connection was lost.
    objects.put(f"{root}/d1.broken", b"{}")

    def by_a_run(cut: Objects) -> None:
        mine = RunLocks(StoredLocks(cut), "two")
        mine.wait({"two": True})
        mine.close()

    def by_a_person(cut: Objects) -> None:
        (held,) = left_in(cut, "two")
        break_lock(cut, held)

    for breaks in (by_a_run, by_a_person):
        for number, after in [(1, False), (1, True), (2, False), (2, True)]:
            objects.put(key, json.dumps(dead).encode())
            with pytest.raises(Crash):
                breaks(Cut(objects, number, after=after))
            if (stored := objects.get(key)) is not None:
                # The interrupted process is dead as well.
                objects.put(key, json.dumps({**json.loads(stored), "owner": dead["owner"]}).encode())
            one = locks()
            one.wait({"two": False})
            one.close()
            one.wait({"two": True})
            one.close()
            assert left_in(objects, "two") == []


def test_of_many_that_break_a_dead_lock_at_most_one_has_it(locks: Callable[[], RunLocks], objects: Objects) -> None:
    from concurrent.futures import ThreadPoolExecutor

    note = {"number": "d1", "since": "?", "owner": dead_process().to_json()}
    objects.put(".wecity/locks/runs/two/alone.json", json.dumps(note).encode())
    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(lambda _: StoredLocks(objects).take("two", alone=True), range(4)))
    assert taken.count(True) == 1


def test_of_many_that_want_it_at_most_one_has_it_alone(locks: Callable[[], RunLocks]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    inside, most = [0], [0]

    def turn(_: int) -> None:
        mine = locks()
        mine.wait({"two": True}, patience=60.0)
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.01)
        inside[0] -= 1
        mine.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(turn, range(8)))
    assert most == [1]


@pytest.fixture
def city(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> City:
    """A city whose states are to be there."""
    use_home(tmp_path, monkeypatch)
    monkeypatch.setenv(PASSPHRASE, "correct horse battery staple")
    return make_city("two", ("health",), backend=place.url)


_RUN = """
import sys
from tests.engine.drive import go, make_city
print(go(make_city("two", ("health",), backend=sys.argv[1]), "up").exit_code)
"""


@pytest.fixture
def another(place: Place, city: City) -> Iterator[subprocess.Popen[str]]:
    """A run of the city in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", _RUN, place.url], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("place", SERVERS, indirect=True)
def test_a_run_that_is_killed_is_gone_on_with(city: City, another: subprocess.Popen[str], objects: Objects) -> None:
    until = time.monotonic() + 60
    while not any(entry.key.endswith("/000002") for entry in objects.list(".wecity/journals")):
        assert time.monotonic() < until and another.poll() is None
    with pytest.raises(LockedError, match="another run is changing two"):
        go(city, "up")
    another.send_signal(signal.SIGKILL)
    another.wait(20)
    done = go(city, "up")
    assert done.exit_code == 0, done
    assert {item.outcome for item in go(city, "up").results} == {"unchanged"}
    assert objects.list(".wecity/journals") == [] or all(
        not entry.key.endswith("/000000") for entry in objects.list(".wecity/journals")
    )
    backend = open_backend(city)
    assert run_locks_on(backend) == []
    for stack in backend.list_stacks():
        assert backend.states is not None
        assert locks_on(backend.states, stack) == []
        assert backend.states.read(stack)[0] is not None


@pytest.mark.parametrize("place", SERVERS, indirect=True)
def test_what_another_machine_has_left_is_released_by_a_person(city: City, objects: Objects) -> None:
    backend = open_backend(city)
    with part_of_city(backend, (), ("two.base.main",)):
        found = {held.key.split("/")[-2]: held for held in run_locks_on(backend)}
        assert sorted(found) == ["two", "two.base.main"]
        with pytest.raises(LockedError, match="is alive"):
            break_run_lock(backend, found["two"])
        key = ".wecity/locks/runs/two.base.main/alone.json"
        note = json.loads(objects.get(key) or b"")
        note["owner"]["machine"] = "another"
        objects.put(key, json.dumps(note).encode())
        (seen,) = (held for held in run_locks_on(backend) if held.key == key)
        # While a person was asked, another has taken it.
        objects.put(key, json.dumps({**note, "number": "later"}).encode())
        break_run_lock(backend, seen)
        assert objects.get(key) is not None
        (seen,) = (held for held in run_locks_on(backend) if held.key == key)
        break_run_lock(backend, seen)
        assert len(run_locks_on(backend)) == 1
    assert run_locks_on(backend) == []
    other = open_objects(backend.url)
    other.close()
    with whole_city(backend):
        assert len(run_locks_on(backend)) == 1
