"""Which generated passwords are replaced, and that nothing else in the store is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.drive import make_city, session_of
from wecityctl.engine.context.secret_store import SecretStore
from wecityctl.engine.run.edit_secrets import set_secret
from wecityctl.engine.state.backend import open_backend
from wecityctl.errors import ConfigurationError
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
