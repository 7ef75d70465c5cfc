"""A city whose states are in S3 or PostgreSQL: runs, history, locks, a wrong passphrase, and all of it taken down."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.engine.conftest import use_home
from tests.engine.drive import go, make_city
from tests.objects.conftest import SERVERS, Place
from wecityctl.engine.context.secret_store import SecretStore
from wecityctl.engine.state.abandoned_locks import unlock
from wecityctl.engine.state.backend import open_backend
from wecityctl.engine.state.engine_lock import LockedError
from wecityctl.engine.state.layout import LOCKS
from wecityctl.engine.state.store_objects import ObjectStore
from wecityctl.errors import AuthenticationError, ExitCode
from wecityctl.objects import open_objects

pytestmark = [pytest.mark.engine, pytest.mark.parametrize("place", SERVERS, indirect=True)]
PASSPHRASE = "PULUMI_CONFIG_PASSPHRASE"
ENTRY = "two.entry"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_home(tmp_path, monkeypatch)
    monkeypatch.setenv(PASSPHRASE, "correct horse battery staple")


def test_a_city_lives_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    city = make_city("two", ("health",), backend=place.url)
    assert go(city, "preview").has_changes
    assert open_backend(city).list_stacks() == ()
    done = go(city, "up")
    assert done.exit_code == 0, done
    backend = open_backend(city)
    assert isinstance(backend.store, ObjectStore)
    assert len(backend.list_stacks()) == 5
    kept = SecretStore(backend).read()
    assert "binding/health/app/db" in kept
    assert kept["binding/health/app/db"].encode() not in backend.store.stored("two.secrets")
    again = go(city, "up")
    assert {item.outcome for item in again.results} == {"unchanged"}
    assert SecretStore(backend).read() == kept
    assert [entry["kind"] for entry in backend.history(ENTRY)] == ["update", "update"]
    assert len(list(backend.store.earlier(ENTRY))) >= 2
    backend.store.prune(ENTRY, 1)
    assert len(backend.history(ENTRY)) == 1
    broken = make_city("two", ("health",), backend=place.url, fails="health")
    assert go(broken, "up", program="failing").exit_code == ExitCode.DEPLOYMENT
    with monkeypatch.context() as patch:
        patch.setenv(PASSPHRASE, "wrong")
        with pytest.raises(AuthenticationError):
            go(city, "up")
    assert go(city, "destroy", delete_data=True).exit_code == 0
    assert open_backend(city).list_stacks() == ()
    left = open_objects(place.url)
    assert [entry.key for entry in left.list(".pulumi")] == [".pulumi/meta.yaml"]
    left.close()


def test_locks_are_told_and_released_only_for_the_dead(place: Place) -> None:
    city = make_city("two", ("health",), backend=place.url)
    backend = open_backend(city)
    store = backend.store
    assert isinstance(store, ObjectStore)
    store.create(ENTRY)
    place_ = open_objects(place.url)
    host = os.uname().nodename
    key = f"{LOCKS}/{ENTRY}/1c1b.json"
    place_.put(key, f'{{"pid": {os.getpid()}, "username": "somebody", "hostname": "{host}"}}'.encode())
    with pytest.raises(LockedError, match="is alive"):
        unlock(backend, ENTRY)
    with pytest.raises(LockedError) as caught:
        store.write(ENTRY, {"resources": []})
    assert f"process {os.getpid()} of somebody on {host}" in caught.value.details
    place_.put(key, b'{"pid": 1, "username": "somebody", "hostname": "elsewhere"}')
    assert len(unlock(backend, ENTRY)) == 1
    assert unlock(backend, ENTRY) == []
    store.write(ENTRY, {"resources": []})
    place_.close()
