"""Whole runs through the real engine, with components only: no provider and no cluster."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.engine.conftest import use_home
from tests.engine.drive import files_of, go, make_city, plan_of
from tests.support.some import some
from wecityctl.engine.context import ending_accounts
from wecityctl.engine.context.ending_accounts import Account
from wecityctl.engine.context.options import Timeouts
from wecityctl.engine.context.secret_store import SecretStore
from wecityctl.engine.process.interrupts import time_limit
from wecityctl.engine.run.edit_secrets import remove_secret, set_secret
from wecityctl.engine.secrets import certificates, passphrase
from wecityctl.engine.state import layout
from wecityctl.engine.state.backend import open_backend
from wecityctl.engine.state.engine_lock import LockedError
from wecityctl.engine.state.run_locks import whole_city
from wecityctl.engine.state.store_cli import CliStore, run_cli
from wecityctl.engine.workers.cli_process import CliProcess
from wecityctl.engine.workers.engine import cli_path
from wecityctl.engine.workers.environment import plain_environment
from wecityctl.errors import AuthenticationError, ConfigurationError, ExitCode, TimedOutError, WecityError
from wecityctl.filelock import hold
from wecityctl.model.events import Diagnostic, Event, RunFinished, RunResult, RunStarted, StackFinished, StackStarted
from wecityctl.operations.status.judging import stack_statuses
from wecityctl.operations.status.values import Away

pytestmark = pytest.mark.engine


def outcomes(result: RunResult) -> dict[str, str]:
    """The outcome of each stack, by its name without the city."""
    return {item.stack.partition(".")[2]: item.outcome for item in result.results}


def everything_below(path: Path) -> list[Path]:
    return [item for item in path.rglob("*") if not item.is_symlink()]


def test_a_first_preview_shows_all_layers_and_writes_nothing(home: Path) -> None:
    events: list[Event] = []
    result = go(make_city("one"), "preview", events=events)
    assert result.exit_code == 0
    assert result.has_changes
    created = {change.name for item in result.results for change in item.changes}
    assert {"floor", "health", "traffic", "entry"} <= created
    assert isinstance(events[0], RunStarted) and isinstance(events[-1], RunFinished)
    assert next(e.stack for e in events if isinstance(e, StackStarted)) == "one.secrets"
    assert everything_below(home / "state") == []


@pytest.mark.parametrize("others", [("wang",), ()])
def test_a_run_without_a_guard_says_so_where_others_can_log_in(
    home: Path, monkeypatch: pytest.MonkeyPatch, others: tuple[str, ...]
) -> None:
    monkeypatch.setattr("wecityctl.engine.workers.engine.Engine.unguarded", "the kernel is too old")
    monkeypatch.setattr("wecityctl.engine.run.execution.other_users", lambda: others)
    events: list[Event] = []
    assert go(make_city("one", ()), "preview", events=events).exit_code == 0
    told = [event.message for event in events if isinstance(event, Diagnostic) and event.severity == "warning"]
    assert [text for text in told if "because the kernel is too old: wang" in text] == told[: len(others)]
    assert len(told) == len(others)


def test_up_then_up_then_destroy(home: Path) -> None:
    city = make_city("one")
    first = go(city, "up")
    assert set(outcomes(first).values()) == {"succeeded"}
    assert first.entry_urls == ("http://health:30080/", "http://traffic:30080/")
    second = go(city, "up")
    assert set(outcomes(second).values()) == {"unchanged"}
    assert not second.has_changes
    assert go(city, "up", expect_no_changes=True).exit_code == ExitCode.OK
    backend = open_backend(city)
    assert len(backend.list_stacks()) == len(plan_of(city).stacks)
    assert [entry["kind"] for entry in backend.history("one.base.main")] == ["update", "update", "update"]
    third = go(city, "destroy")
    assert third.exit_code == 0
    assert outcomes(third)["secrets"] == "skipped"
    assert open_backend(city).list_stacks() == ("one.secrets",)
    assert outcomes(go(city, "destroy", delete_data=True))["secrets"] == "succeeded"
    assert open_backend(city).list_stacks() == ()


@pytest.mark.parametrize("given", [False, True], ids=["default", "named"])
def test_a_state_directory_with_a_name_that_urls_read_otherwise(
    home: Path, monkeypatch: pytest.MonkeyPatch, given: bool
) -> None:
    """Everything finds the same place: we ourselves, the engine, and plain pulumi with what `env` prints."""
    place = home / "a b#c%41?d;é"
    monkeypatch.setenv("XDG_STATE_HOME", str(place / "state"))
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "odd")
    city = make_city("one", ("health",), backend=f"file://{quote(str(place / 'shared'))}" if given else "")
    root = place / ("shared" if given else "state/wecityctl/state")
    assert go(city, "preview").exit_code == 0
    assert set(outcomes(go(city, "up")).values()) == {"succeeded"}
    assert len(list(root.glob(".pulumi/stacks/wecity/*.json"))) == len(plan_of(city).stacks)
    plain = plain_environment(open_backend(city))
    environment = os.environ | plain.variables
    listed = run_cli(cli_path(), ["stack", "ls", "--json", "--cwd", str(plain.directory)], environment)
    assert len(json.loads(listed)) == len(plan_of(city).stacks)
    assert go(city, "destroy", delete_data=True).exit_code == 0
    assert open_backend(city).list_stacks() == ()
    assert {path.name for path in home.iterdir()} == {"home", "cache", "state", "config", place.name}


def test_state_is_for_its_owner_alone(home: Path) -> None:
    before = os.umask(0o022)
    try:
        go(make_city("one"), "up")
    finally:
        os.umask(before)
    for path in some(everything_below(home / "state" / "wecityctl")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o077 == 0, f"{path} has mode {mode:o}"


def test_secrets_are_generated_once_and_kept_encrypted(home: Path) -> None:
    city = make_city("one")
    go(city, "up")
    values = SecretStore(open_backend(city)).read()
    assert set(values) == {
        "capability/gateway/admin",
        "capability/postgresql/admin",
        "binding/health/app/db",
        "binding/traffic/app/db",
        "city/entry-authority",
        "entry/authority",
        "entry/gateway/tls",
        "city/service-authority",
        "service/authority",
        "service/postgresql/tls",
    }
    assert all(len(value) >= 43 for value in values.values())
    state = "".join(path.read_text() for path in everything_below(home / "state") if path.suffix == ".json")
    assert not any(value in state for value in values.values())
    # A further tenant adds its value and changes no other.
    wider = make_city("one", ("health", "traffic", "water"))
    go(wider, "up")
    later = SecretStore(open_backend(wider)).read()
    assert later.items() > values.items() and "binding/water/app/db" in later


def test_a_certificate_is_renewed_by_the_up_that_finds_it_due(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    city, keys = make_city("one"), ("entry/gateway/tls", "service/postgresql/tls")
    go(city, "up")
    before = SecretStore(open_backend(city)).read()
    monkeypatch.setattr(certificates, "RENEWED_BEFORE", certificates.VALID)
    # It was looked at today: no need to open the store again.
    go(city, "up")
    assert SecretStore(open_backend(city)).read() == before
    later = Timeouts(age=0.0)
    (told,) = [item for item in go(city, "preview", timeouts=later).results if item.stack == "one.secrets"]
    assert told.reason == "2 values would be generated"
    assert SecretStore(open_backend(city)).read() == before
    go(city, "up", timeouts=later)
    after = SecretStore(open_backend(city)).read()
    assert {key for key in before if after[key] != before[key]} == set(keys)
    assert after.keys() == before.keys()


def test_values_that_were_lost_are_not_made_anew_in_silence(home: Path) -> None:
    """Databases and pods have the old ones."""
    city = make_city("one")
    go(city, "up")
    before = SecretStore(open_backend(city)).read()
    (path,) = (home / "state").glob("**/stacks/wecity/one.secrets.json")
    text = path.read_text()
    for damaged in ("null", "[]", "{}", '{"checkpoint": {}}', '{"checkpoint": {"stack": "s", "latest": {}}}', ""):
        path.write_text(damaged)
        with pytest.raises(WecityError, match=r"the state of one\.secrets cannot be read"):
            go(city, "up")
        assert path.read_text() == damaged
    never_run = '{"version": 3, "checkpoint": {"stack": "organization/wecity/one.secrets"}}'
    for put in (path.unlink, lambda: path.write_text(never_run)):
        put()
        for operation in ("preview", "up"):
            with pytest.raises(ConfigurationError, match="the secret store has lost 8 values") as caught:
                go(city, operation)
        assert "capability/postgresql/admin" in caught.value.details
        assert "--confirm=one" in caught.value.resolution
        path.write_text(text)
    assert go(city, "up").exit_code == 0
    assert SecretStore(open_backend(city)).read() == before
    path.unlink()
    assert go(city, "up", confirm_all=True).exit_code == 0
    assert SecretStore(open_backend(city)).read().keys() == before.keys()


def test_of_old_updates_as_many_are_kept_as_the_files_say(home: Path) -> None:
    city = make_city("one", ("health",))
    city = replace(city, state=replace(city.state, keep_updates=2))
    for _ in range(4):
        assert go(city, "up", skip=False).exit_code == 0
    assert [entry["kind"] for entry in open_backend(city).history("one.base.main")] == ["update", "update"]
    kept = [path for path in everything_below(home / "state") if "one.base.main" in path.name and path.is_file()]
    assert len([path for path in kept if "history" in path.parts]) == 4
    assert not [path for path in kept if "journals" in path.parts or ("locks" in path.parts and path.suffix != ".json")]


def test_a_user_who_is_back_gets_one_new_password_even_if_the_run_ends_early(home: Path) -> None:
    city = make_city("one", ("health", "traffic"))
    assert go(city, "up").exit_code == 0
    backend, account = open_backend(city), Account("main", "postgresql", "health/app/db")
    before = SecretStore(backend).read()
    ending_accounts.note(backend, "one.tenant.health.main", [account])
    ending_accounts.settle(backend, "one.tenant.health.main", {account: True})
    # Of another tenant: it has no part in this.
    assert go(city, "up", plan=plan_of(city).only(["one.tenant.traffic.main"])).exit_code == 0
    assert SecretStore(backend).read() == before
    # These runs end before their accounts are looked at, as after Ctrl-C.
    assert go(city, "up").exit_code == 0
    after = SecretStore(backend).read()
    assert {name for name in before if before[name] != after[name]} == {"binding/health/app/db"}
    assert set(outcomes(go(city, "up")).values()) == {"unchanged"}
    assert SecretStore(backend).read() == after


def test_a_back_end_that_fails_after_the_stacks_leaves_their_result(home: Path) -> None:
    city = make_city("one", ("health",))
    aside = files_of(open_backend(city)).root / layout.ASIDE
    aside.parent.mkdir(parents=True, exist_ok=True)
    aside.symlink_to(aside)
    result = go(city, "up")
    assert set(outcomes(result).values()) == {"succeeded"}
    assert result.exit_code == 0
    assert [note for note in result.notes if note.startswith("old updates were not deleted: ")]


def test_a_given_secret_must_be_set_before_anything_happens(home: Path) -> None:
    city = make_city("one", ("health",), secrets=("sms-key",))
    with pytest.raises(ConfigurationError) as caught:
        go(city, "up")
    assert "wecityctl secrets set PATH health/sms-key" in caught.value.resolution
    with pytest.raises(ConfigurationError, match="secrets are missing") as caught:
        go(city, "up", files="my cities/one.yaml")
    assert "wecityctl secrets set 'my cities/one.yaml' health/sms-key" in caught.value.resolution
    assert open_backend(city).list_stacks() == ()
    set_secret(open_backend(city), "tenant/health/sms-key", "abc")
    assert go(city, "up").exit_code == 0
    values = SecretStore(open_backend(city)).read()
    assert values["tenant/health/sms-key"] == "abc"
    set_secret(open_backend(city), "tenant/health/sms-key", "def")
    assert SecretStore(open_backend(city)).read() == {**values, "tenant/health/sms-key": "def"}
    remove_secret(open_backend(city), "tenant/health/sms-key")
    with pytest.raises(ConfigurationError):
        go(city, "preview")


def test_a_second_machine_sees_no_change(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "shared"
    monkeypatch.setenv(passphrase.VARIABLE, "for both")
    city = make_city("one", backend=f"file://{shared}")
    assert go(city, "up").exit_code == 0
    kept = SecretStore(open_backend(city)).read()
    use_home(tmp_path / "second", monkeypatch)
    monkeypatch.setenv(passphrase.VARIABLE, "for both")
    result = go(city, "preview")
    assert set(outcomes(result).values()) == {"unchanged"}, result
    assert set(outcomes(go(city, "up")).values()) == {"unchanged"}
    assert SecretStore(open_backend(city)).read() == kept


def test_a_wrong_or_missing_passphrase_stops_before_anything_happens(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    city = make_city("one")
    go(city, "up")
    before = {path: path.read_bytes() for path in everything_below(home / "state") if path.is_file()}
    monkeypatch.setenv(passphrase.VARIABLE, "wrong")
    with pytest.raises(AuthenticationError):
        go(city, "up")
    monkeypatch.delenv(passphrase.VARIABLE)
    # Encrypted state is there and the passphrase is gone: none is made in its place.
    passphrase.default_file().rename(tmp_path / "lost")
    with pytest.raises(AuthenticationError) as caught:
        go(city, "up")
    assert caught.value.exit_code == ExitCode.AUTHENTICATION
    (tmp_path / "lost").rename(passphrase.default_file())
    after = {path: path.read_bytes() for path in everything_below(home / "state") if path.is_file()}
    assert {path: data for path, data in after.items() if ".run" not in path.name} == {
        path: data for path, data in before.items() if ".run" not in path.name
    }


def test_two_first_runs_at_once_do_not_each_make_a_passphrase(home: Path) -> None:
    one, two = make_city("one", ()), make_city("two", ())
    first, second = open_backend(one), open_backend(two)
    assert go(one, "up", backend=first).exit_code == 0
    late = go(two, "up", backend=second)
    assert late.exit_code != 0
    assert "another run has made the passphrase" in str([item.errors for item in late.results])
    assert go(two, "up").exit_code == 0
    for city in (one, two):
        assert not go(city, "preview").has_changes


def test_a_passphrase_file_may_hold_it(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret"
    file.write_text("from a file\n")
    monkeypatch.setenv(passphrase.FILE_VARIABLE, str(file))
    city = make_city("one", ())
    assert go(city, "up").exit_code == 0
    monkeypatch.delenv(passphrase.FILE_VARIABLE)
    monkeypatch.setenv(passphrase.VARIABLE, "from a file")
    assert not go(city, "preview").has_changes
    monkeypatch.setenv(passphrase.FILE_VARIABLE, str(tmp_path / "missing"))
    monkeypatch.delenv(passphrase.VARIABLE)
    with pytest.raises(AuthenticationError):
        open_backend(city)


def test_a_city_that_another_run_changes_is_refused(home: Path) -> None:
    city = make_city("one", ())
    backend = open_backend(city)
    with whole_city(backend):
        with pytest.raises(LockedError) as caught:
            go(city, "up")
        assert f"process {os.getpid()}" in caught.value.details
        assert go(city, "preview").exit_code == 0
    assert go(city, "up").exit_code == 0


def test_a_run_that_has_patience_waits_until_the_other_has_ended(home: Path) -> None:
    city = make_city("one", ())
    backend = open_backend(city)
    files_of(backend).prepare()
    ready, free = threading.Event(), threading.Event()

    def other() -> None:
        with whole_city(open_backend(city)):
            ready.set()
            free.wait(60)

    thread = threading.Thread(target=other)
    thread.start()
    assert ready.wait(10)
    with pytest.raises(LockedError, match="has not ended in 1 s"):
        go(city, "up", timeouts=Timeouts(lock=1.0))
    events: list[Event] = []
    threading.Timer(1.0, free.set).start()
    assert go(city, "up", events=events, timeouts=Timeouts(lock=60.0)).exit_code == 0
    thread.join(10)
    (told,) = [event.message for event in events if isinstance(event, Diagnostic) and "another run" in event.message]
    assert f"process {os.getpid()}" in told


def test_a_program_that_fails_blocks_only_those_who_need_it(home: Path) -> None:
    city = make_city("one", fails="health")
    result = go(city, "up", program="failing")
    assert outcomes(result) == {
        "secrets": "succeeded",
        "base.main": "succeeded",
        "platform.application.main": "succeeded",
        "tenant.health.main": "failed",
        "tenant.traffic.main": "succeeded",
        "entry": "succeeded",
    }
    assert result.exit_code == ExitCode.DEPLOYMENT
    failed = next(item for item in result.results if item.outcome == "failed")
    assert "no luck with health" in failed.errors[0]
    states = {item.stack: item.state for item in stack_statuses(plan_of(city), open_backend(city), Away())}
    assert [name for name, state in states.items() if state == "failed"] == ["one.tenant.health.main"]
    assert set(states.values()) == {"failed", "ok"}


def test_a_failed_tenant_keeps_its_last_good_outputs(home: Path) -> None:
    city = make_city("one")
    go(city, "up")
    broken = make_city("one", fails="health")
    for _ in range(2):
        # Twice: the failed run itself must not have lost them either.
        result = go(broken, "up", program="failing")
        assert outcomes(result)["tenant.health.main"] == "failed"
        assert outcomes(result)["entry"] != "failed"
        state = open_backend(broken).read_state("one.entry")
        assert state is not None and state.outputs is not None
        assert state.outputs["hosts"] == ["health", "traffic"]


def test_a_failed_base_blocks_everything_unless_told_to_keep_going(home: Path) -> None:
    result = go(make_city("one", fails="base"), "up", program="failing")
    assert outcomes(result)["entry"] == "blocked"
    assert result.exit_code == ExitCode.DEPLOYMENT
    go(make_city("one"), "up")
    result = go(make_city("one", fails="base"), "up", program="failing", keep_going=True)
    assert outcomes(result)["base.main"] == "failed"
    assert outcomes(result)["tenant.traffic.main"] == "unchanged"
    result = go(make_city("one", fails="base"), "up", program="failing", fail_fast=True)
    assert set(outcomes(result).values()) <= {"unchanged", "failed", "blocked"}


def test_a_stack_that_left_the_files_is_named_and_removed_only_when_confirmed(home: Path) -> None:
    go(make_city("one"), "up")
    smaller = make_city("one", ("health",))
    preview = go(smaller, "preview")
    assert preview.removals == ("one.tenant.traffic.main",)
    assert preview.has_changes
    result = go(smaller, "up")
    assert result.removals == ("one.tenant.traffic.main",)
    assert "one.tenant.traffic.main" in open_backend(smaller).list_stacks()
    result = go(smaller, "up", confirmed=frozenset({"one.tenant.traffic.main"}))
    assert result.exit_code == 0
    assert result.removals == ()
    assert "one.tenant.traffic.main" not in open_backend(smaller).list_stacks()


def test_an_app_that_left_the_files_is_not_deleted_without_a_confirmation(home: Path) -> None:
    go(make_city("one", extra="health"), "up", program="failing")
    city, name = make_city("one"), "one.tenant.health.main"
    preview = go(city, "preview", program="failing")
    assert [(c.name, c.op) for item in preview.results for c in item.changes] == [("extra", "delete")]
    before = {path: path.read_bytes() for path in everything_below(home / "state") if path.suffix == ".json"}
    events: list[Event] = []
    with pytest.raises(ConfigurationError) as caught:
        go(city, "up", program="failing", events=events)
    assert caught.value.details == f"Part extra (in {name})"
    assert "--confirm=one" in caught.value.resolution
    assert not any(isinstance(event, StackStarted) for event in events)
    assert {path: path.read_bytes() for path in before} == before
    result = go(city, "up", program="failing", confirmed=frozenset({name}))
    assert result.exit_code == 0
    assert not any("extra" in urn for urn in state_urns(city, name))


def test_a_deletion_nobody_foresaw_is_refused_by_its_stack(home: Path) -> None:
    go(make_city("one", extra="health"), "up", program="failing")
    city, name = make_city("one"), "one.tenant.health.main"
    result = go(city, "up", program="failing", expected={})
    (failed,) = [item for item in result.results if item.outcome == "failed"]
    assert failed.stack == name
    assert "not deleted without a confirmation: extra" in failed.errors[0]
    assert any("extra" in urn for urn in state_urns(city, name))


def state_urns(city: object, stack: str) -> frozenset[str]:
    state = open_backend(city).read_state(stack)  # type: ignore[arg-type]
    assert state is not None
    return state.urns


def test_plain_pulumi_sees_the_stacks(home: Path) -> None:
    city = make_city("one", ())
    go(city, "up")
    plain = plain_environment(open_backend(city), "builtin")
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **plain.variables}
    listed = json.loads(run_cli(cli_path(), ["stack", "ls", "--json", "-C", str(plain.directory)], environment))
    assert {item["name"] for item in listed} == {
        "one.secrets",
        "one.base.main",
        "one.platform.application.main",
        "one.entry",
    }
    arguments = ["stack", "output", "--json", "--show-secrets", "--stack", "one.secrets", "-C", str(plain.directory)]
    outputs = json.loads(run_cli(cli_path(), arguments, environment))
    assert outputs["wecity"]["values"] == SecretStore(open_backend(city)).read()
    launcher = next((home / "cache" / "wecityctl" / "pulumi" / "plugins").rglob("pulumi-resource-kubernetes"))
    assert "not Pulumi's own plug-in" in launcher.read_text()


def test_the_same_through_the_cli_for_back_ends_that_are_no_files(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from wecityctl.engine.process.home import cli_environment

    monkeypatch.setenv(passphrase.VARIABLE, "remote")
    city = make_city("one", ("health",))
    url = f"file://{home / 'remote'}"
    (home / "remote").mkdir()
    environment = cli_environment(url, {})
    store = CliStore(cli_path(), url, environment, "passphrase")
    backend = replace(open_backend(city), store=store, is_default=False)
    assert go(city, "preview", backend=backend).exit_code == 0
    assert backend.list_stacks() == ()
    assert go(city, "up", backend=backend).exit_code == 0
    kept = SecretStore(backend).read()
    assert "binding/health/app/db" in kept
    second = go(city, "up", backend=backend)
    assert set(outcomes(second).values()) == {"unchanged"}
    assert SecretStore(backend).read() == kept
    assert [entry["kind"] for entry in backend.history("one.entry")] == ["update", "update"]
    assert {item.state for item in stack_statuses(plan_of(city), backend, Away())} == {"ok"}
    broken = make_city("one", ("health",), fails="health")
    assert go(broken, "up", program="failing", backend=backend).exit_code == ExitCode.DEPLOYMENT
    states = {item.stack: item.state for item in stack_statuses(plan_of(city), backend, Away())}
    assert states["one.tenant.health.main"] == "failed"
    assert states["one.base.main"] == "ok"
    assert go(city, "destroy", backend=backend, delete_data=True).exit_code == 0
    assert backend.list_stacks() == ()


def test_events_tell_the_run_in_order(home: Path) -> None:
    events: list[Event] = []
    go(make_city("one", ("health",)), "up", events=events, parallelism=1)
    told = [
        (type(e).__name__, e.stack if isinstance(e, StackStarted) else e.result.stack)
        for e in events
        if isinstance(e, (StackStarted, StackFinished))
    ]
    names = [stack.name for stack in plan_of(make_city("one", ("health",))).stacks]
    assert told == [(kind, name) for name in names for kind in ("StackStarted", "StackFinished")]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system, which needs root")
@pytest.mark.parametrize("left", [0, 8], ids=["at once", "on the way"])
def test_a_full_disk_is_told_and_the_state_kept(home: Path, left: int) -> None:
    state = home / "state"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(state)], check=True)
    try:
        city = make_city("one", ())
        assert go(city, "up").exit_code == 0
        room = os.statvfs(state)
        filler = state / "filler"
        filler.write_bytes(bytes(max(0, room.f_bavail * room.f_bsize - left * 1024)))
        result = go(city, "up", skip=False)
        assert result.exit_code == ExitCode.DEPLOYMENT
        failed = next(item for item in result.results if item.outcome == "failed")
        assert "disk is full" in failed.errors[0] or "no space left" in failed.errors[0]
        filler.unlink()
        assert set(outcomes(go(city, "up")).values()) == {"unchanged"}
    finally:
        subprocess.run(["umount", str(state)], check=True)


def test_an_engine_that_waits_for_nothing_is_stopped(home: Path) -> None:
    begun = time.monotonic()
    city = make_city("idle", ("health",))
    result = go(city, "up", program="hanging", timeouts=Timeouts(idle=3, cancel=2))
    assert time.monotonic() - begun < 40
    assert result.exit_code == ExitCode.TIMEOUT
    health = next(item for item in result.results if item.stack == "idle.tenant.health.main")
    assert health.outcome == "failed"
    assert health.reason.startswith("the engine had nothing under way and said nothing for 3 s"), health


def test_the_end_of_the_runs_time_ends_it_in_order(home: Path) -> None:
    events: list[Event] = []
    with time_limit(10, lambda: ""):
        result = go(make_city("late", ("health",)), "up", program="hanging", events=events, timeouts=Timeouts(cancel=2))
    assert result.exit_code == ExitCode.TIMEOUT
    found = {item.stack.removeprefix("late."): (item.outcome, item.reason) for item in result.results}
    assert found["platform.application.main"][0] == "succeeded"
    assert found["tenant.health.main"] == ("failed", "the run's time was over: the engine had nothing under way")
    assert found["entry"] == ("blocked", "not started: the run's time was over")
    assert isinstance(events[-1], RunFinished)


def test_the_end_of_the_time_ends_what_waits_outside_the_stacks_too() -> None:
    """As an image build in a thread of its own: the terminal would interrupt its program, and so does the alarm."""
    begun = time.monotonic()
    limit = time_limit(1, lambda: "it waited for image web: building")
    with pytest.raises(TimedOutError) as caught, limit, ThreadPoolExecutor() as pool:
        pool.submit(subprocess.run, ["sleep", "60"], check=False).result()
    assert time.monotonic() - begun < 10
    assert caught.value.exit_code is ExitCode.TIMEOUT
    assert caught.value.details == "it waited for image web: building"


def test_a_lock_that_is_not_given_back_is_named(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as first, (tmp_path / "lock").open("w") as second:
        hold(first.fileno(), seconds=1, what="the image web")
        looks: list[int] = []
        with pytest.raises(TimedOutError, match="working on the image web for"):
            hold(second.fileno(), seconds=0.3, what="the image web", waiting=lambda: looks.append(1))
        assert len(looks) > 1
        first.close()
        hold(second.fileno(), seconds=1, what="the image web")


def test_programs_that_were_prepared_together_run_one_after_the_other() -> None:
    first = CliProcess()
    second = CliProcess([first])
    for number, each in enumerate((first, second)):
        each.start(["/bin/sh", "-c", f"exit {number + 3}"], {}, "/")
        until = time.monotonic() + 20
        while each.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
    assert (first.exit_code, second.exit_code) == (3, 4)


def test_a_state_of_the_release_before_is_gone_on_with_and_plain_pulumi_may_come_between(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written by the engine itself, before the journal; at rest the state is in Pulumi's own layout as it was then."""
    place = home / "earlier"
    shutil.copytree(Path(__file__).parent.with_name("states") / "earlier", place)
    monkeypatch.setenv(passphrase.VARIABLE, "an earlier release")
    city = make_city("one", ("health",), backend=f"file://{place}")
    backend = open_backend(city)
    plain = plain_environment(backend, "builtin")
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **plain.variables}
    environment[passphrase.VARIABLE] = "an earlier release"

    def pulumi(*arguments: str) -> str:
        return run_cli(cli_path(), [*arguments, "-C", str(plain.directory), "--stack", "one.entry"], environment)

    def resources() -> list[str]:
        return [item["urn"] for item in json.loads(pulumi("stack", "export"))["deployment"]["resources"]]

    def lasting() -> dict[str, str]:
        """The values that no day of the calendar changes, as it does certificates."""
        return {name: value for name, value in SecretStore(open_backend(city)).read().items() if "tls" not in name}

    urns, values = resources(), lasting()
    assert "binding/health/app/db" in values
    assert set(outcomes(go(city, "up", skip=False)).values()) <= {"unchanged", "succeeded"}
    assert (resources(), lasting()) == (urns, values)
    pulumi("refresh", "--yes", "--skip-preview")
    assert resources() == urns
    grown = make_city("one", ("health", "traffic"), backend=f"file://{place}")
    assert go(grown, "up").exit_code == 0
    kinds = [item["kind"] for item in json.loads(pulumi("stack", "history", "--json"))]
    assert kinds == ["update", "refresh", "update", "update", "update"]
    assert resources() == urns
    assert go(grown, "destroy", delete_data=True).exit_code == 0
    assert open_backend(grown).list_stacks() == ()
