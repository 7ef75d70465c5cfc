"""Moving a city's states: whole, readable at the new place, refused at the old one, wherever it is cut off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.engine.drive import files_of, go, make_city
from wecityctl.engine.run.edit_secrets import set_secret
from wecityctl.engine.state import layout
from wecityctl.engine.state import move as state_move
from wecityctl.engine.state.backend import Backend, open_backend
from wecityctl.engine.state.engine_lock import LockedError, take
from wecityctl.engine.state.move import move, planned, undo
from wecityctl.engine.state.store_file import FileStore
from wecityctl.errors import ConfigurationError, DeploymentError
from wecityctl.model.city import State
from wecityctl.objects import Objects, open_objects

STACKS = ("two.base.main", "two.secrets")


def filled(backend: Backend) -> FileStore:
    """Two stacks with an update in their history, and another city's."""
    files = files_of(backend)
    assert files is not None
    for stack in (*STACKS, "twofold.base.main"):
        files.create(stack)
        files.add_history(stack, {"kind": "update", "result": "succeeded"})
    return files


@pytest.fixture
def backend(home: Path, monkeypatch: pytest.MonkeyPatch) -> Backend:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "correct horse battery staple")
    return open_backend(make_city("two"))


def at(url: str, *, moving: bool = False) -> Backend:
    return open_backend(make_city("two", backend=url), moving=moving)


def test_what_is_moved_is_there_and_the_old_place_refuses(backend: Backend, tmp_path: Path) -> None:
    old, url = filled(backend), f"file://{tmp_path}/new"
    states = {stack: old.stored(stack) for stack in STACKS}
    assert planned(backend, url).stacks == STACKS
    assert not (tmp_path / "new").exists()
    done = move(backend, url)
    assert (done.stacks, len(done.keys)) == (STACKS, 6)
    new = files_of(at(url))
    assert new is not None
    assert {stack: new.stored(stack) for stack in new.names()} == states
    assert [len(new.history(stack)) for stack in STACKS] == [1, 1]
    with pytest.raises(ConfigurationError) as caught:
        open_backend(make_city("two"))
    assert caught.value.message == f"the states of two were moved to {url}"
    # Plain `pulumi` sees no state that is out of date there, and nothing is lost.
    assert old.names() == ["twofold.base.main"]
    assert len([path for path in (old.root / ".wecity" / "moved" / "two").rglob("*") if path.is_file()]) == 6
    assert not list((new.root / layout.LOCKS / STACKS[0]).glob("*"))
    # And back again.
    move(at(url), backend.url)
    assert open_backend(make_city("two")).list_stacks() == STACKS
    with pytest.raises(ConfigurationError, match="were moved to"):
        at(url)


class CutOffError(BaseException):
    """The process ends here: what is done on the way out is not done either."""


class Counting:
    """A place that ends the process at its `at`th change."""

    def __init__(self, place: Objects, left: list[int]) -> None:
        self._place, self._left, self.url = place, left, place.url

    def __getattr__(self, name: str) -> Any:
        return getattr(self._place, name)

    def put(self, key: str, data: bytes) -> None:
        self._count()
        self._place.put(key, data)

    def delete(self, key: str) -> None:
        self._count()
        self._place.delete(key)

    def _count(self) -> None:
        self._left[0] -= 1
        if self._left[0] < 0:
            raise CutOffError

    def create(self, key: str, data: bytes) -> bool:
        self._count()
        return self._place.create(key, data)


