"""Every rule against whole cities, read, placed and recorded by the real programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.policy import object_cases
from tests.policy.city_cases import Case, cases, findings_of
from wecityctl.policy.rules import RULES

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.mark.parametrize("case", cases(), ids=str)
def test_case_gives_its_findings(case: Case) -> None:
    found = findings_of(case)
    assert found == case.expected
    assert case.passes or found, "a case that fails has findings"


@pytest.mark.parametrize("name", [rule.name for rule in RULES])
def test_every_rule_has_a_case_that_passes_and_one_that_fails(name: str) -> None:
    files = [case.path for case in cases() if case.rule == name]
    files += [case.path for case in object_cases.cases() if case.rule == name]
    kinds = {path.stem.split("-")[0] for path in files}
    assert {"pass", "fail"} <= kinds, f"tests/policy has {sorted(kinds)} for {name}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rule_is_a_module_with_a_paragraph_of_why(rule: object) -> None:
    name, why = rule.name, rule.why  # type: ignore[attr-defined]
    module = Path("wecityctl/policy/rules") / f"{name.replace('-', '_')}.py"
    assert (Path(__file__).parents[2] / module).is_file()
    assert 200 < len(why) < 1200
    assert "\n\n" not in why


def test_nothing_is_expected_of_cases_that_are_gone() -> None:
    known = {case.path for case in cases()}
    for path in {case.path.parent for case in cases()}:
        for file in path.iterdir():
            stem = file.name.removesuffix(".graph.yaml").removesuffix(".expected").removesuffix(".yaml")
            assert file.with_name(f"{stem}.yaml") in known, file
