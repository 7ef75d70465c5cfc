"""The tables of layers are those that import-linter holds, and operations print and end nothing."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPERATIONS = sorted((ROOT / "wecityctl" / "operations").rglob("*.py"))


@pytest.mark.parametrize(
    ("head", "containers"),
    [("| layer |", []), ("| package of `engine` |", ["wecityctl.engine"])],
    ids=["all", "engine"],
)
def test_the_table_of_layers_is_that_of_import_linter(head: str, containers: list[str]) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [
        contract["layers"]
        for contract in contracts
        if contract["type"] == "layers" and contract.get("containers", []) == containers
    ]
    held = [[name.strip().removeprefix("wecityctl.") for name in layer.split("|")] for layer in layers]
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    table = text[text.index(head) :].partition("\n\n")[0].splitlines()[2:]
    assert [re.findall(r"`(\w+)`", row.split("|")[1]) for row in table] == held


@pytest.mark.parametrize("file", OPERATIONS, ids=lambda file: str(file.relative_to(ROOT)))
def test_an_operation_prints_nothing_and_ends_no_process(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute | ast.Name)}
    assert not names & {"print", "input", "exit", "sys.exit", "os._exit", "sys.stdout", "sys.stderr", "sys.stdin"}
