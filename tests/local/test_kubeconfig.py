"""Kubeconfigs: what ours say, and that merging leaves the user's own entries alone."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import yaml

from wecityctl.errors import ConfigurationError
from wecityctl.local import kubeconfig
from wecityctl.local.pki import Pki

SERVER = "https://127.0.0.1:20001"
THEIRS = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "work", "cluster": {"server": "https://work.example"}}],
    "users": [{"name": "me", "user": {"token": "t"}}],
    "contexts": [{"name": "work", "context": {"cluster": "work", "user": "me"}}],
    "current-context": "work",
    "preferences": {"colors": True},
}


@pytest.fixture
def text(tmp_path: Path) -> str:
    return kubeconfig.write_admin(tmp_path / "admin", Pki(tmp_path / "pki", "lab"), SERVER, "lab")


def test_the_admins_kubeconfig(tmp_path: Path, text: str) -> None:
    value = yaml.safe_load(text)
    assert value == json.loads(text)
    assert value["current-context"] == "wecity-lab"
    assert value["clusters"][0]["cluster"]["server"] == SERVER
    assert b"PRIVATE KEY" in base64.b64decode(value["users"][0]["user"]["client-key-data"])
    assert (tmp_path / "admin").stat().st_mode & 0o777 == 0o600


def test_writing_the_same_again_touches_nothing(tmp_path: Path, text: str) -> None:
    before = (tmp_path / "admin").stat().st_mtime_ns, (tmp_path / "admin").stat().st_ino
    assert kubeconfig.write_admin(tmp_path / "admin", Pki(tmp_path / "pki", "lab"), SERVER, "lab") == text
    assert ((tmp_path / "admin").stat().st_mtime_ns, (tmp_path / "admin").stat().st_ino) == before


def test_merge_into_nothing(tmp_path: Path, text: str) -> None:
    target = tmp_path / "home" / ".kube" / "config"
    assert kubeconfig.merge(text, target) == "wecity-lab"
    assert yaml.safe_load(target.read_text())["current-context"] == "wecity-lab"
    assert target.stat().st_mode & 0o777 == 0o600


def test_merge_and_unmerge_leave_the_users_entries_alone(tmp_path: Path, text: str) -> None:
    target = tmp_path / "config"
    target.write_text(yaml.safe_dump(THEIRS))
    for _ in range(2):
        kubeconfig.merge(text, target)
    merged = yaml.safe_load(target.read_text())
    assert [each["name"] for each in merged["contexts"]] == ["work", "wecity-lab"]
    assert [each["name"] for each in merged["users"]] == ["me", "wecity-lab"]
    assert merged["current-context"] == "work"
    assert kubeconfig.unmerge("lab", target)
    assert yaml.safe_load(target.read_text()) == THEIRS
    assert not kubeconfig.unmerge("lab", target)


def test_merge_keeps_a_link_a_link(tmp_path: Path, text: str) -> None:
    (tmp_path / "dotfiles").mkdir()
    (tmp_path / "config").symlink_to(tmp_path / "dotfiles" / "kube")
    kubeconfig.merge(text, tmp_path / "config")
    assert (tmp_path / "config").is_symlink()
    assert "wecity-lab" in (tmp_path / "dotfiles" / "kube").read_text()


@pytest.mark.parametrize("content", ["a: [", "- a list", "clusters: yes", "clusters: [1]"])
def test_what_is_no_kubeconfig_is_not_overwritten(tmp_path: Path, text: str, content: str) -> None:
    target = tmp_path / "config"
    target.write_text(content)
    with pytest.raises(ConfigurationError):
        kubeconfig.merge(text, target)
    assert target.read_text() == content


def test_where_kubectl_would_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert kubeconfig.user_file({}) == tmp_path / ".kube" / "config"
    assert kubeconfig.user_file({"KUBECONFIG": ":/a:/b"}) == Path("/a")
