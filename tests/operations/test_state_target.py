"""Copies of states in the target of backups, a real S3 server; restored on a machine that has nothing of the city."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.engine.drive import session_of
from tests.support.control_plane import free_ports
from tests.support.s3_server import S3Server, s3_server
from wecityctl.engine.context.secret_store import SecretStore
from wecityctl.engine.secrets.crypto import new_salt
from wecityctl.engine.secrets.passphrase import VARIABLE
from wecityctl.engine.state import sealed_copies
from wecityctl.engine.state.backend import Backend, open_backend
from wecityctl.engine.state.sealed_copies import SealedCopy
from wecityctl.engine.workers.engine import Engine
from wecityctl.errors import AuthenticationError, ConfigurationError, ExitCode
from wecityctl.model.city import Backup, City, Keep
from wecityctl.model.events import Event, Operation, RunFinished, RunResult
from wecityctl.model.naming import backup_key
from wecityctl.operations.compliance.state_copies import observed, state_measures
from wecityctl.operations.options import UpOptions, run_options
from wecityctl.operations.policy_gate import PolicyGate
from wecityctl.operations.stack_operation import StackOperation
from wecityctl.operations.state import list_states
from wecityctl.operations.state_copies import StateCopies, copy_states, look
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


def with_target(city: City, **changes: object) -> City:
    backup = replace(city.compliance.backup, **changes)  # type: ignore[arg-type]
    return replace(city, compliance=replace(city.compliance, backup=backup))


def silent(event: Event) -> None:
    """Shows nothing."""


def write_state(city: City, at: datetime) -> None:
    """As if a state had been written at that time."""
    (file,) = Path(city.state.backend.removeprefix("file://").replace("%20", " ")).rglob("one.entry.json")
    text, count = re.subn(r'(?<="time":")[^"]+', f"{at:%Y-%m-%dT%H:%M:%S.%f}123Z", file.read_text(), count=1)
    assert count == 1
    file.write_text(text)


def finished(city: City, backend: Backend, operation: Operation = "up", code: int = 0) -> tuple[str, ...]:
    """The notes of an operation that has come to its end with this exit code."""
    session, events = session_of(city), list[Event]()
    options = run_options(operation, UpOptions())
    gate = PolicyGate(session, operation, False, False)
    work = StackOperation(session, options, events.append, Engine(options.program), gate, backend)
    result = work.finished(RunResult(operation, city.name, (), 0.0, code))
    assert events[-1] == RunFinished(result)
    return result.notes


def test_an_up_leaves_a_copy_of_states_that_were_written_since_the_last(city: City, server: S3Server) -> None:
    backend, none = open_backend(city), with_target(city, states=False)
    operations: tuple[tuple[City, Operation, int], ...] = (
        (city, "preview", 0), (city, "destroy", 0), (city, "up", ExitCode.CANCELLED), (none, "up", 0)
    )  # fmt: skip
    for which, operation, code in operations:
        assert finished(which, backend, operation, code) == () and not objects_of(server, city)
    assert finished(city, backend) == ()
    first = objects_of(server, city)
    assert len(first) == 1
    # Nothing was written since, so there is nothing to copy.
    assert finished(city, backend) == () and objects_of(server, city) == first
    write_state(city, datetime.now(UTC))
    assert finished(city, backend, code=ExitCode.DEPLOYMENT) == ()
    second = objects_of(server, city)
    assert len(second) == 1 and second != first
    found = look(city, backend)
    assert found is not None and found.newest is not None and found.newest.key == second[0].name and found.is_current


@pytest.mark.timeout(60)
def test_a_target_that_is_away_is_a_note(city: City, server: S3Server) -> None:
    (port,), backend = free_ports(1), open_backend(city)
    (told,) = finished(with_target(city, endpoint=f"http://127.0.0.1:{port}"), backend)
    assert told.startswith(f"the states were not copied to {city.compliance.backup.target}, which the next `up` tries")
    (told,) = finished(with_target(city, target="s3://no-such-bucket"), backend)
    assert "the states were not copied to s3://no-such-bucket" in told
    ((_, measure),) = state_measures(session_of(with_target(city, target="s3://no-such-bucket")), NOON, asking=True)
    assert measure.observations[0].state == "not-looked-at" and measure.observations[0].detail


def test_the_report_tells_the_newest_copy_that_the_target_has(city: City) -> None:
    session, target = session_of(city), city.compliance.backup.target
    ((controls, measure),) = state_measures(session, NOON, asking=True)
    (found,) = measure.observations
    assert (controls, measure.notes) == (("8.1.4.9",), ())
    assert (found.cloud, found.state, found.present, found.wanted) == (target, "missing", 0, 1)
    none = session_of(with_target(city, states=False))
    ((_, measure),) = state_measures(none, NOON, asking=False)
    assert (measure.observations[0].state, len(measure.notes)) == ("not-looked-at", 1)
    without = replace(city, compliance=replace(city.compliance, backup=Backup()))
    assert not list(state_measures(session_of(without), NOON, asking=True))


def test_a_copy_counts_while_nothing_was_written_since_or_it_is_young() -> None:
    copies = StateCopies("s3://there", SealedCopy("key", NOON, 1), NOON - timedelta(hours=1))
    found = observed(copies, NOON + timedelta(days=90))
    assert (found.state, found.present, found.since) == ("observed", 1, "2026-11-28T12:00:00Z")
    assert found.detail.endswith("is of 2026-11-28T12:00:00Z, and no state was written since")
    behind = replace(copies, written=NOON + timedelta(minutes=5))
    assert observed(behind, NOON - timedelta(hours=1)).state == "observed"
    found = observed(behind, NOON + timedelta(hours=1))
    assert (found.state, found.present) == ("partial", 0)
    assert found.detail.endswith("and states were written since, the last at 2026-11-28T12:05:00Z")
    assert observed(replace(copies, written=None), NOON).state == "observed"


@pytest.mark.parametrize("passphrase", ["an earlier release", "another one"])
def test_copies_of_lost_states_are_not_hidden_by_those_of_new_ones(
    city: City, server: S3Server, passphrase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = back_up_to_target(city, open_backend(city))
    # As the city is after it has come up again without them, on the same day.
    monkeypatch.setenv(VARIABLE, passphrase)
    salt, _ = new_salt(passphrase)
    for file in Path(city.state.backend.removeprefix("file://").replace("%20", " ")).rglob("one.*.json"):
        file.write_text(re.sub(r'(?<="salt":")[^"]+', salt, file.read_text()))
    write_state(city, datetime.now(UTC))
    monkeypatch.setattr(SecretStore, "read", lambda self: {})
    backend = open_backend(city)
    told = copy_states(city, backend, silent)
    assert f"the states were not copied to {city.compliance.backup.target}, for its newest copy is " in told
    assert ("encrypted with another passphrase" in told) is (passphrase != "an earlier release")
    assert "wecityctl state restore --from-target" in told
    assert [file.name for file in objects_of(server, city)] == [done.copy.key]
    if passphrase == "another one":
        # Somebody wants it so.
        new = back_up_to_target(city, backend)
        write_state(city, datetime.now(UTC))
        assert copy_states(city, backend, silent) == ""
        assert new.copy.key not in [file.name for file in objects_of(server, city)]


def test_a_city_without_states_has_nothing_to_copy(city: City, server: S3Server, tmp_path: Path) -> None:
    there = elsewhere(city, tmp_path / "other")
    assert look(there, open_backend(there)) is None
    assert copy_states(there, open_backend(there), silent) == "" and not objects_of(server, city)
    assert not list(state_measures(session_of(there), NOON, asking=True))


def test_the_targets_keys_are_those_of_the_city_before_those_of_the_place_of_its_states(
    city: City, server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {backup_key("keys"): f"{server.access}:{server.secret}"}
    monkeypatch.setattr(SecretStore, "read", lambda self: keys)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of another place")
    assert copy_states(city, open_backend(city), silent) == "" and len(objects_of(server, city)) == 1
