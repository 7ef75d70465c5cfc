"""Certificates of entry points and shared capabilities: who is trusted with what, and when they are made again."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from stacks.catalogue import load_catalogue
from tests.stacks.cities import app, city, full_city
from wecityctl.engine.secrets.certificate_names import names_digest
from wecityctl.engine.secrets.certificates import (
    AUTHORITY_RENEWED_BEFORE,
    AUTHORITY_VALID,
    PRIVATE_AUTHORITY,
    PRIVATE_SERVICE_AUTHORITY,
    RENEWED_BEFORE,
    VALID,
    renewed,
    require_readable,
)
from wecityctl.errors import ConfigurationError
from wecityctl.model.city import Entry, EntryTLS, Platform, Route
from wecityctl.model.entries import AUTHORITY_KEY
from wecityctl.model.service_tls import SERVICE_AUTHORITY_KEY, app_certificate_key
from wecityctl.plan import Plan, make_plan

NOW = datetime(2026, 11, 26, tzinfo=UTC)
KEY, INNER = "entry/gateway/tls", "entry/gateway-extranet/tls"
DATABASE, CACHE = "service/postgresql/tls", "service/cache/tls"
SERVICE = "postgresql.platform-application.svc"
ENTRIES = {PRIVATE_AUTHORITY, AUTHORITY_KEY, KEY, INNER}
SERVICES = {PRIVATE_SERVICE_AUTHORITY, SERVICE_AUTHORITY_KEY, DATABASE, CACHE}
DAY = timedelta(days=1)


def plan_of(whole: object = None) -> Plan:
    return make_plan(whole or full_city(), load_catalogue())  # type: ignore[arg-type]


def verify(authority: str, chain: str, host: str, now: datetime) -> None:
    """Raise `VerificationError` where a client that trusts `authority` would."""
    store = Store(x509.load_pem_x509_certificates(authority.encode()))
    leaf, *others = x509.load_pem_x509_certificates(chain.encode())
    name = x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
    PolicyBuilder().store(store).time(now).build_server_verifier(name).verify(leaf, others)


def test_what_is_issued_is_trusted_for_the_citys_hosts_and_no_others() -> None:
    values = renewed(plan_of(), {}, NOW)
    assert set(values) == ENTRIES | SERVICES
    assert "PRIVATE" not in values[AUTHORITY_KEY]
    for host in ("xc.example", "code.xc.example", "anything.xc.example"):
        verify(values[AUTHORITY_KEY], values[KEY], host, NOW)
    for host in ("xc.example.org", "a.b.xc.example"):
        with pytest.raises(VerificationError):
            verify(values[AUTHORITY_KEY], values[KEY], host, NOW)
    keys = {text.partition("-----BEGIN CERTIFICATE")[0] for text in (values[KEY], values[INNER])}
    assert len(keys) == 2


def test_nothing_is_due_until_the_last_third() -> None:
    plan = plan_of()
    values = renewed(plan, {}, NOW)
    assert renewed(plan, values, NOW) == {}
    assert renewed(plan, values, NOW + VALID - RENEWED_BEFORE - DAY) == {}
    later = renewed(plan, values, NOW + VALID - RENEWED_BEFORE + DAY)
    assert set(later) == {KEY, INNER, DATABASE, CACHE}
    verify(values[AUTHORITY_KEY], later[KEY], "code.xc.example", NOW + VALID)


def test_a_host_below_another_is_in_the_certificate() -> None:
    values = renewed(plan_of(city(app("code"))), {}, NOW)
    deep = plan_of(city(app("code"), app("desk", route=Route("desk.code"))))
    found = renewed(deep, values, NOW)
    assert set(found) == {KEY}
    verify(values[AUTHORITY_KEY], found[KEY], "desk.code.xc.example", NOW)


def test_what_cannot_be_read_or_is_somebody_elses_is_made_again() -> None:
    plan = plan_of()
    values = renewed(plan, {}, NOW)
    other = renewed(plan, {}, NOW)
    assert set(renewed(plan, {**values, KEY: "no certificate"}, NOW)) == {KEY}
    assert set(renewed(plan, {**values, KEY: other[KEY]}, NOW)) == {KEY}
    assert set(renewed(plan, {**values, AUTHORITY_KEY: other[AUTHORITY_KEY]}, NOW)) == {AUTHORITY_KEY}


def test_a_new_authority_is_trusted_by_those_who_know_the_old_one() -> None:
    plan = plan_of()
    values = renewed(plan, {}, NOW)
    later = NOW + AUTHORITY_VALID - AUTHORITY_RENEWED_BEFORE + DAY
    values |= renewed(plan, values, later - 2 * DAY)
    found = renewed(plan, values, later)
    assert set(found) == ENTRIES | SERVICES
    old, both = values[AUTHORITY_KEY], found[AUTHORITY_KEY]
    assert both.endswith(old)
    new = both.removesuffix(old)
    for trusted in (old, new, both):
        verify(trusted, found[KEY], "code.xc.example", later)
    assert renewed(plan, {**values, **found}, later) == {}


def test_a_capability_is_trusted_for_the_names_of_its_service_by_another_authority_than_pages() -> None:
    plan = plan_of()
    values = renewed(plan, {}, NOW)
    roots = values[SERVICE_AUTHORITY_KEY]
    assert "PRIVATE" not in roots
    for host in (SERVICE, f"{SERVICE}.cluster.local"):
        verify(roots, values[DATABASE], host, NOW)
        for trusted, chain in ((roots, values[CACHE]), (values[AUTHORITY_KEY], values[DATABASE])):
            with pytest.raises(VerificationError):
                verify(trusted, chain, host, NOW)
    with pytest.raises(VerificationError):
        verify(roots, values[KEY], "code.xc.example", NOW)


def test_an_address_at_which_other_clouds_find_a_capability_is_in_its_certificate() -> None:
    plan, where = plan_of(), {"postgresql": "198.18.8.2"}
    values = renewed(plan, {}, NOW)
    found = renewed(plan, values, NOW, where)
    assert set(found) == {DATABASE}
    for host in (SERVICE, "198.18.8.2"):
        verify(values[SERVICE_AUTHORITY_KEY], found[DATABASE], host, NOW)
    assert renewed(plan, {**values, **found}, NOW, where) == {}
    # Without an address, as where its cloud does not run, what there is stays.
    assert renewed(plan, {**values, **found}, NOW) == {}
    # What is noted of the store notices it without opening the store.
    assert len({names_digest(plan, where), names_digest(plan, {}), names_digest(plan_of(city(app("a.b"))), {})}) == 3


def test_an_app_that_serves_tls_is_trusted_for_the_names_of_its_service() -> None:
    secure = app("code", route=Route("code", tls=True))
    plan = plan_of(city(secure, app("plain")))
    values = renewed(plan, {}, NOW)
    roots, chain = values[SERVICE_AUTHORITY_KEY], values[app_certificate_key(secure)]
    for host in ("code-web.health-internet.svc", "code-web.health-internet.svc.cluster.local"):
        verify(roots, chain, host, NOW)
    with pytest.raises(VerificationError):
        verify(roots, chain, "plain-web.health-internet.svc", NOW)
    suspended = replace(secure, stage="suspended")
    assert app_certificate_key(secure) not in renewed(plan_of(city(suspended)), {}, NOW)


def test_a_city_without_tls_needs_nothing() -> None:
    whole = replace(full_city(), entry=Entry(tls=EntryTLS(enabled=False)))
    assert set(renewed(plan_of(whole), {}, NOW)) == SERVICES
    plain = tuple(replace(item, tls=False) for item in whole.capabilities)
    assert renewed(plan_of(replace(whole, platforms=(Platform("application", plain),))), {}, NOW) == {}


def test_a_given_certificate_is_checked_before_anything_is_changed() -> None:
    whole = replace(full_city(), entry=Entry(tls=EntryTLS(certificates={"internet": "health/entry-tls"})))
    plan, name = plan_of(whole), "tenant/health/entry-tls"
    values = renewed(plan, {}, NOW)
    assert KEY not in values
    good, other = values[INNER], renewed(plan_of(), {}, NOW)[KEY]
    require_readable(plan, {**values, name: good}, NOW)
    key, chain = good.partition("-----BEGIN CERTIFICATE")[0], other[other.index("-----BEGIN CERTIFICATE") :]
    for value, now, told in (
        ("no certificate", NOW, "secret health/entry-tls is no certificate"),
        (key + chain, NOW, "the key is not that of the first certificate"),
        (good, NOW + VALID, "it ended on 20"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            require_readable(plan, {**values, name: value}, now)
