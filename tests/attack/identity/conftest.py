"""The Keycloak of this folder's tests: it takes a minute to start, so that one serves for all of them."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.attack.conftest import Unpacked
from tests.attack.identity.keycloak import REALMS, SIGN_IN, USER, Keycloak
from tests.attack.served import DATABASE_OF_IDENTITY, Served, attacked, database_server, identity_server, wait_until
from tests.stacks.cities import application
from wecityctl.model.city import Capability, Use


@pytest.fixture(scope="package")
def keycloak(unpacked: Unpacked) -> Iterator[Keycloak]:
    use = Use("identity", "auth")
    platform = application(*(Capability("application", name, name) for name in ("identity", "sign-in")))
    city = attacked(
        ("health", "code", use), ("health", "maps", use), ("transport", "bus", use), platform=platform
    )  # fmt: skip
    own = {"provision-capability-identity-db": DATABASE_OF_IDENTITY, "provision-capability-sign-in-users": SIGN_IN}
    city = replace(city, roles={**city.roles, **own})
    with database_server(city, unpacked("postgresql")) as database:
        wait_until(lambda: _is_provisioned(database), 120, period=1)
        began = time.monotonic()
        with identity_server(city, unpacked("identity"), database) as served:
            found = Keycloak(served, ssl.create_default_context(cadata=served.authority))
            print(f"identity ready after {time.monotonic() - began:.0f} s")
            found = replace(found, first=served.certificate())
            served.certify()
            began = time.monotonic()
            served.provision()
            print(f"three clients in two realms made in {time.monotonic() - began:.1f} s")
            admin = found.admin()
            credentials = [{"type": "password", "value": USER["password"]}]
            names = {"firstName": "Alice", "lastName": "Li", "email": "alice@xc.example", "emailVerified": True}
            user = {"username": USER["username"], "enabled": True, "credentials": credentials, **names}
            for realm in set(REALMS.values()):
                assert found.send(f"admin/realms/{realm}/users", token=admin, body=user)[0] == 201
            yield found


def _is_provisioned(database: Served) -> bool:
    """Run the database's Job, which at the server's first start may meet the guard at the same table, as a cluster does
    until it succeeds."""
    try:
        database.provision()
    except AssertionError:
        return False
    return True
