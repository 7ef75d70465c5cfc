"""Values that people give are set, listed and removed from Python."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.engine.drive import make_city, session_of
from wecityctl.errors import ConfigurationError
from wecityctl.model.notification import Channel, Notification
from wecityctl.operations.secrets import SecretNames, list_secrets, remove_secret, secret_key, set_secret


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sms-key", "does not name a tenant's secret"),
        ("nobody/sms-key", "there is no tenant 'nobody'"),
        ("health/SMS", "cannot be a secret's name"),
    ],
)
def test_a_name_is_that_of_a_tenants_secret(name: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        secret_key(session_of(make_city("kept")), name)


@pytest.mark.engine
def test_a_value_is_set_listed_and_removed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "test")
    (home / "states").mkdir()
    session = session_of(make_city("kept", ("health",), backend=f"file://{home}/states", secrets=("sms-key",)))
    assert "tenant/health/sms-key" in list_secrets(session).missing
    typed = set_secret(session, secret_key(session, "health/smskey"), "a value")
    assert (typed.name, typed.is_used, typed.nearest) == ("health/smskey", False, "health/sms-key")
    assert set_secret(session, secret_key(session, "health/sms-key"), "a value").is_used
    found = list_secrets(session)
    assert found.kept == ("tenant/health/sms-key", "tenant/health/smskey")
    assert (found.unused, found.missing) == (("tenant/health/smskey",), ())
    remove_secret(session, "health/smskey")
    assert list_secrets(session) == SecretNames(("tenant/health/sms-key",), (), ())
    with pytest.raises(ConfigurationError, match="there is no secret"):
        remove_secret(session, "health/smskey")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("mail-relay", "password-alone", "is not USER:PASSWORD in one line"),
        ("hook-token", "two\nlines", "is not a token of printable ASCII characters in one line"),
        ("mail-roots", "roots", "has no certificate in PEM"),
    ],
)
def test_a_value_of_a_channel_is_looked_at(tmp_path: Path, name: str, value: str, said: str) -> None:
    channels = Notification(
        mail=Channel(
            server="relay.example", sender="city@example.org", credentials="mail-relay", authority="mail-roots"
        ),
        webhook=Channel(url="https://hooks.example", credentials="hook-token"),
    )
    session = session_of(replace(make_city("kept", backend=f"file://{tmp_path}"), notification=channels))
    key = secret_key(session, name)
    assert key == f"notification/{name}"
    with pytest.raises(ConfigurationError, match=said):
        set_secret(session, key, value)
