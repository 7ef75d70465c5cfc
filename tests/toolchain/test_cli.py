"""`wecityctl engine`: results on stdout, progress on stderr, and a closed machine served from a bundle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.toolchain.helpers import put, sha256
from wecityctl.cli.engine import app
from wecityctl.errors import ConfigurationError
from wecityctl.toolchain import PartInstallError, PartMissingError, locate
from wecityctl.toolchain.catalogue import ETCD_VERSION
from wecityctl.toolchain.model import Platform

ETCD = f"#!/bin/sh\necho etcd Version: {ETCD_VERSION.removeprefix('v')}\n".encode()


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """A machine with nothing on it and no network."""
    for name, value in {
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PATH": "/nonexistent",
        "WECITYCTL_OFFLINE": "1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("WECITYCTL_BUNDLE", raising=False)
    monkeypatch.delenv("PULUMI_HOME", raising=False)
    return CliRunner()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    member = f"etcd/{ETCD_VERSION}/bin/etcd"
    put(tmp_path / "bundle" / member, ETCD)
    manifest = {
        "schema": 1,
        "platform": str(Platform.current()),
        "versions": {"etcd": ETCD_VERSION},
        "files": {member: {"sha256": sha256(ETCD), "size": len(ETCD)}},
    }
    put(tmp_path / "bundle" / "manifest.json", json.dumps(manifest).encode())
    return tmp_path / "bundle"


def test_status_of_an_empty_machine(runner: CliRunner) -> None:
    result = runner.invoke(app, ["status", "-o", "json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["format_version"]
    states = {each["part"]: each["state"] for each in document["parts"]}
    assert states["etcd"] == "missing" and "pulumi" in states and "kubernetes" in states


def test_install_from_a_bundle_then_status_then_bundle_again(runner: CliRunner, bundle: Path, tmp_path: Path) -> None:
    result = runner.invoke(app, ["install", "--bundle", str(bundle), "--part", "etcd", "-o", "json"])
    assert result.exit_code == 0, result.output
    [part] = json.loads(result.stdout)["parts"]
    assert (part["part"], part["state"], part["source"]) == ("etcd", "ok", "bundle")
    assert "ready" in result.stderr and "ready" not in result.stdout
    assert locate("etcd").read_bytes() == ETCD

    text = runner.invoke(app, ["status"])
    [line] = [line for line in text.stdout.splitlines() if line.startswith("etcd ")]
    assert "ok" in line and "bundle" in line and ETCD_VERSION in line

    again = runner.invoke(app, ["bundle", str(tmp_path / "copy.tar.gz")])
    assert again.exit_code == 0, again.output
    assert again.stdout.strip().endswith(": etcd")
    assert (tmp_path / "copy.tar.gz").is_file()


def test_the_bundle_of_the_environment_is_used(
    runner: CliRunner, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WECITYCTL_BUNDLE", str(bundle))
    assert runner.invoke(app, ["install", "--part", "etcd"]).exit_code == 0


def test_what_was_changed_after_installing_is_shown_and_mended(runner: CliRunner, bundle: Path) -> None:
    install = ["install", "--bundle", str(bundle), "--part", "etcd"]
    runner.invoke(app, install)
    put(locate("etcd"), ETCD.replace(b"echo", b"ECHO"))
    shown = runner.invoke(app, ["status", "-o", "json"])
    assert {each["part"]: each["state"] for each in json.loads(shown.stdout)["parts"]}["etcd"] == "corrupt"
    mended = runner.invoke(app, install)
    assert mended.exit_code == 0 and "another content" in mended.stderr
    assert locate("etcd").read_bytes() == ETCD


@pytest.mark.parametrize("spoil", ["manifest", "program", "platform", "gone"])
@pytest.mark.parametrize("by", ["option", "variable"])
def test_a_bundle_that_was_named_and_is_broken_is_an_error(
    runner: CliRunner, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: str, by: str
) -> None:
    # Where it could be had elsewhere: nothing may take its place unasked.
    put(tmp_path / "bin" / "etcd", ETCD)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    manifest = bundle / "manifest.json"
    if spoil == "manifest":
        put(manifest, manifest.read_bytes()[:40])
    elif spoil == "program":
        put(bundle / f"etcd/{ETCD_VERSION}/bin/etcd", ETCD + b"# tampered\n")
    elif spoil == "platform":
        put(manifest, manifest.read_bytes().replace(str(Platform.current()).encode(), b"plan9-mips"))
    else:
        bundle.rename(tmp_path / "elsewhere")
    if by == "variable":
        monkeypatch.setenv("WECITYCTL_BUNDLE", str(bundle))
    named = ["--bundle", str(bundle)] if by == "option" else []
    result = runner.invoke(app, ["install", "--part", "etcd", "--offline", *named])
    assert result.exit_code != 0
    assert isinstance(result.exception, PartInstallError)
    with pytest.raises(PartMissingError):
        locate("etcd")


def test_a_switch_that_says_neither_yes_nor_no_is_refused(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WECITYCTL_OFFLINE", "maybe")
    assert isinstance(runner.invoke(app, ["status"]).exception, ConfigurationError)


def test_a_failure_is_not_a_success(runner: CliRunner) -> None:
    result = runner.invoke(app, ["install", "--part", "pulumi", "--bundle", "/nonexistent/bundle"])
    assert result.exit_code != 0
    assert isinstance(result.exception, PartInstallError)
    assert "does not exist" in result.exception.details
