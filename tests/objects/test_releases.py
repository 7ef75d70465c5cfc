"""The records of releases in each kind of place: found, replaced by one of two, moved with the city, forgotten."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.engine.drive import make_city
from tests.objects.conftest import Place
from wecityctl.engine.state import layout, releases
from wecityctl.engine.state.backend import Backend, open_backend
from wecityctl.engine.state.move import planned
from wecityctl.engine.state.releases import ReleasesChangedError
from wecityctl.errors import ConfigurationError
from wecityctl.model.releases import AppReleases, Held

HELD = Held("sha256:1", "registry.example/web:1", "aborted", "not ready", "2026-01-02T03:04:05+00:00")
NEW = AppReleases("health", "code", "web")


def opened(url: str, monkeypatch: pytest.MonkeyPatch) -> Backend:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "test")
    return open_backend(make_city("two", backend=url))


def test_one_of_two_runs_changes_a_record(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = opened(place.url, monkeypatch)
    assert (releases.read_all(backend), releases.read(backend, "health", "code")) == ({}, None)
    first = releases.write(backend, NEW)
    assert first.generation == 1
    with pytest.raises(ReleasesChangedError):
        releases.write(backend, NEW)
    second = releases.write(backend, replace(first, held=HELD))
    with pytest.raises(ReleasesChangedError):
        releases.write(backend, first)
    assert releases.read_all(backend) == {("health", "code"): second}
    # Those of one tenant are one object, and an app's record is written whatever becomes of another's.
    (other,) = releases.write_all(backend, (first, AppReleases("health", "other", "")))
    assert (other.app, other.generation) == ("other", 1)
    assert releases.read_all(backend) == {("health", "code"): second, ("health", "other"): other}
    assert backend.states is not None
    backend.states.create("two.base.main")
    assert layout.releases("two", "health") in planned(backend, f"file://{tmp_path}/new").keys
    releases.forget(backend, [("health", "code")])
    assert releases.read_all(backend) == {("health", "other"): other}
    releases.forget(backend, [("health", "code"), ("health", "other")])
    releases.forget(backend, [("health", "other")])
    assert backend.states.get(layout.releases("two", "health")) is None
    assert releases.read_all(backend) == {}


def test_what_cannot_be_read_is_said_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = opened(f"file://{tmp_path}", monkeypatch)
    path = tmp_path / layout.releases("two", "health")
    path.parent.mkdir(parents=True)
    path.write_text('{"format": 9}')
    with pytest.raises(ConfigurationError) as caught:
        releases.read_all(backend)
    assert str(path) in caught.value.details
