"""Shares of a quota: each namespace can hold its apps, and update them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.stacks.cities import WEB, app
from wecityctl.model.city import App, Quota, Resources
from wecityctl.model.quantity import format_bytes, format_cpu, parse_quantity
from wecityctl.model.shares import demand_of, need_of, share_quota, surge_of


def sized(name: str, cpu: str, replicas: int = 1, **changes: Any) -> App:
    return app(name, components=(replace(WEB, replicas=replicas, resources=Resources(cpu, "64Mi")),), **changes)


def test_an_only_replica_needs_room_for_a_second_one() -> None:
    single, several = sized("a", "300m"), sized("b", "500m", replicas=2)
    assert (surge_of(single).cpu, surge_of(several).cpu) == (Decimal("0.3"), 0)
    assert need_of([single, several]).cpu == Decimal("1.6")
    assert need_of([sized("c", "300m", stage="suspended")]).cpu == Decimal("0.3")
    assert need_of([]) == demand_of(sized("d", "1", stage="draft"))


@pytest.mark.parametrize("cpus", [("100m", "7m"), ("1", "333m"), ("50m", "50m", "1999m")])
def test_a_quota_that_just_suffices_does_so_in_every_namespace(cpus: tuple[str, ...]) -> None:
    places = {f"zone-{number}": [sized(f"a{number}", cpu)] for number, cpu in enumerate(cpus)}
    needs = {place: need_of(apps) for place, apps in places.items()}
    total_cpu = sum((need.cpu for need in needs.values()), Decimal(0))
    total_memory = sum((need.memory for need in needs.values()), Decimal(0))
    shares = share_quota(Quota(format_cpu(total_cpu), format_bytes(total_memory), "1Gi"), places)
    for place, need in needs.items():
        assert parse_quantity(shares[place].cpu) == need.cpu
        assert parse_quantity(shares[place].memory) == need.memory
