"""The landing zone on Alibaba Cloud, as its own SDK would register it."""

from __future__ import annotations

from tests.landing import support
from tests.landing.support import EXCHANGE, EXTRANET, INTERNET


def test_three_zones_in_two_availability_zones() -> None:
    found = support.recorded(support.city(support.cloud("alicloud", INTERNET, EXTRANET, EXCHANGE)))
    assert support.unknown_inputs(found) == []
    support.check_snapshot("alicloud", found)
