"""Apps of two tenants in one Keycloak over PostgreSQL: each has its own, and who leaves is out at once."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from stacks.platforms import tls
from stacks.platforms.application.identity.health import PROBE
from stacks.platforms.application.identity.provision import PROVISIONER
from tests.attack.identity.keycloak import BOB, EVE, OWNERS, REALMS, SISTER, USER, Answer, Keycloak, line
from tests.attack.served import ADMIN, wait_until
from tests.images.rootfs import needs_root

pytestmark = [pytest.mark.build, pytest.mark.by_digest, needs_root, pytest.mark.timeout(400)]


def _sorted(client: Any) -> dict[str, Any]:
    return {key: sorted(value, key=str) if isinstance(value, list) else value for key, value in client.items()}


def claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


@pytest.mark.proves("identity", "used")
def test_an_app_finds_the_issuer_of_its_binding_in_tokens(keycloak: Keycloak) -> None:
    issuer = f"{keycloak.url}/realms/tenant-health"
    status, found = keycloak.send("realms/tenant-health/.well-known/openid-configuration")
    assert (status, found["issuer"]) == (200, issuer)
    assert found["token_endpoint"].startswith(issuer)
    status, answer = keycloak.token(EVE)
    assert status == 200, answer
    # A second may end while it is made.
    assert answer["expires_in"] in (299, 300)
    assert claims(answer["access_token"])["iss"] == issuer
    assert claims(answer["access_token"])["azp"] == EVE
    status, answer = keycloak.login(EVE)
    assert status == 200, answer
    assert keycloak.user(EVE, answer["access_token"]) == 200
    assert keycloak.ask(EVE, "token", grant_type="refresh_token", refresh_token=answer["refresh_token"])[0] == 200


def test_provisioning_again_changes_nothing(keycloak: Keycloak) -> None:
    def state() -> Any:
        token = keycloak.admin()
        found = [keycloak.send(f"admin/realms/{realm}", token=token)[1] for realm in sorted(set(REALMS.values()))]
        for realm in sorted(set(REALMS.values())):
            clients = keycloak.send(f"admin/realms/{realm}/clients", token=token)[1]
            # Lists are sets: they come in any order.
            found += sorted(json.dumps(_sorted(client), sort_keys=True) for client in clients)
        return found

    before, running = state(), keycloak.login(EVE)[1]
    keycloak.served.provision()
    assert state() == before
    assert keycloak.user(EVE, running["access_token"]) == 200
    assert keycloak.inventory() == {account: [OWNERS[account], "0", "open", "-"] for account in REALMS}


@pytest.mark.proves("identity", "refused")
def test_nobody_uses_what_is_anothers(keycloak: Keycloak) -> None:
    of_eve, of_bob = (keycloak.login(account)[1] for account in (EVE, BOB))
    assert keycloak.token(EVE, "another-secret")[0] == 401
    assert keycloak.token(EVE, realm="tenant-transport")[0] == 401
    assert keycloak.token(EVE, realm="master")[0] == 401
    assert keycloak.user(BOB, of_eve["access_token"]) == 401
    assert keycloak.user(EVE, of_bob["access_token"]) == 401
    introspected = keycloak.ask(BOB, "token/introspect", token=of_eve["access_token"])
    assert introspected == (200, {"active": False})
    for other in (SISTER, BOB):
        refreshed = keycloak.ask(other, "token", grant_type="refresh_token", refresh_token=of_eve["refresh_token"])
        assert refreshed[0] == 400
    # Two realms are signed with different keys.
    keys = [keycloak.send(f"realms/{realm}/protocol/openid-connect/certs")[1]["keys"] for realm in set(REALMS.values())]
    first, second = ({key["kid"] for key in found} for found in keys)
    assert not first & second


def test_a_client_administrates_nothing(keycloak: Keycloak) -> None:
    tokens = [keycloak.token(EVE)[1]["access_token"], keycloak.login(EVE)[1]["access_token"]]
    paths = ["", *(f"/{realm}{part}" for realm in ("master", *REALMS.values()) for part in ("", "/clients", "/users"))]
    for token in tokens:
        answers = {path: keycloak.send(f"admin/realms{path}", token=token) for path in paths}
        # Whoever has signed in is told which realms he administrates: none.
        assert answers.pop("")[1] in ([], {"error": "HTTP 403 Forbidden"}), answers
        told = {path: status for path, (status, _) in answers.items()}
        # Of its own realm its name, and nothing of what is in it.
        assert told.pop("/tenant-health") in (200, 403)
        assert set(told.values()) <= {401, 403}, told
        assert keycloak.send("admin/realms/tenant-health/users", token=token, body={"username": "mallory"})[0] == 403
        assert keycloak.send("realms/tenant-health/clients-registrations/default", token=token, body={"clientId": "x"})[
            0
        ] in (401, 403)
    anonymous = keycloak.send("realms/tenant-health/clients-registrations/default", body={"clientId": "x"})
    assert anonymous[0] in (401, 403)


def test_a_user_who_is_guessed_at_is_closed(keycloak: Keycloak) -> None:
    wrong = {"grant_type": "password", "username": USER["username"], "password": "wrong"}
    for _ in range(12):
        assert keycloak.ask(BOB, "token", **wrong)[0] == 400
    assert keycloak.login(BOB)[0] == 400
    assert keycloak.login(EVE)[0] == 200


def test_the_probe_signs_in_and_leaves_nothing(keycloak: Keycloak) -> None:
    def sessions() -> Any:
        token = keycloak.admin()
        found = keycloak.send("admin/realms/master/clients?clientId=admin-cli", token=token)[1]
        return keycloak.send(f"admin/realms/master/clients/{found[0]['id']}/session-count", token=token)[1]["count"]  # type: ignore[index]

    before = sessions()
    assert keycloak.run(PROBE) == ""
    # One more: that of the question itself.
    assert sessions() == before + 1
    where = {"HOST": "127.0.0.1", "PORT": str(keycloak.served.port), "AUTHORITY": tls.AUTHORITY}
    failed = keycloak.served.image.run("/bin/sh", "-c", PROBE, **where, ADMIN_PASSWORD="wrong")
    assert failed.returncode != 0
    assert "the administrator's sign-in is answered by 400" in failed.stderr


def test_who_leaves_is_out_at_once_and_its_neighbours_go_on(keycloak: Keycloak) -> None:
    signed_in, sister = keycloak.login(EVE)[1], keycloak.login(SISTER)[1]
    for _ in range(2):
        keycloak.run(PROVISIONER.deprovision, line(EVE), "nobody.x.y nobody/x/y", f"{BOB} somebody/else/auth")
    assert keycloak.token(EVE)[0] == 401
    assert keycloak.user(EVE, signed_in["access_token"]) != 200
    refresh = {"grant_type": "refresh_token", "refresh_token": signed_in["refresh_token"]}
    assert keycloak.ask(EVE, "token", **refresh)[0] == 401
    assert keycloak.user(SISTER, sister["access_token"]) == 200
    assert keycloak.token(SISTER)[0] == keycloak.token(BOB)[0] == 200
    state, since = keycloak.inventory()[EVE][2:]
    assert state == "locked"
    assert abs(int(since) - time.time()) < 60
    assert {keycloak.inventory()[account][2] for account in (SISTER, BOB)} == {"open"}

    # It comes back: with its users, and without what was given out before.
    time.sleep(1)
    keycloak.served.provision()
    assert keycloak.inventory()[EVE][2:] == ["open", "-"]
    assert keycloak.ask(EVE, "token", **refresh)[0] == 400
    assert keycloak.login(EVE)[0] == 200


def test_a_changed_secret_holds_at_once(keycloak: Keycloak) -> None:
    keycloak.served.provision(password="another-client-secret")
    assert keycloak.token(EVE)[0] == 401
    assert keycloak.token(EVE, "another-client-secret")[0] == 200
    keycloak.served.provision()


def test_the_administrators_password_is_changed_and_sessions_of_before_end(keycloak: Keycloak) -> None:
    def rotate(wanted: str, *previous: str, replacing: tuple[tuple[str, str], ...] = ()) -> tuple[int, str]:
        values = {"ADMIN_PASSWORD": wanted, "PREVIOUS_PASSWORDS": "\n".join(previous)}
        done = keycloak.served.rotate(*replacing, **values)
        return done.returncode, done.stdout + done.stderr

    def admin(path: str = "token", **form: str) -> Answer:
        return keycloak.send(f"realms/master/protocol/openid-connect/{path}", {"client_id": "admin-cli", **form})

    def sign_in(password: str) -> Answer:
        return admin(grant_type="password", username="admin", password=password)

    status, session = sign_in(ADMIN)
    assert status == 200
    try:
        # Two rotations, of which the server has seen neither.
        assert rotate("second", "first", ADMIN)[0] == 0
        assert [sign_in(password)[0] for password in ("second", "first", ADMIN)] == [200, 400, 400]
        assert admin(grant_type="refresh_token", refresh_token=session["refresh_token"])[0] == 400
        assert rotate("second", "first", ADMIN)[0] == 0

        # It is killed after the change, and before it has signed in with the new password.
        killed = (("  ADMIN_PASSWORD=$wanted", "  kill -9 $$"),)
        assert rotate("third", "second", "first", ADMIN, replacing=killed)[0] != 0
        assert sign_in("third")[0] == 200
        assert rotate("third", "second", "first", ADMIN)[0] == 0

        code, said = rotate("fourth", "second")
        assert code == 1
        assert "the administrator's sign-in is answered by 400" in said
        assert "none of the passwords that were replaced is the administrator's either" in said
    finally:
        code, said = rotate(ADMIN, "third", "second", "first")
        assert code == 0, said
    keycloak.served.provision()


def test_a_name_that_is_anothers_is_not_handed_over(keycloak: Keycloak) -> None:
    where = {"HOST": "127.0.0.1", "PORT": str(keycloak.served.port), "ADMIN_PASSWORD": ADMIN, "APP_ROLE": EVE}
    script = PROVISIONER.script
    done = keycloak.served.image.run("/bin/sh", "-c", script, **where, AUTHORITY=tls.AUTHORITY, OWNER="other/app/auth")
    assert done.returncode == 1
    assert f"client {EVE} is {EVE} health/code/auth 0 open -, not that of other/app/auth" in done.stderr


def test_a_realm_goes_with_its_last_client(keycloak: Keycloak) -> None:
    keycloak.run(PROVISIONER.delete, f"{EVE} other/app/auth")
    assert set(keycloak.inventory()) == {EVE, SISTER, BOB}
    for _ in range(2):
        keycloak.run(PROVISIONER.delete, line(EVE))
    assert set(keycloak.inventory()) == {SISTER, BOB}
    assert keycloak.login(SISTER)[0] == 200
    keycloak.run(PROVISIONER.delete, line(SISTER))
    assert set(keycloak.inventory()) == {BOB}
    assert keycloak.send("realms/tenant-health")[0] == 404
    keycloak.served.provision()
    assert keycloak.token(EVE)[0] == 200
    assert keycloak.login(EVE)[0] == 400


def test_a_renewed_certificate_is_taken_over(keycloak: Keycloak) -> None:
    # The server looks for a new one every half a minute: the fixture has brought it before the other tests.
    wait_until(lambda: keycloak.served.certificate() != keycloak.first)
    assert keycloak.token(BOB)[0] == 200


def test_scripts_refuse_a_server_of_another_authority(keycloak: Keycloak) -> None:
    where = {"HOST": "127.0.0.1", "PORT": str(keycloak.served.port), "ADMIN_PASSWORD": ADMIN}
    script = PROBE.replace("-lt 60", "-lt 1")
    done = keycloak.served.image.run("/bin/sh", "-c", script, **where, AUTHORITY="/bindings/db/ca.crt")
    assert done.returncode != 0
    assert "certificate" in done.stderr
