"""Moving a city's states: whole, readable at the new place, refused at the old one, wherever it is cut off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.engine.drive import go, make_city
from wecityctl.engine import state_move
from wecityctl.engine.backend import Backend, open_backend
from wecityctl.engine.lock import LockedError
from wecityctl.engine.locks import take
from wecityctl.engine.state_move import move, planned
from wecityctl.engine.store_file import FileStore
from wecityctl.errors import ConfigurationError, DeploymentError
from wecityctl.model.city import State
from wecityctl.objects import Objects, open_objects

STACKS = ("two.base.main", "two.secrets")


def filled(backend: Backend) -> FileStore:
    """Two stacks with an update in their history, and another city's."""
    files = backend.files
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
    new = at(url).files
    assert new is not None
    assert {stack: new.stored(stack) for stack in new.names()} == states
    assert [len(new.history(stack)) for stack in STACKS] == [1, 1]
    with pytest.raises(ConfigurationError) as caught:
        open_backend(make_city("two"))
    assert caught.value.message == f"the states of two were moved to {url}"
    # Plain `pulumi` sees no state that is out of date there, and nothing is lost.
    assert old.names() == ["twofold.base.main"]
    assert len([path for path in (old.root / ".wecity" / "moved" / "two").rglob("*") if path.is_file()]) == 6
    assert not list(new.lock_directory(STACKS[0]).glob("*"))
    # And back again.
    move(at(url), backend.url)
    assert open_backend(make_city("two")).list_stacks() == STACKS
    with pytest.raises(ConfigurationError, match="were moved to"):
        at(url)


class CutOffError(Exception):
    """The process ends here."""


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
        new = at(place).files
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
    with pytest.raises(ConfigurationError, match="already"):
        move(backend, backend.url)
    with pytest.raises(ConfigurationError, match="gs:// is not a supported place"):
        move(backend, "gs://bucket")
    other = FileStore(tmp_path / "taken")
    other.create(STACKS[0])
    with pytest.raises(ConfigurationError, match="has states of two already"):
        move(backend, other.public_url)
    lock = take(old, STACKS[0])
    with pytest.raises(LockedError):
        move(backend, url)
    lock.unlink()
    path = old.path(STACKS[1])
    assert path is not None
    path.write_text("{")
    with pytest.raises(DeploymentError, match="cannot be read"):
        move(backend, url)
    assert backend.list_stacks() == STACKS
    assert open_backend(make_city("two")).list_stacks() == STACKS


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
