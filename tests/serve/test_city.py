"""A city whose state back end is a state server: with a token of the role `update`, and a history that says whose."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.drive import go, make_city
from tests.serve.conftest import Server
from wecityctl.engine.state.backend import open_backend
from wecityctl.operations.history import update_of

pytestmark = [pytest.mark.engine]


def test_a_city_is_brought_up_through_the_server(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("PULUMI_ACCESS_TOKEN", server.tokens["uma"]),
        ("SSL_CERT_FILE", str(server.file("ca.pem"))),
        ("PULUMI_CONFIG_PASSPHRASE", "correct horse"),
        ("XDG_STATE_HOME", str(tmp_path)),
    ):
        monkeypatch.setenv(name, value)
    city = make_city("one", ("health",), backend=server.url)
    brought = go(city, "up")
    assert brought.exit_code == 0
    assert {result.outcome for result in brought.results} == {"succeeded"}
    backend = open_backend(city)
    rows = [update_of(name, item) for name in backend.list_stacks() for item in backend.history(name)]
    assert {row.who for row in rows} == {"uma"}
    # Whoever may only preview changes nothing.
    monkeypatch.setenv("PULUMI_ACCESS_TOKEN", server.tokens["pia"])
    refused = go(make_city("one", ("health", "traffic"), backend=server.url), "up")
    assert refused.exit_code != 0
    assert "role preview" in " ".join(error for result in refused.results for error in result.errors)
