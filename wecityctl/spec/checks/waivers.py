"""Checks that waivers name an existing rule that can be waived."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.errors import Problem
from wecityctl.guesses import nearest
from wecityctl.spec.checks.check import Check
from wecityctl.spec.parsed_city import ParsedCity


def rules_of_waivers(parsed_city: ParsedCity) -> Iterator[Problem]:
    """The rule exists and has no veto. A violation of a rule with a veto has to be fixed."""
    if not parsed_city.waivers:
        return
    # Imported late: the rules are many modules, and most cities have no waivers.
    from wecityctl.policy.rules import RULES

    rules = {rule.name: rule for rule in RULES}
    for waiver in parsed_city.waivers:
        name = waiver.value.rule
        path = ("spec", "rule")
        if name not in rules:
            expected = "one of those that `wecityctl policy list` shows"
            yield waiver.problem(path, f"there is no rule {name!r}", expected, nearest(name, tuple(rules)))
        elif rules[name].veto:
            yield waiver.problem(path, f"rule {name!r} has a veto and cannot be waived", "what it finds, mended")


CHECKS: tuple[Check, ...] = (rules_of_waivers,)
