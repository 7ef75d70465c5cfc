"""`wecityctl place`: text, JSON and a conflict."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest

from tests.cli.program import ROOT, wecityctl

pytestmark = pytest.mark.program

CASES = ROOT / "tests" / "placement" / "cases"


def test_where_everything_goes() -> None:
    done = wecityctl("place", "cheapest.yaml", "--offline", cwd=CASES)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["WHAT", "CLOUD", "POOLS", "COST/H", "WHY"]
    assert lines[1][:5] == ["capability", "cache", "b", "–", "0.01"]
    assert lines[-1] == ["0.02", "CNY", "an", "hour,", "optimal"]


def test_the_explanation_names_the_constraint_and_its_place() -> None:
    done = wecityctl("place", "zone.yaml", "--offline", "--explain", cwd=CASES)
    assert "  not a (zone): lies in zone extranet, which cloud b alone serves  [zone.yaml:44:9]" in done.stdout


def test_json_has_every_refusal_as_data() -> None:
    found = json.loads(wecityctl("place", "zone.yaml", "--offline", "-o", "json", cwd=CASES).stdout)
    assert (found["format_version"], found["city"], found["gap"], found["moves"]) == ("1.0", "testcity", 0.0, [])
    app = next(item for item in found["decisions"] if item["subject"] == "app transport/bus")
    assert (app["cloud"], app["refused"][0]["cloud"], app["refused"][0]["kind"]) == ("b", "a", "zone")
    assert app["refused"][0]["constraints"][0]["place"] == "zone.yaml:44:9"


def test_a_conflict_ends_with_2_and_has_places() -> None:
    done = wecityctl("place", "conflict-pin-and-domestic.yaml", "--offline", cwd=CASES)
    assert (done.returncode, done.stdout) == (2, "")
    assert "conflict-pin-and-domestic.yaml:64:10: app transport/records is pinned to cloud a" in done.stderr
    for command in ("place", "graph"):
        done = wecityctl(command, "conflict-pin-and-domestic.yaml", "-o", "json", cwd=CASES)
        assert done.returncode == 2
        error = json.loads(done.stdout)["error"]
        assert [item["kind"] for item in error["conflict"]] == ["domestic", "pin"]
        assert error["conflict"][1]["place"] == "conflict-pin-and-domestic.yaml:64:10"


def test_a_cloud_without_prices_is_not_in_the_sum(tmp_path: Path) -> None:
    text = (CASES / "zone.yaml").read_text(encoding="utf-8")
    dear, _, rest = text.partition("metadata: {name: b}")
    without = re.sub(r"\n  prices: .*", "", rest, count=1)
    assert without != rest
    (tmp_path / "city.yaml").write_text(f"{dear}metadata: {{name: b}}{without}", encoding="utf-8")
    found = json.loads(wecityctl("place", "city.yaml", "--offline", "-o", "json", cwd=tmp_path).stdout)
    own = [Decimal(item["cost_per_hour"]) for item in found["decisions"] if item["cost_per_hour"] is not None]
    assert own
    assert len(own) < len(found["decisions"])
    assert Decimal(found["cost_per_hour"]) == sum(own)
    assert found["unpriced_clouds"] == ["b"]
    assert Decimal(found["assumed_cost_per_hour"]) > 0
    last = wecityctl("place", "city.yaml", "--offline", cwd=tmp_path).stdout.splitlines()[-1]
    assert last.endswith(" CNY an hour without the 1 on cloud b, for which no prices are known, optimal")
