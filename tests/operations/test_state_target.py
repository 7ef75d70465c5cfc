"""Copies of states in the target of backups, a real S3 server; restored on a machine that has nothing of the city."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.s3_server import S3Server, s3_server
from wecityctl.engine.context.secret_store import SecretStore
from wecityctl.engine.secrets.passphrase import VARIABLE
from wecityctl.engine.state import sealed_copies
from wecityctl.engine.state.backend import open_backend
from wecityctl.engine.state.sealed_copies import SealedCopy
from wecityctl.errors import AuthenticationError, ConfigurationError
from wecityctl.model.city import Backup, City, Keep
from wecityctl.operations.state import list_states
from wecityctl.operations.state_target import back_up_to_target, plan_restore_from_target
from wecityctl.session import Session

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("target"), "backups") as made:
        yield made


@pytest.fixture
def city(
    brought_up: Session, server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> City:
    """The city that is up, with a place of its own in the target, and the target's keys in the environment."""
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    endpoint = f"http://127.0.0.1:{server.port}"
    backup = Backup(f"s3://backups/{request.node.name}", "cn-hubei", endpoint, keep=Keep(2, 1, 1), credentials="keys")
    found = brought_up.city
    return replace(found, compliance=replace(found.compliance, backup=backup))


def elsewhere(city: City, directory: Path) -> City:
    """The same files on a machine without any state."""
    directory.mkdir()
    return replace(city, state=replace(city.state, backend=f"file://{directory}"))


def objects_of(server: S3Server, city: City) -> list[Path]:
    bucket = server.buckets / city.compliance.backup.bucket
    return sorted(item for item in bucket.rglob("*") if item.is_file())


def test_states_come_back_from_the_target_and_the_passphrase_alone(
    city: City, server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = open_backend(city)
    values = SecretStore(backend).read()
    done = back_up_to_target(city, backend)
    assert {item.stack for item in done.copies} == set(backend.list_stacks())
    (file,) = objects_of(server, city)
    # Nothing of it can be read there, not even what is no secret.
    assert b"one.base" not in file.read_bytes() and b"urn:pulumi" not in file.read_bytes()

    there = elsewhere(city, tmp_path / "other")
    other = open_backend(there)
    assert not other.list_stacks()
    copy, planned = plan_restore_from_target(there, other)
    assert copy == done.copy and all(item.now is None for item in planned)
    for item in planned:
        item.apply()
    assert other.list_stacks() == backend.list_stacks()
    assert {item.condition for item in list_states(other)} == {"sound"}
    assert SecretStore(other).read() == values and values

    monkeypatch.setenv(VARIABLE, "another passphrase")
    with pytest.raises(AuthenticationError, match="does not open the copy of the states"):
        plan_restore_from_target(there, open_backend(elsewhere(city, tmp_path / "third")))


def test_the_secret_store_alone_comes_back(city: City, tmp_path: Path) -> None:
    back_up_to_target(city, open_backend(city))
    there = elsewhere(city, tmp_path / "other")
    other = open_backend(there)
    (item,) = plan_restore_from_target(there, other, ("one.secrets",))[1]
    item.apply()
    assert other.list_stacks() == ("one.secrets",)


def test_the_target_shows_no_copy_as_another(city: City, server: S3Server) -> None:
    backend = open_backend(city)
    done = back_up_to_target(city, backend)
    (file,) = objects_of(server, city)
    content = file.read_bytes()
    younger = file.with_name(f"{datetime.now(UTC) + timedelta(hours=1):%Y%m%dT%H%M%S.%fZ}.sealed")
    younger.write_bytes(content)
    with pytest.raises(ConfigurationError, match="is no copy of the states of one"):
        plan_restore_from_target(city, backend, at=datetime.now(UTC) + timedelta(hours=2))
    copy, _ = plan_restore_from_target(city, backend, at=done.copy.at)
    assert copy == done.copy
    damaged = bytearray(content)
    damaged[-1] ^= 1
    file.write_bytes(bytes(damaged))
    with pytest.raises(ConfigurationError, match="is no copy of the states of one"):
        plan_restore_from_target(city, backend, at=done.copy.at)


def test_old_copies_go_by_their_number(city: City, server: S3Server) -> None:
    backend = open_backend(city)
    first = back_up_to_target(city, backend)
    second = back_up_to_target(city, backend)
    # Of the same day: the newest stays.
    assert [item.key for item in second.removed] == [first.copy.key]
    assert [file.name for file in objects_of(server, city)] == [second.copy.key]
    days = [SealedCopy(f"{n}", NOON - timedelta(days=n), 1) for n in range(60)]
    stay = sealed_copies.kept(days, Keep(daily=3, weekly=2, monthly=3), NOON)
    assert [item.key for item in stay] == ["0", "1", "2", "6", "28", "59"]
    # One of a clock that was a year ahead takes nobody's place.
    ahead = SealedCopy("ahead", NOON + timedelta(days=365), 1)
    stay = sealed_copies.kept([*days, ahead], Keep(daily=1, weekly=1, monthly=1), NOON)
    assert [item.key for item in stay] == ["ahead", "0"]


def test_a_copy_of_a_clock_that_was_ahead_hides_no_other(city: City, server: S3Server) -> None:
    backend = open_backend(city)
    done = back_up_to_target(city, backend)
    (file,) = objects_of(server, city)
    file.with_name(f"{datetime.now(UTC) + timedelta(days=400):%Y%m%dT%H%M%S.%fZ}.sealed").write_bytes(b"of that time")
    assert plan_restore_from_target(city, backend)[0] == done.copy
    file.unlink()
    with pytest.raises(ConfigurationError, match="there is no copy") as refused:
        plan_restore_from_target(city, backend)
    assert "there are others, the last of 20" in refused.value.details


def test_what_is_missing_is_told(city: City, server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = open_backend(city)
    with pytest.raises(ConfigurationError, match="there is no copy of the states of one in s3://backups/"):
        plan_restore_from_target(city, backend)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not that key")
    with pytest.raises(AuthenticationError):
        back_up_to_target(city, backend)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AuthenticationError, match="the keys of the target s3://backups/"):
        back_up_to_target(city, backend)
    none = replace(city, compliance=replace(city.compliance, backup=Backup()))
    with pytest.raises(ConfigurationError, match="names no target"):
        back_up_to_target(none, backend)
