"""A cloud's state file, its lock and its runtime directory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from wecityctl.clusters.embedded import open_embedded
from wecityctl.errors import ConfigurationError, TimedOutError
from wecityctl.local import assembly, store
from wecityctl.local.proctable import Identity
from wecityctl.local.spec import CloudSpec, ImageRef, PoolSpec, check_name, silent
from wecityctl.local.store import StateError, Store
from wecityctl.local.supervisor import client
from wecityctl.operations.destroy import stop_clouds
from wecityctl.session import open_session

BASE = (Path(__file__).parents[1] / "spec" / "valid" / "base.yaml").read_text(encoding="utf-8")

SPEC = CloudSpec(
    "lab",
    "simulated",
    ("internet", "extranet"),
    (
        PoolSpec("general", zones=("internet",), labels=MappingProxyType({"a.example/b": "c"})),
        PoolSpec("gpu", "arm64", 2, accelerators=MappingProxyType({"nvidia.com/gpu": 8})),
    ),
    (ImageRef("x/y:1", Path("/somewhere")),),
)


def test_state_survives_the_file(state_home: Path) -> None:
    place = Store.of("lab")
    place.create()
    state = replace(store.new_state(SPEC), ports={"api": 20001}, server="https://127.0.0.1:20001", network="text")
    place.save(state)
    loaded = place.load()
    assert loaded == state
    assert loaded is not None
    assert loaded.spec.images == ()
    assert (place.directory / "cloud.json").stat().st_mode & 0o777 == 0o600
    assert store.names() == ("lab",)


def test_a_cloud_is_one_citys_alone(state_home: Path, tmp_path: Path) -> None:
    """City `red-qin` with cloud `main` and city `red` with cloud `qin-main`: neither stops or resets the other's."""
    place = Store.of("red-qin-main")
    place.create()
    spec = replace(SPEC, name="red-qin-main", owner="cloud main of city red-qin")
    place.save(store.new_state(spec))
    before = (place.directory / "cloud.json").read_bytes()
    file = tmp_path / "city.yaml"
    file.write_text(BASE.replace("testcity", "red").replace("{name: main}", "{name: qin-main}"))
    session = open_session(file)
    for act in (
        lambda: stop_clouds(session, delete_data=True),
        lambda: stop_clouds(session, delete_data=False),
        lambda: open_embedded(session.city, session.city.clouds[0], session.catalogue, lambda _: None, start=False),
        lambda: assembly.prepare(replace(spec, owner="cloud qin-main of city red"), silent, runs=False),
    ):
        with pytest.raises(ConfigurationError, match=r"red-qin-main is cloud main of city red-qin, and not cloud qin"):
            act()
    assert (place.directory / "cloud.json").read_bytes() == before
    assert assembly.prepare(replace(spec, owner=""), silent, runs=False).state.spec.owner == spec.owner


def test_each_cloud_has_an_id_of_its_own() -> None:
    assert store.new_state(SPEC).cloud_id != store.new_state(SPEC).cloud_id


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format_version": 1}', '{"format_version": 99}'])
def test_a_damaged_or_newer_state_says_so(state_home: Path, text: str) -> None:
    place = Store.of("lab")
    place.create()
    (place.directory / "cloud.json").write_text(text)
    with pytest.raises(StateError) as caught:
        place.load()
    assert "reset" in caught.value.resolution


def test_no_cloud_is_none(state_home: Path) -> None:
    assert Store.of("lab").load() is None
    assert store.names() == ()


@pytest.mark.parametrize("name", ["", "A", "a b", "../x", "-a", "a.", "x" * 64, "a/b"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(ConfigurationError):
        check_name(name)


def test_the_lock_keeps_another_process_out_and_goes_with_its_holder(state_home: Path) -> None:
    script = (
        "import sys, time; from wecityctl.local.store import Store\n"
        "with Store.of('lab').lock(5): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        waited: list[bool] = []
        with pytest.raises(TimedOutError), Store.of("lab").lock(0.3, lambda: waited.append(True)):
            pass
        assert waited == [True]
        with Store.of("other").lock(0.1):
            pass
        holder.kill()
    with Store.of("lab").lock(1.0):
        pass


def test_the_runtime_directory_is_short_and_private(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-long-name"] * 20)
    path = store.run_dir(deep)
    assert len(str(path / "containerd" / "containerd.sock.ttrpc")) < 100
    assert path.stat().st_mode & 0o777 == 0o700
    assert store.run_dir(deep) == path
    other = store.run_dir(deep / "other")
    assert other != path
    path.rmdir()
    other.rmdir()


def test_a_runtime_directory_that_somebody_put_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_run_base", lambda: tmp_path / "base")
    digest = store.run_dir(tmp_path / "cloud").name
    (tmp_path / "base" / digest).rmdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "base" / digest).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError):
        store.run_dir(tmp_path / "cloud")


def test_state_has_no_secret(state_home: Path) -> None:
    text = json.dumps(store.new_state(SPEC).to_json())
    assert "PRIVATE" not in text
    assert str(os.getpid()) not in json.loads(text)


def test_a_copy_is_told_and_a_moved_cloud_is_not(
    state_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Store.of("lab")
    original.create()
    original.save(store.new_state(SPEC))
    original.require_own()
    elsewhere = tmp_path / "copied"
    shutil.copytree(state_home, elsewhere)
    monkeypatch.setenv("XDG_STATE_HOME", str(elsewhere))
    copy = Store.of("lab")
    assert copy.directory != original.directory
    with pytest.raises(ConfigurationError, match="is a copy of the one in") as caught:
        copy.require_own()
    assert str(original.directory) in caught.value.message
    assert f"XDG_STATE_HOME={state_home}" in caught.value.resolution
    # The original was another cloud all along, then gone: nothing speaks against working here.
    original.save(store.new_state(SPEC))
    copy.require_own()
    shutil.rmtree(original.directory)
    copy.require_own()
    # The same directory under another path is no copy.
    link = tmp_path / "linked"
    link.symlink_to(elsewhere)
    copy.save(store.new_state(SPEC))
    monkeypatch.setenv("XDG_STATE_HOME", str(link))
    Store.of("lab").require_own()


def test_the_supervisor_of_the_original_is_none_of_a_copy(tmp_path: Path) -> None:
    original, copy = tmp_path / "a", tmp_path / "b"
    original.mkdir()
    own = Identity.of(os.getpid()).to_json()
    record = {"supervisor": own, "run": str(tmp_path), "directory": str(original), "children": {}}
    (original / "supervisor.json").write_text(json.dumps(record))
    shutil.copytree(original, copy)
    found = client.find(original)
    assert found is not None
    assert found.alive
    assert client.find(copy) is None
    original.rename(tmp_path / "moved")
    moved = client.find(tmp_path / "moved")
    assert moved is not None
    assert moved.alive
