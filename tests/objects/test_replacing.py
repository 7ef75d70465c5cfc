"""Objects and states that are replaced only if they are still what was read, on real servers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from tests.engine.conftest import use_home
from tests.engine.drive import go, make_city
from tests.engine.state.test_abandoned_locks import dead_process
from tests.engine.state_service.test_service import made
from tests.objects.conftest import QUICK, SERVERS, Place, place_of
from tests.objects.proxy import proxy
from tests.objects.unconditional_s3 import unconditional_s3
from wecityctl.engine.state import activity, layout
from wecityctl.engine.state.backend import open_backend
from wecityctl.engine.state.engine_lock import LockedError, locks_on
from wecityctl.engine.state.store import StateStore
from wecityctl.engine.state.store_file import FileStore
from wecityctl.engine.state.store_objects import ObjectStore
from wecityctl.engine.state_service.updates import About, Running
from wecityctl.errors import DeploymentError
from wecityctl.journal.stored import StoredLines
from wecityctl.objects import Entry, Limits, Objects, open_objects

pytestmark = pytest.mark.engine
KEY = ".pulumi/stacks/wecity/one.base.main.json"
STACK = "one.base.main"
ROOT = f"wecity-{STACK}"


def test_an_object_is_replaced_only_if_it_is_what_was_read(objects: Objects) -> None:
    assert objects.replaces_safely()
    assert not objects.replace(KEY, b"new", b"")
    assert objects.get(KEY) is None
    objects.put(KEY, b"one")
    assert objects.replace(KEY, b"two", b"one")
    assert not objects.replace(KEY, b"three", b"one")
    assert objects.get(KEY) == b"two"
    objects.put(KEY, b"")
    assert objects.replace(KEY, bytes(range(256)), b"")
    assert objects.replace(KEY, b"end", bytes(range(256)))
    objects.delete(KEY)
    assert not objects.replace(KEY, b"late", b"end")
    assert [entry.key for entry in objects.list()] == []


def test_of_many_that_replace_at_once_one_does(place: Place) -> None:
    opened = [open_objects(place.url) for _ in range(4)]
    opened[0].put(KEY, b"0")
    with ThreadPoolExecutor(4) as pool:
        for number in range(15):
            before, barrier = str(number).encode(), threading.Barrier(4)

            def write(mine: int, before: bytes = before, barrier: threading.Barrier = barrier) -> bool:
                barrier.wait()
                return opened[mine].replace(KEY, before + b"-%d" % mine, before)

            done = list(pool.map(write, range(4)))
            assert done.count(True) == 1, done
            assert opened[0].get(KEY) == before + b"-%d" % done.index(True)
            opened[0].put(KEY, str(number + 1).encode())
    for each in opened:
        each.close()


@pytest.mark.parametrize("place", SERVERS, indirect=True)
def test_a_replacement_whose_answer_is_lost_is_known_for_ones_own(place: Place) -> None:
    with proxy(place.port) as between:
        objects = open_objects(place.through(between.port), Limits(seconds=5.0, attempts=3, pause=0.02))
        objects.put("a", b"0")
        assert objects.replace("a", b"1", b"0") and not objects.replace("a", b"1", b"0")
        # With S3, the answers to the read and to the write; with PostgreSQL the write's alone.
        for number in range(1, 3):
            between.next("lose", number if place.kind == "s3" else 1)
            assert objects.replace("a", b"%d" % (number + 1), b"%d" % number)
            assert between.met
        between.next("lose", 10_000)
        with pytest.raises(DeploymentError) as refused:
            objects.replace("a", b"9", b"3")
        assert "it is not known whether the object was replaced" in refused.value.details
        between.next("", 0)
        objects.close()


@pytest.mark.parametrize("refuses", [False, True])
def test_a_server_without_conditions_is_found_out(refuses: bool) -> None:
    with unconditional_s3(refuses=refuses) as url:
        objects = open_objects(url, QUICK)
        assert not objects.replaces_safely()
        objects.put(KEY, b"one")
        assert objects.replace(KEY, b"two", b"one")
        assert not objects.replace(KEY, b"three", b"one")
        assert objects.get(KEY) == b"two"
        assert not ObjectStore(objects).swaps_safely()


class Hung(ObjectStore):
    """A store whose process hangs before it puts a state in its place, while something happens."""

    meanwhile: Callable[[], None]

    def swap(self, key: str, data: bytes, before: bytes) -> bool:
        self.meanwhile()
        return super().swap(key, data, before)


class HungFiles(FileStore):
    """The same in a directory."""

    meanwhile: Callable[[], None]

    def swap(self, key: str, data: bytes, before: bytes) -> bool:
        self.meanwhile()
        return super().swap(key, data, before)


@pytest.fixture(params=["files", "directory", "s3", "postgres"])
def stores(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Hung | HungFiles, StateStore]]:
    """The same place twice: as a process has it that hangs, and as any other."""
    if request.param == "files":
        yield HungFiles(tmp_path / "files"), FileStore(tmp_path / "files")
        return
    opened = open_objects(place_of(request.param, request, tmp_path, monkeypatch).url)
    yield Hung(opened), ObjectStore(opened)
    opened.close()


def test_a_run_that_hung_at_its_end_writes_over_no_later_one(stores: tuple[Hung | HungFiles, StateStore]) -> None:
    hung, states = stores
    states.create(STACK)
    run = Running(hung, STACK, About("update"))
    run.append([made("root")])
    run.append([made("one", operation=2)])

    def meanwhile() -> None:
        # As `unlock` does, where somebody says that the first run is dead.
        states.settle(STACK)
        for lock in locks_on(states, STACK):
            states.delete(lock.key)
        another = Running(states, STACK, About("update"))
        another.append([made("two", operation=3)])
        assert another.complete(succeeded=True) == ""

    hung.meanwhile = meanwhile
    with pytest.raises(LockedError, match="was changed by another run meanwhile"):
        run.complete(succeeded=True)
    deployment = states.read(STACK)[0] or {}
    assert {item["urn"].rpartition("::")[2] for item in deployment["resources"]} == {ROOT, "one", "two"}
    assert not states.has_journal(STACK)
    assert [entry["result"] for entry in states.history(STACK)] == ["succeeded", "failed"]


def test_a_run_that_hung_leaves_the_journal_of_a_later_one_alone(stores: tuple[Hung | HungFiles, StateStore]) -> None:
    hung, states = stores
    states.create(STACK)
    run = Running(hung, STACK, About("update"))
    run.append([made("root")])
    later: list[Running] = []

    def meanwhile() -> None:
        states.settle(STACK)
        for lock in locks_on(states, STACK):
            states.delete(lock.key)
        later.append(Running(states, STACK, About("update")))
        later[0].append([made("two", operation=2)])

    hung.meanwhile = meanwhile
    with pytest.raises(LockedError):
        run.complete(succeeded=True)
    later[0].append([made("three", operation=3)])
    assert later[0].complete(succeeded=True) == ""
    deployment = states.read(STACK)[0] or {}
    assert {item["urn"].rpartition("::")[2] for item in deployment["resources"]} == {ROOT, "two", "three"}


def test_an_edit_of_a_state_replaces_what_was_read_alone(stores: tuple[Hung | HungFiles, StateStore]) -> None:
    hung, states = stores
    states.create(STACK)
    hung.meanwhile = lambda: states.put(*_with_blank(states))
    with pytest.raises(LockedError, match="meanwhile"):
        hung.replace(STACK, {"resources": []})
    hung.meanwhile = lambda: None
    hung.put_back(STACK, states.find(STACK)[1].strip())
    assert not states.find(STACK)[1].endswith(b" ")


def _with_blank(states: StateStore) -> tuple[str, bytes]:
    key, stored = states.find(STACK)
    return key, stored + b" "


def test_whether_a_stack_exists_is_known_without_its_state(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    states = ObjectStore(objects)
    states.create(STACK)

    def read(key: str) -> bytes | None:
        raise AssertionError(key)

    monkeypatch.setattr(objects, "get", read)
    assert states.exists(STACK) and not states.exists("one.base.other")


class Ahead:
    """A place as a machine sees it whose clock is ahead of the place's by eight days."""

    def __init__(self, objects: Objects) -> None:
        self._objects, self.url = objects, objects.url
        self.get, self.put, self.create, self.delete = objects.get, objects.put, objects.create, objects.delete
        self.replace, self.replaces_safely, self.close = objects.replace, objects.replaces_safely, objects.close
        self.exists = objects.exists
        self.old: set[str] = set()

    def list(self, prefix: str = "") -> list[Entry]:
        def moved(entry: Entry) -> Entry:
            days = 16 if entry.key in self.old else 8
            return Entry(entry.key, entry.size, entry.modified - timedelta(days=days))

        return [moved(entry) for entry in self._objects.list(prefix)]


