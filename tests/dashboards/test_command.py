"""`wecityctl dashboards` where no cloud answers: what it lists, what it refuses, and what stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.cli.program import wecityctl
from wecityctl.cli import dashboards as command
from wecityctl.errors import ConfigurationError, NoSuchStackError
from wecityctl.operations import dashboards as operation

CITY = "examples/xingcheng-operations"


def test_the_list_needs_no_cloud(tmp_path: Path) -> None:
    done = wecityctl("dashboards", CITY, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "capability  vault" in done.stdout
    found = json.loads(wecityctl("dashboards", CITY, "trees", "-o", "json", home=tmp_path).stdout)
    (board,) = found["dashboards"]
    assert (board["kind"], board["name"], board["clouds"]) == ("app", "parks-bureau/trees", ["main"])
    assert {"title": "Memory and limit", "unit": "bytes"}.items() <= board["panels"][3].items()
    assert found["unknown"] == {}


def test_a_city_without_metrics_has_nothing_to_show(tmp_path: Path) -> None:
    assert "cloud main: it has no capability metrics" in wecityctl("dashboards", "examples/xingcheng").stderr
    done = wecityctl("dashboards", "examples/xingcheng", "--directory", tmp_path / "new", home=tmp_path)
    assert done.returncode == 2 and "there is no capability metrics on main" in done.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("metrix",), 2, "did you mean 'metrics'?"),
        (("--last", "5m"), 2, "--last and --every are for pages"),
        (("--directory", "new", "--every", "1s"), 2, "--every is at least 5s"),
        (("--directory", "new", "--last", "60d"), 2, "is not a duration from 1s to 30 days"),
        (("--directory", "docs"), 2, "docs has files that are no page of these dashboards"),
        (("--directory", "README.md"), 2, "README.md is not a directory"),
        (("--directory", "new"), 4, "cloud main is not running"),
        (("--directory", "new", "--every", "5s"), 4, "cloud main is not running"),
    ],
)
def test_what_cannot_be_is_refused(words: tuple[str, ...], code: int, told: str, tmp_path: Path) -> None:
    done = wecityctl("dashboards", CITY, *words, home=tmp_path)
    assert (done.returncode, told in done.stderr) == (code, True), done.stderr


def test_pages_stay_while_the_store_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / operation.FIRST
    turns = iter(
        [
            operation.Written((page,), {}),
            NoSuchStackError("capability metrics has no pod that is ready"),
            operation.Written((page,), {}),
            ConfigurationError("the end of the test"),
        ]
    )

    def write(*arguments: object, **options: object) -> operation.Written:
        turn = next(turns)
        if isinstance(turn, Exception):
            raise turn
        page.write_text("a page")
        return turn

    monkeypatch.setattr(operation, "write_dashboards", write)
    monkeypatch.setattr(command.time, "sleep", lambda seconds: None)
    ended = CliRunner().invoke(command.app, [CITY, "--directory", str(tmp_path), "--every", "5s"])
    assert isinstance(ended.exception, ConfigurationError)
    assert "not written this time: capability metrics has no pod that is ready" in ended.output
    assert ended.output.count("1 page written") == 2
