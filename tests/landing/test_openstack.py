"""The landing zone on OpenStack, as its own SDK would register it."""

from __future__ import annotations

from tests.landing import support
from tests.landing.support import EXCHANGE, EXTRANET, INTERNET


def test_three_zones() -> None:
    found = support.recorded(support.city(support.cloud("openstack", INTERNET, EXTRANET, EXCHANGE)))
    assert support.unknown_inputs(found) == []
    support.check_snapshot("openstack", found)
