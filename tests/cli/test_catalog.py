"""`wecityctl catalog`: the types as a list, one by one, and as JSON."""

from __future__ import annotations

import json

import pytest

from wecityctl.cli.catalog import complete_type
from wecityctl.cli.main import run


def test_the_list_names_every_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["catalog", "list"]) == 0
    titles, *lines = capsys.readouterr().out.splitlines()
    assert titles.split() == ["PLATFORM", "TYPE", "TITLE", "USES"]
    assert [line.split()[:2] for line in lines] == sorted(line.split()[:2] for line in lines)
    assert {"gateway", "postgresql", "cache"} <= {line.split()[1] for line in lines}


def test_one_type_is_shown_with_its_binding(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["catalog", "show", "postgresql"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("postgresql: relational database 关系型数据库\n")
    assert "5432 postgresql" in text
    assert "database, username, password, uri" in text


def test_json_has_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["catalog", "show", "cache", "-o", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["type"]["workloads"]["medium"] == [
        {"name": "", "replicas": 1, "each_node": False, "cpu": "400m", "memory": "1024Mi", "storage": "1Gi"}
    ]
    assert document["type"]["binding"]["type"] == "redis"
    assert run(["catalog", "list", "-o", "json"]) == 0
    assert {item["name"] for item in json.loads(capsys.readouterr().out)["types"]} >= {"cache", "gateway"}


def test_an_unknown_type_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["catalog", "show", "postgres"]) == 2
    assert "did you mean 'postgresql'?" in capsys.readouterr().err


def test_names_are_completed() -> None:
    assert complete_type("ga") == ["gateway"]
