"""Objects in a directory: what a file system adds – links, modes, no space, writers that were killed."""

from __future__ import annotations

import os
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wecityctl.errors import AuthenticationError, ConfigurationError, DeploymentError, WecityError
from wecityctl.objects import Objects, open_objects


@contextmanager
def mounted(root: Path, options: str) -> Iterator[None]:
    """A file system of its own at `root`; skips the test where none can be mounted."""
    root.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(root)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(root)], check=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def objects(root: Path) -> Objects:
    return open_objects(f"file://{root}")


def test_only_the_owner_can_read(root: Path, objects: Objects) -> None:
    before = os.umask(0)
    try:
        objects.put("a/b/put", b"1")
        objects.create("a/b/created", b"1")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*")) if path.is_dir()} == {0o700}


def test_reading_makes_nothing(root: Path, objects: Objects) -> None:
    assert (objects.get("a"), objects.list(), objects.list("x")) == (None, [], [])
    objects.delete("a")
    assert not root.exists()


def test_links_lead_nowhere(root: Path, objects: Objects, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"outside")
    objects.put("real/file", b"inside")
    (root / "directory").symlink_to(outside)
    (root / "link").symlink_to(outside / "file")
    for act in (
        lambda: objects.get("directory/file"),
        lambda: objects.get("link"),
        lambda: objects.put("directory/new", b""),
        lambda: objects.create("directory/new", b""),
        lambda: objects.delete("directory/file"),
        lambda: objects.list("directory"),
        lambda: objects.list(),
    ):
        with pytest.raises(DeploymentError, match="is a symbolic link"):
            act()
    assert not objects.create("link", b"")
    objects.put("link", b"replaced")
    assert (objects.get("link"), (outside / "file").read_bytes()) == (b"replaced", b"outside")
    assert [path.name for path in outside.iterdir()] == ["file"]


def test_incomplete_files_lie_outside_the_tree(root: Path, tmp_path: Path) -> None:
    (root / ".wecity").mkdir(parents=True)
    (root / "states").mkdir()
    old = root / "states/old.json"
    old.write_text("{}")
    os.utime(old, (time.time() - 7200,) * 2)
    for behind in (tmp_path, root / "states"):
        (root / ".wecity/partial").symlink_to(behind)
        with pytest.raises(DeploymentError, match="is a symbolic link"):
            open_objects(f"file://{root}").put("a", b"")
        (root / ".wecity/partial").unlink()
    assert old.exists()
    (root / ".wecity").rmdir()
    (tmp_path / "outside").mkdir()
    (root / ".wecity").symlink_to(tmp_path / "outside")
    with pytest.raises(DeploymentError, match="is a symbolic link"):
        open_objects(f"file://{root}").put("a", b"")
    assert not list((tmp_path / "outside").iterdir())


def test_a_key_that_is_created_and_deleted_at_once_is_there_or_not(objects: Objects) -> None:
    end = threading.Event()

    def delete() -> None:
        while not end.is_set():
            objects.delete("key")

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        assert {objects.create("key", b"data") for _ in range(300)} <= {True, False}
    finally:
        end.set()
        thread.join(30)


def test_a_tree_without_end_is_told(root: Path, objects: Objects) -> None:
    objects.put("a", b"")
    place = os.open(root, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=place)
        below = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = below
    os.close(place)
    with pytest.raises(DeploymentError, match="too deep"):
        objects.list()
    subprocess.run(["rm", "-rf", str(root / "d")], check=True)


def test_what_killed_writers_left_is_removed_in_time(root: Path, objects: Objects) -> None:
    objects.put("a", b"1")
    old, new = root / ".wecity/partial/old", root / ".wecity/partial/new"
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    objects.put("a", b"2")
    assert (old.exists(), new.exists()) == (False, True)
    assert [entry.key for entry in objects.list()] == ["a"]


@pytest.mark.parametrize("key", [".wecity/partial", ".wecity/partial/x", "a.attrs", "a.attrs/b"])
def test_reserved_names_are_no_keys(objects: Objects, key: str) -> None:
    with pytest.raises(WecityError, match="cannot be the key"):
        objects.put(key, b"")


def test_what_is_no_file_is_no_object(root: Path, objects: Objects) -> None:
    objects.put("a/b", b"1")
    os.mkfifo(root / "pipe")
    assert (objects.get("a"), objects.get("pipe"), objects.get("a/b/c")) == (None, None, None)
    assert [entry.key for entry in objects.list()] == ["a/b"]
    for key in ("a", "a/b/c"):
        with pytest.raises(DeploymentError, match=f"cannot write {key} in file://"):
            objects.put(key, b"")


def test_attributes_of_pulumi_go_with_their_object(root: Path, objects: Objects) -> None:
    objects.put("a", b"1")
    (root / "a.attrs").write_bytes(b"{}")
    assert [entry.key for entry in objects.list()] == ["a"]
    objects.put("a", b"2")
    assert not (root / "a.attrs").exists(), "they tell the size and digest of what was there before"
    (root / "a.attrs").write_bytes(b"{}")
    objects.delete("a")
    assert not (root / "a.attrs").exists()


def test_a_full_disk_leaves_what_was_there(root: Path, objects: Objects) -> None:
    with mounted(root, "size=256k"):
        objects.put("a", b"before")
        for act in (lambda: objects.put("a", bytes(1_000_000)), lambda: objects.create("b", bytes(1_000_000))):
            with pytest.raises(DeploymentError, match=r"cannot (write a|create b) in file://") as refused:
                act()
            assert "No space left" in refused.value.details and "free some space" in refused.value.resolution
        assert (objects.get("a"), objects.get("b")) == (b"before", None)
        assert list((root / ".wecity/partial").iterdir()) == []
        objects.put("a", b"after")
        assert objects.get("a") == b"after"


def test_a_directory_that_may_not_be_written_is_told(root: Path, objects: Objects) -> None:
    with mounted(root, "ro,size=64k"), pytest.raises(AuthenticationError, match="cannot write a in file://"):
        objects.put("a", b"")


@pytest.mark.parametrize("url", ["file://relative", "file:///a?b", "file:///a b", "file://"])
def test_urls_that_name_no_directory_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a directory's URL"):
        open_objects(url)
