"""`leftovers` and `secrets rotate` on a city that is not up: what they refuse and what they show."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.program import ROOT, wecityctl

CITY = ROOT / "examples" / "xingcheng"
PASSWORD = "binding/transport-bureau/bus-arrival/db"


def test_a_city_that_is_not_up_has_nothing_left_over(tmp_path: Path) -> None:
    done = wecityctl("leftovers", "list", CITY, "-o", "json", home=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["leftovers"]) == (0, [])
    assert "nothing is left over" in wecityctl("leftovers", "list", CITY, home=tmp_path).stderr


def test_deleting_takes_the_citys_name_and_a_name_of_something(tmp_path: Path) -> None:
    refused = wecityctl("leftovers", "delete", CITY, "postgresql/some_db", home=tmp_path)
    assert refused.returncode == 2
    assert "--confirm=xingcheng" in refused.stderr
    other = wecityctl("leftovers", "delete", CITY, "postgresql/some_db", "--confirm=other", home=tmp_path)
    assert "--confirm=other does not name this city" in other.stderr
    for flag in ("--preview", "--confirm=xingcheng"):
        unknown = wecityctl("leftovers", "delete", flag, CITY, "postgresql/some_db", home=tmp_path)
        assert unknown.returncode == 2
        assert "nothing that is left over has the name 'postgresql/some_db'" in unknown.stderr


def test_the_path_may_be_left_out(tmp_path: Path) -> None:
    refused = wecityctl("leftovers", "delete", "postgresql/a", "cache/b", home=tmp_path, cwd=CITY)
    assert "to be deleted: postgresql/a, cache/b" in refused.stderr
    assert PASSWORD in wecityctl("secrets", "rotate", PASSWORD, "--dry-run", home=tmp_path, cwd=CITY).stdout


def test_a_dry_run_shows_which_passwords_would_be_replaced(tmp_path: Path) -> None:
    done = wecityctl("secrets", "rotate", CITY, "--app", "transport-bureau/bus-arrival", "--dry-run", home=tmp_path)
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        PASSWORD, "binding/transport-bureau/bus-arrival/arrivals"
    ]  # fmt: skip
    assert "nothing was replaced" in done.stderr
    assert wecityctl("secrets", "rotate", CITY, home=tmp_path).returncode == 2