def test_a_wrong_clock_removes_no_fence_of_a_living_run(objects: Objects) -> None:
    place = Ahead(objects)
    first = StoredLines(place, "j")
    first.begin("{}")
    StoredLines(place, "j").clear()
    (fence,) = (entry.key for entry in objects.list("j"))
    second = StoredLines(place, "j")
    second.begin("{}")
    with pytest.raises(DeploymentError, match="somebody else has brought"):
        first.add("{}")
    second.remove()
    place.old.add(fence)
    StoredLines(place, "j").begin("{}")
    assert fence not in [entry.key for entry in objects.list("j")]


_READER = """
import sys
from wecityctl.objects import open_objects
objects = open_objects(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
try:
    objects.get("a")
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("place", SERVERS, indirect=True)
def test_an_interrupt_ends_a_call_that_waits_for_an_answer(place: Place) -> None:
    with proxy(place.port) as between:
        command = [sys.executable, "-c", _READER, place.through(between.port)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
            assert reader.stdin is not None and reader.stdout is not None
            assert reader.stdout.readline() == "open\n"
            between.next("delay", 10_000, seconds=12.0)
            reader.stdin.write("\n")
            reader.stdin.flush()
            until = time.monotonic() + 10
            while not between.met:
                assert time.monotonic() < until
                time.sleep(0.01)
            began = time.monotonic()
            reader.send_signal(signal.SIGINT)
            assert reader.stdout.readline() == "interrupted\n"
            assert reader.wait(10) == 0
            assert time.monotonic() - began < 5


def test_a_state_behind_a_symbolic_link_stays_there(tmp_path: Path) -> None:
    states = FileStore(tmp_path / "states")
    states.create(STACK)
    path = states.path(STACK)
    assert path is not None
    real = tmp_path / "elsewhere.json"
    path.rename(real)
    path.symlink_to(real)
    run = Running(states, STACK, About("update"))
    run.append([made("root")])
    assert run.complete(succeeded=True) == ""
    assert path.is_symlink() and ROOT.encode() in real.read_bytes()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["elsewhere.json", "states"]


def test_what_runs_note_at_once_is_all_kept(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_home(tmp_path, monkeypatch)
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "correct horse battery staple")
    backend = open_backend(make_city("two", ("health",), backend=place.url))

    def note(number: int) -> None:
        activity.note(backend, [activity.Activity(f"two.{number}", "destroy", "succeeded", number, 1.0)], 10)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(note, range(12)))
    assert [item.started for item in activity.read(backend)] == list(range(12))


@pytest.mark.parametrize("place", SERVERS, indirect=True)
def test_what_a_machine_that_died_has_left_does_not_keep_a_destroy_waiting(
    place: Place, objects: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_home(tmp_path, monkeypatch)
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "correct horse battery staple")
    city = make_city("two", ("health",), backend=place.url)
    assert go(city, "up").exit_code == 0
    away = {**dead_process().to_json(), "machine": "another", "host": "harbour"}
    note = json.dumps({"number": "d1", "since": "?", "owner": away}).encode()
    # The lock under which the history was written before.
    objects.put(f"{layout.RUN_LOCKS}/wecity-history-two.jsonl/alone.json", note)
    began = time.monotonic()
    done = go(city, "destroy")
    assert (done.exit_code, time.monotonic() - began < 45) == (0, True)
    assert any(item.operation == "destroy" for item in activity.read(open_backend(city)))
    # Nor does a history that cannot be written hide what was done.
    objects.put(layout.activity("two"), b"{}\n")
    monkeypatch.setattr(activity, "_ATTEMPTS", 0)
    assert go(city, "up").exit_code == 0
    done = go(city, "destroy")
    assert done.exit_code == 0
    assert any("history" in note for note in done.notes), done.notes