@pytest.mark.slow
def test_cut_off_at_any_change_the_same_command_goes_on(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = filled(backend)
    states = {stack: old.stored(stack) for stack in STACKS}
    place = f"file://{tmp_path}/new"
    for cut in range(100):
        left = [cut]

        def counted(url: str, left: list[int] = left) -> Objects:
            return Counting(open_objects(url), left)  # type: ignore[return-value]

        with monkeypatch.context() as patch:
            patch.setattr(state_move, "open_objects", counted)
            try:
                move(open_backend(make_city("two"), moving=True), place)
            except CutOffError:
                pass
            else:
                break
        # In no moment may both places take the city for theirs.
        usable = 0
        for url in ("", place):
            try:
                usable += bool(at(url).list_stacks())
            except ConfigurationError as error:
                assert "moved" in error.message
        assert usable <= 1
        move(open_backend(make_city("two"), moving=True), place) if old.names() != ["twofold.base.main"] else None
        new = files_of(at(place))
        assert new is not None
        assert {stack: new.stored(stack) for stack in new.names()} == states
        # Back again, for the next moment.
        move(at(place), backend.url)
        assert {stack: old.stored(stack) for stack in STACKS} == states
    assert cut > 20


def test_what_cannot_be_moved_is_left_as_it_is(backend: Backend, tmp_path: Path) -> None:
    url = f"file://{tmp_path}/new"
    with pytest.raises(ConfigurationError, match="there are no states of two"):
        move(backend, url)
    old = filled(backend)
    missing = backend.url.replace("/state/", "/missing/../state/")
    (tmp_path / "link").symlink_to(tmp_path)
    linked = backend.url.replace(f"{tmp_path}", f"{tmp_path}/link")
    inside = f"{backend.url}/.wecity/moved/two"
    for same in (backend.url, f"{backend.url}/", missing, linked, inside, f"file://{tmp_path}"):
        with pytest.raises(ConfigurationError, match="the directory that the states are in"):
            move(backend, same)
    with pytest.raises(ConfigurationError, match="no scheme that is supported"):
        move(backend, "gs://bucket")
    other = FileStore(tmp_path / "taken")
    other.create(STACKS[0])
    with pytest.raises(ConfigurationError, match="has states of two already"):
        move(backend, other.public_url)
    lock = take(old, STACKS[0])
    with pytest.raises(LockedError):
        move(backend, url)
    old.delete(lock)
    path = old.path(STACKS[1])
    assert path is not None
    path.write_text("{")
    with pytest.raises(DeploymentError, match="cannot be read"):
        move(backend, url)
    assert backend.list_stacks() == STACKS
    assert open_backend(make_city("two")).list_stacks() == STACKS


def test_what_lies_beside_a_state_goes_along_and_nothing_else(backend: Backend, tmp_path: Path) -> None:
    old = filled(backend)
    stacks = old.root / ".pulumi" / "stacks" / "wecity"
    for name in ("two.secrets.pulumi-tags", "two.secrets.json.bak", "two.base.main.json~", "two.notes.txt"):
        (stacks / name).write_text("{}")
    done = move(backend, f"file://{tmp_path}/new")
    assert done.stacks == STACKS
    found = {path.name for path in (tmp_path / "new/.pulumi/stacks/wecity").iterdir()}
    assert found == {"two.base.main.json", "two.secrets.json", "two.secrets.pulumi-tags", "two.secrets.json.bak"}


def cut_off(backend: Backend, url: str, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """A move that ends as if killed at its `at`th change: nothing tidies up after it."""
    left = [at]
    with monkeypatch.context() as patch:
        patch.setattr(state_move, "open_objects", lambda place: Counting(open_objects(place), left))
        with pytest.raises(CutOffError):
            move(backend, url)


def test_what_a_cut_off_move_has_brought_is_taken_back(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(backend)
    new, target = tmp_path / "new", f"file://{tmp_path}/new"
    before = snapshot(files_of(backend).root)
    with pytest.raises(ConfigurationError, match="was cut off"):
        undo(backend, target)
    cut_off(backend, target, monkeypatch, 5)
    assert undo(backend, target) > 0
    assert [path for path in new.rglob("*.json*") if path.is_file()] == []
    assert snapshot(files_of(backend).root) == before
    # One that has gone too far is gone on with, and one place by two names has nothing to be taken back.
    cut_off(backend, target, monkeypatch, 1)
    (tmp_path / "same").symlink_to(files_of(backend).root)
    with pytest.raises(ConfigurationError):
        undo(backend, f"file://{tmp_path}/same")
    move(backend, target)
    with pytest.raises(ConfigurationError):
        undo(at(target, moving=True), files_of(backend).public_url)
    with pytest.raises(ConfigurationError):
        undo(at(files_of(backend).public_url, moving=True), target)
    assert at(target).list_stacks()


def snapshot(root: Path) -> dict[str, bytes]:
    """The states below a directory."""
    return {str(path): path.read_bytes() for path in sorted((root / ".pulumi" / "stacks").rglob("*.json*"))}


def test_a_place_that_has_not_all_is_no_place_to_move_from(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(backend)
    new, third = f"file://{tmp_path}/new", f"file://{tmp_path}/third"
    cut_off(backend, new, monkeypatch, 4)
    with pytest.raises(ConfigurationError, match="have not all arrived"):
        move(at(new, moving=True), third)
    assert not (tmp_path / "third").exists()


def test_a_move_gone_on_with_leaves_out_what_is_gone_by_now(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = filled(backend), f"file://{tmp_path}/new"
    cut_off(backend, new, monkeypatch, 7)
    assert FileStore(tmp_path / "new").names() != []
    old.remove(STACKS[0])
    assert move(backend, new).stacks == STACKS[1:]
    there = files_of(at(new))
    assert there is not None
    assert there.names() == [*STACKS[1:]]
    assert there.history(STACKS[0]) == []


def test_what_was_moved_is_not_cleared_where_it_has_not_arrived(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = filled(backend), tmp_path / "new"
    changes = next(count for count in range(8, 40) if _left_after(backend, new, monkeypatch, count))
    assert changes
    (new / ".pulumi").rename(tmp_path / "not mounted")
    with pytest.raises(ConfigurationError, match="which has none now"):
        move(open_backend(make_city("two"), moving=True), f"file://{new}")
    (tmp_path / "not mounted").rename(new / ".pulumi")
    assert move(open_backend(make_city("two"), moving=True), f"file://{new}").is_copied
    assert old.names() == ["twofold.base.main"]
    # Once more is no mistake.
    assert move(open_backend(make_city("two"), moving=True), f"file://{new}").keys == ()


def _left_after(backend: Backend, new: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> bool:
    """Whether a move cut off after `count` changes has left the old place, which still has states."""
    cut_off(open_backend(make_city("two"), moving=True), f"file://{new}", monkeypatch, count)
    try:
        open_backend(make_city("two"))
    except ConfigurationError:
        return True
    return False


def test_who_opened_the_place_before_it_was_left_is_refused(backend: Backend, tmp_path: Path) -> None:
    old = filled(backend)
    opened = open_backend(make_city("two"))
    move(backend, f"file://{tmp_path}/new")
    with pytest.raises(ConfigurationError, match="were moved to"):
        set_secret(opened, "tenant/health/app/key", "value")
    with pytest.raises(ConfigurationError, match="were moved to"):
        go(make_city("two"), "up", backend=opened)
    assert old.names() == ["twofold.base.main"]


def test_a_second_source_is_refused(backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(backend)
    other, target = FileStore(tmp_path / "other"), f"file://{tmp_path}/new"
    other.create(STACKS[0])
    cut_off(backend, target, monkeypatch, 1)
    with pytest.raises(ConfigurationError, match="has states of two already"):
        move(at(other.public_url), target)
    assert move(backend, target).stacks == STACKS


@pytest.mark.engine
def test_a_city_goes_on_at_the_new_place(home: Path, tmp_path: Path) -> None:
    city = make_city("two", ("health",))
    assert go(city, "up").exit_code == 0
    backend = open_backend(city)
    passphrase = backend.passphrase
    assert passphrase is not None
    url = f"file://{tmp_path}/new"
    move(backend, url)
    there = replace(city, state=State(url))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PULUMI_CONFIG_PASSPHRASE", passphrase.value)
        shown = go(there, "preview")
        assert shown.exit_code == 0
        assert not shown.has_changes
        assert go(there, "up").exit_code == 0
        history = open_backend(there).history("two.tenant.health.main")
        assert len(history) == 2
