"""`wecityctl local` as its users call it; what needs no cloud first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wecityctl.cli.main import run
from wecityctl.errors import ExitCode


@pytest.fixture(autouse=True)
def _own_kubeconfig(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))


def test_without_a_cloud(state_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["local", "status"]) == ExitCode.OK
    assert "wecityctl local start" in capsys.readouterr().out
    for command in ("stop", "kubeconfig", "reset"):
        assert run(["local", command]) == ExitCode.CONFIGURATION
        assert "there is no embedded cloud" in capsys.readouterr().err
    assert run(["local", "status", "--name", "nowhere"]) == ExitCode.CONFIGURATION
    assert "nowhere" in capsys.readouterr().err


def test_a_bad_name(state_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["local", "start", "--name", "../x", "--nodes", "simulated"]) == ExitCode.CONFIGURATION
    assert "lower-case letters" in capsys.readouterr().err
    assert not any(state_home.iterdir())


@pytest.mark.cluster
def test_a_cloud_from_start_to_reset(
    state_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["local", "start", "--name", "lab", "--nodes", "simulated"]) == ExitCode.OK
    result = capsys.readouterr()
    assert "cloud lab started" in result.out
    assert "simulated nodes" in result.out
    assert "kube-apiserver is ready" in result.err

    assert run(["local", "start", "-o", "json"]) == ExitCode.OK
    document = json.loads(capsys.readouterr().out)
    assert document["format_version"]
    assert document["cloud"]["changed"] is False
    assert "PRIVATE" not in json.dumps(document)
    assert "kubeconfig" not in document["cloud"]

    assert run(["local", "status", "-o", "json"]) == ExitCode.OK
    (status,) = json.loads(capsys.readouterr().out)["clouds"]
    assert (status["name"], status["health"], status["simulated"]) == ("lab", "healthy", True)
    assert {"kube-apiserver", "kwok"} <= {each["name"] for each in status["services"]}
    assert run(["local", "status"]) == ExitCode.OK
    assert "cloud lab: healthy, simulated nodes" in capsys.readouterr().out

    assert run(["local", "kubeconfig"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["current-context"] == "wecity-lab"
    assert run(["local", "kubeconfig", "--merge"]) == ExitCode.OK
    assert "wecity-lab" in (tmp_path / "kubeconfig").read_text()
    assert run(["local", "kubeconfig", "--file", str(tmp_path / "copy")]) == ExitCode.OK
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600

    assert run(["local", "start", "--nodes", "real"]) == ExitCode.CONFIGURATION
    assert run(["local", "stop", "--name", "lab", "--all"]) == ExitCode.CONFIGURATION
    assert run(["local", "stop"]) == ExitCode.OK
    assert run(["local", "stop"]) == ExitCode.OK
    assert "does not run" in capsys.readouterr().out

    monkeypatch.setattr("sys.stdin", (tmp_path / "copy").open())
    assert run(["local", "reset"]) == ExitCode.CONFIGURATION
    assert run(["local", "reset", "--confirm", "other"]) == ExitCode.CONFIGURATION
    assert "--confirm=lab" in capsys.readouterr().err
    assert run(["local", "reset", "--confirm", "lab"]) == ExitCode.OK
    assert "wecity-lab" not in (tmp_path / "kubeconfig").read_text()
    assert run(["local", "status", "-o", "json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out.rpartition("cloud lab is gone\n")[2])["clouds"] == []
