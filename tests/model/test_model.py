"""Names, quantities, shares, placement and the plan: pure functions of the files."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stacks.catalogue import load_catalogue
from tests.stacks.cities import app, application, city, full_city
from wecityctl.errors import ConfigurationError
from wecityctl.model import naming
from wecityctl.model.city import App, Capability, Cloud, Quota, Use
from wecityctl.model.quantity import format_bytes, format_cpu, parse_quantity, rounded_bytes
from wecityctl.model.shares import share_quota
from wecityctl.placement import place
from wecityctl.plan import Plan, make_plan

LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
names = st.from_regex(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


def plan_of(*apps: App) -> Plan:
    return make_plan(city(*apps), load_catalogue())


@given(names, names)
def test_namespaces_are_labels_whatever_the_names(tenant: str, zone: str) -> None:
    name = naming.tenant_namespace(tenant, zone)
    assert len(name) <= 63
    assert LABEL.match(name)


@given(names, names, names)
def test_database_names_fit_postgresql(tenant: str, name: str, alias: str) -> None:
    database = naming.account_name("_", tenant, name, alias)
    assert len(database) <= 63
    assert re.fullmatch(r"[a-z0-9_]+", database)


@given(st.lists(names, min_size=2, max_size=2, unique=True))
def test_long_names_stay_apart(pair: list[str]) -> None:
    cut = {naming.fit("x" * 60 + name, 40) for name in pair}
    assert len(cut) == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [("500m", "0.5"), ("2", "2"), ("1.5Gi", "1610612736"), ("1e3", "1000"), ("64k", "64000"), ("100n", "0.0000001")],
)
def test_quantities(text: str, value: str) -> None:
    assert parse_quantity(text) == Decimal(value)


@pytest.mark.parametrize("text", ["4 GB", "4GB", "", "Gi", "1,5", "0x10", "1KiB", "--1"])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="512Mi"):
        parse_quantity(text)


@given(st.integers(0, 10**15))
def test_bytes_come_back(count: int) -> None:
    assert parse_quantity(format_bytes(Decimal(count))) == count


@pytest.mark.parametrize(
    ("count", "shown"),
    [(549768088177152, "501Ti"), (12416 * 1024**2, "12416Mi"), (10**9, "954Mi"), (99, "99"), (2**40, "1Ti")],
)
def test_bytes_for_people_are_never_less_than_they_are(count: int, shown: str) -> None:
    assert rounded_bytes(Decimal(count)) == shown
    assert parse_quantity(shown) >= count


@given(st.integers(0, 10**9))
def test_millicores_come_back(milli: int) -> None:
    assert parse_quantity(format_cpu(Decimal(milli) / 1000)) * 1000 == milli


@given(
    st.dictionaries(names, st.lists(st.integers(1, 5), max_size=3), min_size=1, max_size=5),
    st.integers(1, 10**6),
    st.integers(1, 10**13),
)
def test_shares_add_up_to_the_whole(places: dict[str, list[int]], milli: int, size: int) -> None:
    demands = {
        place: [replace(app("a"), components=(replace(app("a").components[0], replicas=count),)) for count in counts]
        for place, counts in places.items()
    }
    shares = share_quota(Quota(f"{milli}m", str(size), str(size)), demands)
    assert sum(parse_quantity(share.cpu) for share in shares.values()) * 1000 == milli
    assert sum(parse_quantity(share.memory) for share in shares.values()) == size
    assert all(parse_quantity(share.cpu) >= 0 for share in shares.values())


def test_a_second_cloud_renames_nothing() -> None:
    whole = full_city()
    first = {stack.name for stack in make_plan(whole, load_catalogue()).stacks}
    wider = replace(whole, clouds=(*whole.clouds, Cloud("second", "local", ("internet",))))
    assert first <= {stack.name for stack in make_plan(wider, load_catalogue()).stacks}


def test_each_stack_comes_after_what_it_needs() -> None:
    seen: set[str] = set()
    for stack in make_plan(full_city(), load_catalogue()).stacks:
        assert seen.issuperset(stack.depends_on), stack.name
        seen.add(stack.name)


def test_only_takes_what_is_needed_along() -> None:
    plan = plan_of(app("code", uses=(Use("postgresql", "db"),)), app("bus", tenant="transport", route=None))
    chosen = [stack.name for stack in plan.only(["transport"]).stacks]
    assert chosen == ["xc.secrets", "xc.base.main", "xc.tenant.transport.main"]


def test_a_routed_app_stands_on_the_gateway_that_may_reach_it() -> None:
    plan = plan_of(app("bus", tenant="transport"))
    assert "xc.platform.application.main" in plan.stack("xc.tenant.transport.main").depends_on


def test_needing_takes_what_stands_on_it_along() -> None:
    plan = plan_of(app("code", uses=(Use("postgresql", "db"),)), app("bus", tenant="transport", route=None))
    chosen = [stack.name for stack in plan.needing(["application"]).stacks]
    assert chosen == ["xc.platform.application.main", "xc.tenant.health.main", "xc.entry"]


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no stack matches 'helth'") as refused:
        plan_of(app("code")).only(["helth"])
    assert refused.value.resolution == "did you mean 'health'?"


def test_a_pin_wins_and_a_zone_nobody_serves_is_refused() -> None:
    second = Cloud("second", "local", ("internet", "extranet"))
    pinned = application(Capability("application", "archive", "postgresql", cloud="second"))
    whole = city(app("code"), platforms=(pinned,))
    whole = replace(whole, clouds=(*whole.clouds, second))
    assert place(whole, load_catalogue()).capabilities["archive"] == "second"
    with pytest.raises(ConfigurationError, match="cannot be placed") as caught:
        place(city(app("code", zone="moon")), load_catalogue())
    assert "app health/code lies in zone moon, which no cloud serves" in caught.value.details


def test_generated_secrets_are_those_of_bindings_and_administrators() -> None:
    plan = plan_of(app("code", uses=(Use("postgresql", "db"),)))
    # What issues the servers' certificates is known to whoever connects.
    assert plan.stack("xc.tenant.health.main").secrets == ("binding/health/code/db", "service/authority")
    assert "capability/postgresql/admin" in plan.stack("xc.platform.application.main").secrets
