"""Waivers whose last day is over: neither stacks nor clusters go on with them, and status says where they still do."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from tests.policy.object_cases import strict_city
from wecityctl.model.city import Waiver
from wecityctl.model.waivers import as_of
from wecityctl.policy.admission import lets_pass
from wecityctl.policy.rules import rule

LEGACY = Waiver("legacy", "privileged-pods", ("parks/legacy-*",), "a@x.example", "the supplier is late", "2027-01-01")
OTHER = replace(LEGACY, name="other", subjects=("parks/a|b", "Pod x.y/(z)"), expires="2026-01-01")
WIDE = replace(LEGACY, name="wide", subjects=("*",), expires="2026-06-30")


def test_a_waiver_holds_on_its_last_day_and_not_on_the_next() -> None:
    city = strict_city(waivers=(LEGACY, OTHER, WIDE))
    assert as_of(city, date(2026, 1, 1)) is city
    assert as_of(city, date(2026, 1, 2)).waivers == (LEGACY, WIDE)
    assert as_of(city, date(2027, 1, 2)).waivers == ()
    assert replace(as_of(city, date(2027, 1, 2)), waivers=city.waivers) == city


@pytest.mark.parametrize("held", [(), (LEGACY,), (OTHER,), (WIDE,), (LEGACY, OTHER), (LEGACY, OTHER, WIDE)])
def test_a_policy_tells_whose_waivers_it_follows(held: tuple[Waiver, ...]) -> None:
    admission = rule("privileged-pods").admission
    assert admission is not None
    policies = [
        item for item in admission(strict_city(waivers=held), {}) if item["kind"] == "ValidatingAdmissionPolicy"
    ]
    assert policies
    for waiver in (LEGACY, OTHER, WIDE):
        assert any(lets_pass(waiver, item) for item in policies) == (waiver in held), waiver.name
