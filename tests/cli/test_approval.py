"""Changes need approval, and a reader of the output that goes away stops no run and ends everything else quietly."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.program import ROOT, wecityctl
from wecityctl.cli._approval import require_can_ask
from wecityctl.errors import ConfigurationError

pytestmark = pytest.mark.program
SIGPIPE = 141
CITY = "examples/xingcheng"


@pytest.mark.parametrize("arguments", [["--confirm=xingcheng"], ["-o", "json"]])
def test_up_without_a_terminal_is_refused_without_yes(arguments: list[str], tmp_path: Path) -> None:
    done = wecityctl("up", CITY, *arguments, home=tmp_path)
    assert done.returncode == 2
    assert "error: bringing xingcheng up needs approval" in done.stderr
    assert "--yes" in done.stderr
    if "json" in arguments:
        assert json.loads(done.stdout)["error"]["exit_code"] == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [[], ["--delete-data", "--only", "base"]])
def test_destroy_is_refused_without_the_citys_name(arguments: list[str], tmp_path: Path) -> None:
    done = wecityctl("destroy", CITY, *arguments, home=tmp_path)
    assert done.returncode == 2
    assert "--confirm=xingcheng" in done.stderr
    assert list(tmp_path.iterdir()) == []


def without_reader(*arguments: str, home: Path, errors_too: bool = False) -> tuple[int, str]:
    """The exit code, and what comes on stderr, of the program whose stdout (and stderr) nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-c", "from wecityctl.cli.main import main; main()", *arguments],
            stdout=writing,
            stderr=writing if errors_too else subprocess.PIPE,
            text=True,
            timeout=120,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": str(home)},
            check=False,
        )
    finally:
        os.close(writing)
    return done.returncode, done.stderr or ""


@pytest.mark.parametrize(
    "command",
    ["--help", "schema", "policy list", "policy list -o json", "engine status"],
)
def test_a_reader_that_goes_away_ends_a_command_quietly(command: str, tmp_path: Path) -> None:
    assert without_reader(*command.split(), home=tmp_path) == (SIGPIPE, "")


@pytest.mark.parametrize(("output", "errors_too"), [("text", True), ("json", False)])
def test_a_reader_that_goes_away_does_not_stop_a_run(output: str, errors_too: bool, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    arguments = ("preview", "examples/adopt", "--offline", "-o", output, "--report-file", str(report))
    code, errors = without_reader(*arguments, home=tmp_path, errors_too=errors_too)
    assert code == 0
    assert "Traceback" not in errors and "error" not in errors
    assert json.loads(report.read_text(encoding="utf-8"))["exit_code"] == 0


def test_an_error_that_nobody_reads_keeps_its_exit_code(tmp_path: Path) -> None:
    assert without_reader("validate", "/nowhere", home=tmp_path, errors_too=True)[0] == 2
    assert without_reader("preview", "/nowhere", "-o", "json", home=tmp_path)[0] == 2


def test_each_refusal_names_what_shows_its_own_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `preview` shows nothing of locks, or of states that are put in another place."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    for look, expected in (("", "add --yes"), ("move --dry-run", "see with `move --dry-run` what would be done, ")):
        with pytest.raises(ConfigurationError) as caught:
            require_can_ask("moving", look=look)
        assert caught.value.resolution.startswith(expected)
    assert "see with `wecityctl preview`" in wecityctl("up", CITY, home=tmp_path).stderr
