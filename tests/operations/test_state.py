"""States of an earlier release: exported, replaced, backed up and repaired from Python. No engine runs here."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from wecityctl.cli import state as commands
from wecityctl.engine.state.backend import open_backend
from wecityctl.errors import ConfigurationError, DeploymentError
from wecityctl.operations.history import history
from wecityctl.operations.outputs import OutputsOptions, outputs
from wecityctl.operations.state import (
    Backend,
    back_up,
    export_state,
    list_states,
    needs_repair,
    plan_import,
    plan_repair,
    plan_restore,
)
from wecityctl.session import Session

ENTRY = "one.entry"


@pytest.fixture
def backend(brought_up: Session) -> Backend:
    return open_backend(brought_up.city)


def test_an_export_comes_back_and_the_state_before_is_kept(backend: Backend) -> None:
    exported = export_state(backend, "entry")
    assert exported.stack == ENTRY
    planned = plan_import(backend, "entry", exported.text.encode)
    assert planned.now is not None
    assert (planned.stack, planned.now.resources, planned.resources) == (ENTRY, 2, 2)
    assert Path(backend.url.removeprefix("file://").replace("%20", " "), planned.apply()).exists()
    assert json.loads(export_state(backend, ENTRY).text)["deployment"]["resources"]


def test_a_plan_that_is_out_of_date_is_refused(backend: Backend) -> None:
    content = json.loads(export_state(backend, ENTRY).text)
    planned = plan_import(backend, ENTRY, json.dumps(content).encode)
    content["deployment"]["manifest"]["time"] = "2026-11-21T10:00:00Z"
    plan_import(backend, ENTRY, json.dumps(content).encode).apply()
    with pytest.raises(DeploymentError, match=r"another run has changed one\.entry meanwhile"):
        planned.apply()


def test_a_backup_restores_what_was_lost(backend: Backend, tmp_path: Path) -> None:
    done = back_up(backend, ("entry", "base"), tmp_path / "monday.tar.gz")
    assert [item.stack for item in done.copies] == ["one.base.main", ENTRY]
    with pytest.raises(ConfigurationError, match="is there already"):
        back_up(backend, (), done.file)
    with pytest.raises(ConfigurationError, match="no stack matches 'tenant'"):
        plan_restore(backend, done.file, ("tenant",))
    for item in plan_restore(backend, done.file):
        assert item.now is not None
        assert item.now.resources == item.resources
        item.apply()
    assert {item.condition for item in list_states(backend)} == {"sound"}


def test_a_dry_run_says_what_and_where_and_writes_nothing(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = tmp_path / "state of the city", tmp_path / "elsewhere"
    export, archive = tmp_path / "entry.json", tmp_path / "monday.tar.gz"
    export.write_text(export_state(backend, ENTRY).text)
    back_up(backend, (), archive)
    monkeypatch.setattr(commands, "_backend", lambda path, moving=False: backend)

    def call(*arguments: str) -> str:
        before = _digest(store)
        done = CliRunner().invoke(commands.app, [*arguments, "--dry-run"], catch_exceptions=False)
        assert (done.exit_code, _digest(store), other.exists()) == (0, before, False), done.output
        assert "nothing was written" in done.stderr
        return done.output

    shown = call("import", ".", ENTRY, "--file", str(export))
    assert f"{ENTRY}: 2 resources now, 2 then, from {export}\n" in shown
    assert str(store / ".wecity/aside") in shown
    shown = call("restore", ".", "--file", str(archive), "--stack", "entry")
    assert f"{ENTRY}: 2 resources of " in shown
    assert str(store / ".wecity/aside") in shown
    shown = call("move", ".", "--to", other.as_uri())
    assert f"would be moved from {backend.url} to {other.as_uri()}" in shown
    [file] = store.rglob(f"stacks/**/{ENTRY}.json")
    file.write_text('{"version":3,"checkpoint":{')
    shown = call("repair", ".")
    assert f"{ENTRY}: go back to the state of " in shown
    assert str(store / ".wecity/aside") in shown


def _digest(directory: Path) -> str:
    """The digest of every file's path, mode, time and content."""
    found = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        status = path.stat()
        found.update(repr((path, status.st_mode, status.st_mtime_ns)).encode())
        found.update(path.read_bytes() if path.is_file() else b"")
    return found.hexdigest()


def test_a_damaged_state_is_repaired_by_a_plan(backend: Backend, tmp_path: Path) -> None:
    assert not plan_repair(backend)
    [file] = (tmp_path / "state of the city").rglob(f"stacks/**/{ENTRY}.json")
    file.write_text('{"version":3,"checkpoint":{')
    found = list_states(backend)
    assert needs_repair(found)
    assert [item.stack for item in found if item.condition == "damaged"] == [ENTRY]
    [mending] = plan_repair(backend, ("entry",))
    mending.apply()
    assert not needs_repair(list_states(backend))


@pytest.mark.parametrize(("part", "said"), [("one", "'one' names several stacks"), ("two", "'two' names no stack")])
def test_a_part_of_a_name_must_mean_one_stack(backend: Backend, part: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        export_state(backend, part)


def test_what_was_done_is_listed_the_newest_first(brought_up: Session) -> None:
    found = history(brought_up)
    assert {item.stack for item in found} >= {"one.base.main", ENTRY}
    assert [item.started for item in found] == sorted((item.started for item in found), reverse=True)
    assert {item.result for item in found} == {"succeeded"}


def test_outputs_are_those_of_the_stacks_but_never_of_the_secret_store(brought_up: Session) -> None:
    found = outputs(brought_up, OutputsOptions())
    assert list(found) == [stack.name for stack in brought_up.plan.stacks if stack.name in found]
    assert "one.secrets" not in found
    assert list(outputs(brought_up, OutputsOptions(stack="entry"))) == [ENTRY]
