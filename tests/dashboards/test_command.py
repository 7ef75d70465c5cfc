"""`wecityctl dashboards` where no cloud answers: what it lists, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.program import wecityctl

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
        (("--directory", "new", "--last", "60d"), 2, "is not a duration of at most 30 days"),
        (("--directory", "docs"), 2, "docs has files that are no page of these dashboards"),
        (("--directory", "README.md"), 2, "README.md is not a directory"),
        (("--directory", "new"), 4, "cloud main is not running"),
        (("--directory", "new", "--every", "5s"), 4, "cloud main is not running"),
    ],
)
def test_what_cannot_be_is_refused(words: tuple[str, ...], code: int, told: str, tmp_path: Path) -> None:
    done = wecityctl("dashboards", CITY, *words, home=tmp_path)
    assert (done.returncode, told in done.stderr) == (code, True), done.stderr
