"""What is made of what an evaluator of rules says."""

from __future__ import annotations

from typing import Any

import pytest

from wecityctl.operations.alerts import unevaluated


def told(*healths: str) -> dict[str, Any]:
    """An answer about rules with these states, each in a group of its own."""
    groups = [{"name": "a", "rules": [{"health": item, "lastError": f"{item} 502"}]} for item in healths]
    return {"status": "success", "data": {"groups": groups}}


def test_alerts_of_before_are_not_taken_for_those_of_now() -> None:
    """The evaluator goes on telling what fired last, when the store of metrics does not answer it."""
    assert unevaluated(told("err", "err")) == "no rule is evaluated, so what is wrong now is not known: err 502"
    assert unevaluated(told("err", "ok")) == ""
    assert unevaluated(told()) == ""


@pytest.mark.parametrize("answer", [{}, {"data": None}, {"data": {"groups": [{}]}}, {"data": {"groups": ["a"]}}])
def test_another_answer_is_an_error(answer: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, AttributeError)):
        unevaluated(answer)
