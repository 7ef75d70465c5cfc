"""What keys a deployer may write in S3: the how-to's list, and what the engine does with no more than these."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.drive import make_city
from tests.support.s3_server import deployers_policy, s3_server
from wecityctl.engine.context import ending_accounts
from wecityctl.engine.context.ending_accounts import Account
from wecityctl.engine.state.backend import open_backend
from wecityctl.engine.state.layout import written_by
from wecityctl.errors import WecityError

HOW_TO = Path(__file__).parents[2] / "docs/how-to/deploy-a-tenant.md"
OWN, OTHERS = "quay.tenant.parks.main", "quay.tenant.library.main"


def test_the_how_to_lists_what_a_run_writes() -> None:
    text = HOW_TO.read_text().replace("its `.bak`", "`")
    for key in written_by("CITY.tenant.TENANT.CLOUD", "CITY"):
        pattern = key.replace("CITY.tenant.TENANT.CLOUD", "STACK")
        assert f"`{pattern.removesuffix('*') if '.json*' in pattern else pattern}`" in text, pattern


def test_a_deployers_keys_note_accounts_of_its_own_stack_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ("parkskey", "parkssecret0123")
    with s3_server(tmp_path, "states", iam=True) as s3:
        s3.add_user(*keys)
        s3.put_policy("states", deployers_policy(keys[0], OWN, "quay"))
        for name, value in s3.environment_of(*keys).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "test")
        backend = open_backend(make_city("quay", backend=s3.url("states")))
        account = Account("main", "postgresql", "parks/app/db")
        ending_accounts.note(backend, OWN, [account])
        assert [item.account for item in ending_accounts.noted(backend)[OWN]] == [account]
        with pytest.raises(WecityError):
            ending_accounts.note(backend, OTHERS, [Account("main", "postgresql", "library/app/db")])
        ending_accounts.settle(backend, OWN, {account: False})
        assert ending_accounts.noted(backend) == {}
