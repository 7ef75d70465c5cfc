"""The cases that are files give just what lies beside them."""

from __future__ import annotations

import pytest

from tests.placement.cases import CASES, case_names, expected_file, outcome_of


@pytest.mark.parametrize("name", case_names())
def test_case_gives_its_outcome(name: str) -> None:
    assert outcome_of(name) == expected_file(name).read_text(encoding="utf-8")


def test_every_expectation_has_its_case() -> None:
    assert {path.stem for path in CASES.glob("*.expected")} == set(case_names())
