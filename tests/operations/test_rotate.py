"""Which generated passwords are replaced, and that nothing else in the store is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.engine.drive import make_city, session_of
from wecityctl.engine.context.secret_store import SecretStore
from wecityctl.engine.run.edit_secrets import REPLACED, set_secret
from wecityctl.engine.state.backend import open_backend
from wecityctl.errors import ConfigurationError
from wecityctl.model.city import Capability
from wecityctl.operations.rotate import chosen, credentials, rotate

ADMIN, HEALTH, TRAFFIC = "capability/postgresql/admin", "binding/health/app/db", "binding/traffic/app/db"


def test_credentials_are_chosen_by_name_by_app_and_by_capability() -> None:
    session = session_of(make_city("turn"))
    assert [item.name for item in credentials(session)] == [ADMIN, HEALTH, TRAFFIC]
    assert [item.name for item in chosen(session, [TRAFFIC])] == [TRAFFIC]
    assert [item.name for item in chosen(session, app="health/app")] == [HEALTH]
    assert [item.name for item in chosen(session, [HEALTH], capability="postgresql")] == [HEALTH, ADMIN, TRAFFIC]


@pytest.mark.parametrize(
    ("names", "app", "capability", "said"),
    [
        (["tenant/health/sms-key"], "", "", "'tenant/health/sms-key' is no generated password of this city"),
        ([], "health/nobody", "", "there is no app 'health/nobody'"),
        ([], "", "mysql", "there is no capability 'mysql'"),
        ([], "", "gateway", "gateway has no generated passwords"),
    ],
)
def test_what_there_is_not_is_refused(names: list[str], app: str, capability: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        chosen(session_of(make_city("turn")), names, app, capability)


@pytest.mark.engine
def test_chosen_values_are_new_and_others_stay(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "test")
    city = make_city("turn", backend=f"file://{home}/states")
    (home / "states").mkdir()
    session, backend = session_of(city), open_backend(city)
    assert rotate(session, chosen(session, app="health/app")) == ()
    for name in (HEALTH, TRAFFIC):
        set_secret(backend, name, "old")
    done = rotate(session, chosen(session, [HEALTH, ADMIN]))
    # What the store has not is made by the next `up`.
    assert [item.name for item in done] == [HEALTH]
    values = SecretStore(backend).read()
    assert set(values) == {HEALTH, TRAFFIC}
    assert values[TRAFFIC] == "old"
    assert len(values[HEALTH]) > 30


@pytest.mark.engine
def test_a_password_that_a_server_keeps_itself_leaves_those_before_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever changes it there signs in with one of them: which, depends on the `up` that has come through."""
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "test")
    (home / "states").mkdir()
    city = make_city("turn", backend=f"file://{home}/states")
    identity = Capability("application", "identity", "identity")
    platform = replace(city.platforms[0], capabilities=(*city.platforms[0].capabilities, identity))
    session, backend = session_of(replace(city, platforms=(platform,))), open_backend(city)
    name = "capability/identity/admin"
    assert name in [item.name for item in credentials(session)]
    set_secret(backend, name, "first")
    rotate(session, chosen(session, [name]))
    second = SecretStore(backend).read()[name]
    assert len(second) > 30
    rotate(session, chosen(session, [name]))
    values = SecretStore(backend).read()
    assert values[f"{name}/previous"].splitlines() == [second, "first"]
    assert values[name] not in (second, "first")
    set_secret(backend, f"{name}/previous", "\n".join(str(number) for number in range(REPLACED)))
    rotate(session, chosen(session, [name]))
    kept = SecretStore(backend).read()[f"{name}/previous"].splitlines()
    assert kept == [values[name], *(str(number) for number in range(REPLACED - 1))]
