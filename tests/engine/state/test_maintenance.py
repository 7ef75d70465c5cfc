"""`wecityctl state` on a city whose state an earlier release has written: no engine runs here."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.engine.conftest import use_home
from tests.engine.drive import files_of, make_city
from tests.engine.state.test_abandoned_locks import dead_process
from wecityctl.cli import state as commands
from wecityctl.engine.secrets.passphrase import VARIABLE
from wecityctl.engine.state import layout
from wecityctl.engine.state.backend import Backend, open_backend
from wecityctl.engine.state.engine_lock import LockedError, locks_on
from wecityctl.engine.state.integrity import flaw
from wecityctl.engine.state.maintenance import health, mending
from wecityctl.engine.state.store_file import FileStore
from wecityctl.engine.state_service.updates import About, Running
from wecityctl.errors import ConfigurationError, DeploymentError, WecityError
from wecityctl.paths import write_private

EARLIER = Path(__file__).parent.with_name("states") / "earlier"
ENTRY = "one.entry"


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Backend:
    use_home(tmp_path, monkeypatch)
    place = tmp_path / "state of the city"
    shutil.copytree(EARLIER, place)
    monkeypatch.setenv(VARIABLE, "an earlier release")
    monkeypatch.chdir(tmp_path)
    found = open_backend(make_city("one", ("health",), backend=f"file://{place.as_posix().replace(' ', '%20')}"))
    monkeypatch.setattr(commands, "_backend", lambda path: found)
    return found


@pytest.fixture
def files(backend: Backend) -> FileStore:
    return files_of(backend)


def call(*arguments: str, code: int = 0) -> Result:
    """A command; one that fails raises the error that the program tells."""
    done = CliRunner().invoke(commands.app, list(arguments), catch_exceptions=False)
    assert done.exit_code == code, done.output + done.stderr
    return done


def place_of(files: FileStore, stack: str = ENTRY) -> Path:
    path = files.path(stack)
    assert path is not None
    return path


def test_every_state_is_listed_with_how_it_is(files: FileStore) -> None:
    found = {item["stack"]: item for item in json.loads(call("list", "-o", "json").stdout)["states"]}
    assert len(found) == 5
    assert {item["condition"] for item in found.values()} == {"sound"}
    assert found[ENTRY]["resources"] == 2
    place_of(files).write_text('{"version":3,"checkpoint":{')
    told = call("list", code=4)
    assert "damaged: the state of one.entry cannot be read" in " ".join(told.stdout.split())
    assert "state repair" in told.stderr


def test_a_run_is_told_while_it_lasts_and_after_it_was_cut_off(files: FileStore) -> None:
    run = Running(files, ENTRY, About("update"))
    assert health(files, ENTRY).condition == "under way"
    note = files.root / layout.lock_note(ENTRY)
    owner = {**json.loads(note.read_text())}
    write_private(note, json.dumps({**dead_process().to_json(), "pid": owner["pid"]}).encode())
    run.append([])
    assert health(files, ENTRY).condition == "interrupted"


def damaged(files: FileStore) -> None:
    place_of(files).write_bytes(place_of(files).read_bytes()[:-40])


def unsound(files: FileStore) -> None:
    data = json.loads(place_of(files).read_text())
    resources = data["checkpoint"]["latest"]["resources"]
    data["checkpoint"]["latest"]["resources"] = [item for item in resources if item.get("parent")]
    place_of(files).write_text(json.dumps(data))


def journal_of_another_state(files: FileStore) -> None:
    run = Running(files, ENTRY, About("update"))
    run.append([{"version": 1, "kind": 5, "newSnapshot": {}}])
    place_of(files).write_text(place_of(files).read_text() + "\n")
    dead = {**dead_process().to_json(), "pid": json.loads((files.root / layout.lock_note(ENTRY)).read_text())["pid"]}
    write_private((files.root / layout.lock_note(ENTRY)), json.dumps(dead).encode())


@pytest.mark.parametrize("harm", [damaged, unsound, journal_of_another_state])
def test_what_was_harmed_is_mended_and_nothing_is_lost(
    backend: Backend, files: FileStore, harm: Callable[[FileStore], None]
) -> None:
    before, _ = files.read(ENTRY)
    harm(files)
    kept = place_of(files).read_bytes()
    # Every command opens the back end first.
    assert ENTRY in open_backend(make_city("one", ("health",), backend=backend.url)).list_stacks()
    assert health(files, ENTRY).condition in ("unsound", "damaged")
    with pytest.raises(ConfigurationError, match="needs approval"):
        call("repair")
    said = call("repair", "--dry-run").stdout
    assert said.startswith(f"{ENTRY}: ")
    assert place_of(files).read_bytes() == kept
    call("repair", "--yes")
    after, _ = files.read(ENTRY)
    assert before is not None
    assert after is not None
    assert after["resources"] == before["resources"]
    assert flaw(after) == ""
    assert health(files, ENTRY).condition == "sound"
    assert locks_on(files, ENTRY) == []
    aside = [path.read_bytes() for path in (files.root / ".wecity" / "aside").iterdir()]
    assert kept in aside or harm is journal_of_another_state
    assert "every state is sound" in call("repair", "--yes").stderr


def test_what_was_decided_about_another_state_is_not_done(backend: Backend, files: FileStore) -> None:
    unsound(files)
    decided = mending(backend, ENTRY)
    assert decided is not None
    # Somebody else was quicker, and has deployed since.
    call("repair", "--yes")
    now = files.stored(ENTRY)
    with pytest.raises(DeploymentError, match="another run has changed"):
        decided.apply()
    assert files.stored(ENTRY) == now


def test_without_an_earlier_state_it_is_said_what_else_there_is(backend: Backend, files: FileStore) -> None:
    shutil.rmtree(files.root / ".pulumi" / "history")
    damaged(files)
    with pytest.raises(DeploymentError, match="no earlier state") as refused:
        mending(backend, ENTRY)
    assert "state restore" in refused.value.resolution


def test_a_run_that_is_under_way_is_left_alone(files: FileStore) -> None:
    Running(files, ENTRY, About("update"))
    call("repair", "--yes")
    call("backup", "--file", "copy.tar.gz")
    with pytest.raises(LockedError):
        call("restore", "--file", "copy.tar.gz", "--stack", ENTRY, "--yes")


def test_an_exported_state_is_pulumis_own_and_can_be_imported(files: FileStore, tmp_path: Path) -> None:
    stored = files.stored(ENTRY)
    exported = json.loads(call("export", "entry").stdout)
    assert exported == {"version": 3, "deployment": json.loads(stored)["checkpoint"]["latest"]}
    call("export", ".", ENTRY, "--file", "entry.json")
    file = tmp_path / "entry.json"
    assert file.stat().st_mode & 0o777 == 0o600
    (files.root / layout.record(ENTRY)).parent.mkdir(parents=True, exist_ok=True)
    (files.root / layout.record(ENTRY)).write_text("{}")
    call("import", "entry", "--file", "entry.json", "--yes")
    assert json.loads(files.stored(ENTRY))["checkpoint"]["latest"] == exported["deployment"]
    assert not (files.root / layout.record(ENTRY)).exists(), "the next `up` looks at the stack"
    (aside,) = (files.root / ".wecity" / "aside").iterdir()
    assert aside.read_bytes() == stored
    with pytest.raises(ConfigurationError, match="names several stacks"):
        call("export", "one")
    with pytest.raises(ConfigurationError, match="names no stack"):
        call("export", "two")


def changed(exported: dict[str, Any], **more: Any) -> str:
    return json.dumps({**exported, "deployment": {**exported["deployment"], **more}})


def test_what_is_no_sound_state_of_the_stack_is_not_imported(files: FileStore, tmp_path: Path) -> None:
    exported = json.loads(call("export", "entry").stdout)
    whole = exported["deployment"]["resources"]
    other = json.loads(json.dumps(whole).replace(ENTRY, "one.base.main"))
    before = files.stored(ENTRY)
    for text, words in (
        ("", "no exported state"),
        ("[]", "no exported state"),
        ('{"deployment": 1}', "no exported state"),
        (changed(exported, resources=[{"type": "x"}]), "no exported state"),
        (changed(exported, resources=other), "is a state of one.base.main"),
        (changed(exported, resources=whole[1:]), "left as it was"),
        (changed(exported, manifest={"version": "v3", "magic": "x"}), "left as it was"),
    ):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(WecityError, match=words):
            call("import", "entry", "--file", "bad.json", "--yes")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        call("import", "entry", "--file", "none.json", "--yes")
    assert files.stored(ENTRY) == before
    assert not (files.root / ".wecity" / "aside").exists()


def test_a_backup_is_restored_and_has_no_secret_in_clear(backend: Backend, files: FileStore, tmp_path: Path) -> None:
    before = {stack: files.stored(stack) for stack in backend.list_stacks()}
    call("backup")
    (archive,) = tmp_path.glob("one-state-*.tar.gz")
    assert archive.stat().st_mode & 0o777 == 0o600
    with tarfile.open(archive) as opened:
        assert "index.json" in opened.getnames()
        assert all(member.isfile() for member in opened)
    with pytest.raises(ConfigurationError, match="is there already"):
        call("backup", "--file", str(archive))
    damaged(files)
    place_of(files, "one.base.main").unlink()
    call("restore", "--file", str(archive), "--yes")
    assert {stack: files.stored(stack) for stack in backend.list_stacks()} == before
    harmed = place_of(files).write_text("{}")
    assert harmed
    call("restore", "--file", str(archive), "--stack", "entry", "--yes")
    assert files.stored(ENTRY) == before[ENTRY]


def test_an_archive_that_is_damaged_or_another_city_s_is_refused(backend: Backend, tmp_path: Path) -> None:
    call("backup", "--file", "good.tar.gz")
    good = (tmp_path / "good.tar.gz").read_bytes()

    def archive(**members: bytes | None) -> bytes:
        with tarfile.open(fileobj=io.BytesIO(good)) as opened:
            texts: dict[str, bytes | None] = {item.name: opened.extractfile(item).read() for item in opened}  # type: ignore[union-attr]
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w:gz") as made:
            for name, data in {**texts, **members}.items():
                member = tarfile.TarInfo(name)
                if data is None:
                    member.type, member.linkname = tarfile.SYMTYPE, "/etc/shadow"
                member.size = len(data or b"")
                made.addfile(member, io.BytesIO(data or b""))
        return stream.getvalue()

    index = b'{"format": 1, "city": "two", "stacks": {}}'
    for data, words in (
        (b"", "no archive"),
        (good[:-200], "no archive"),
        (archive(**{"index.json": b"["}), "no archive"),
        (archive(**{"index.json": b'{"format": 2}'}), "format 2"),
        (archive(**{"index.json": index}), "is of 'two'"),
        (archive(**{"one.entry.json": b"{}"}), "is damaged"),
        (archive(**{"one.entry.json": None}), "no file of it"),
        (archive(**{"index.json": b'{"format": 1, "city": "one", "stacks": {"../x": ""}}'}), "no archive"),
    ):
        (tmp_path / "bad.tar.gz").write_bytes(data)
        with pytest.raises(ConfigurationError) as refused:
            call("restore", "--file", "bad.tar.gz", "--yes")
        assert words in f"{refused.value.message} {refused.value.details}", words


def test_a_back_end_that_is_no_directory_is_said_to_be_none(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from wecityctl.engine.state.store_cli import CliStore
    from wecityctl.engine.workers.engine import cli_path

    remote = replace(backend, store=CliStore(cli_path(), "gs://bucket", {}, "passphrase"))
    monkeypatch.setattr(commands, "_backend", lambda path: remote)
    with pytest.raises(ConfigurationError, match="only Pulumi itself reaches"):
        call("list")


def test_what_was_put_aside_is_kept_as_often_as_updates_are(tmp_path: Path) -> None:
    files, stack = FileStore(tmp_path), "two.base.main"
    names = [f"2026112{day}T000000.000000Z.{stack}{end}" for day in range(4) for end in (".json", ".jsonl")]
    for name in [*names, f"20261120T000000.000000Z.{stack}x.json"]:
        write_private((files.root / layout.ASIDE) / name, b"{}")
    files.prune(stack, 2)
    assert sorted(path.name for path in (files.root / layout.ASIDE).iterdir()) == sorted(
        [*(name for name in names if name[7] in "23"), f"20261120T000000.000000Z.{stack}x.json"]
    )


def test_pulumi_s_attributes_of_the_state_before_do_not_stay(files: FileStore) -> None:
    """A plain `pulumi` that is killed leaves half of them, and then reads no state that lies beside."""
    place = place_of(files)
    attributes = place.with_name(f"{place.name}.attrs")
    attributes.write_bytes(b'{"user.')
    files.put(layout.state(ENTRY), place.read_bytes())
    assert place.is_file()
    assert not attributes.exists()
