"""The vault's image: started as its user over a read-only root, with a store and a role for each app."""

from __future__ import annotations

import json
import os
import re
import secrets
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from stacks.platforms.operations.vault import TYPE
from stacks.platforms.operations.vault.access import MAX_REQUEST, MAX_VERSIONS, PROVISION
from stacks.platforms.operations.vault.deprovision import DELETE, DEPROVISION, INVENTORY
from stacks.platforms.operations.vault.guard import PERIOD
from stacks.platforms.operations.vault.guard import script as guard_script
from stacks.platforms.operations.vault.health import PROBE
from stacks.platforms.operations.vault.program import settings
from stacks.platforms.operations.vault.rotation import ROTATE
from stacks.platforms.tls import RELOAD
from tests.images.rootfs import RootFilesystem, fill, free_port, needs_root, small_volume, wait_for
from tests.support.pki import Authority, Pair

pytestmark = [pytest.mark.build, pytest.mark.by_digest, needs_root, pytest.mark.timeout(500)]

ONE, TWO = "health.code.keys", "transport.bus.keys"


@dataclass
class Vault:
    """A vault on a port of the loopback interface, in a directory that outlives its servers."""

    image: RootFilesystem
    place: Path
    port: int = field(default_factory=free_port)
    figures: int = field(default_factory=free_port)
    password: str = "first-password"

    def prepare(self) -> None:
        (self.place / "data").mkdir(exist_ok=True)
        (self.place / "key").write_text(secrets.token_hex(32))
        text = settings("vault", "platform-operations", self.port, is_tls=False)
        inside = f"/tmp{self.place}"
        text = text.replace('"/data"', f'"{inside}/data"').replace("/etc/seal/key", f"{inside}/key")
        # Another server may be tested on this machine.
        text = text.replace("127.0.0.1:8201", f"127.0.0.1:{free_port()}").replace("[::]:", "127.0.0.1:")
        text = text.replace("127.0.0.1:8203", f"127.0.0.1:{self.figures}")
        (self.place / "vault.hcl").write_text(text)
        for path in (self.place / "data", self.place / "key", self.place / "vault.hcl"):
            os.chown(path, 65532, 65532)

    @contextmanager
    def running(self, *, shared: Sequence[Path] = ()) -> Iterator[None]:
        arguments = ("/usr/local/bin/bao", "server", f"-config=/tmp{self.place}/vault.hcl")
        with self.image.running(*arguments, shared=[self.place, *shared], ADMIN_PASSWORD=self.password) as server:
            wait_for("the vault", lambda: self.call("GET", "sys/health")[0] == 200 or None, server)
            yield

    def guarded(
        self, before: str = "", *, volume: str = "/tmp", shared: Sequence[Path] = ()
    ) -> AbstractContextManager[subprocess.Popen[str]]:
        """The guard as it runs beside the server, with a volume that is not full unless another is named."""
        server = f"http://127.0.0.1:{self.port}"
        return self.image.running(
            "/bin/sh", "-c", f"{before}{guard_script()}", shared=shared,
            SERVER=server, VOLUME=volume, ADMIN_PASSWORD=self.password,
        )  # fmt: skip

    def run(self, script: str, **values: str) -> str:
        """What a script prints that runs as Jobs run it."""
        values = {"HOST": "127.0.0.1", "PORT": str(self.port), "ADMIN_PASSWORD": self.password, **values}
        done = self.image.run("/bin/sh", "-c", script, **values)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def provision(self, account: str, secret: str, limit: int = 2**30) -> None:
        owner = account.replace(".", "/")
        self.run(PROVISION, APP_ROLE=account, APP_SECRET_ID=secret, OWNER=owner, STORAGE=str(limit))

    def call(self, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/{path}", json.dumps(body).encode() if body is not None else None
        )
        request.method = method
        request.add_header("X-Vault-Token", token)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                content = answer.read()
                return answer.status, json.loads(content) if content else None
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, None

    def sign_in(self, account: str, secret: str) -> str:
        """A token; empty for who is not let in."""
        status, answer = self.call("POST", "auth/approle/login", {"role_id": account, "secret_id": secret})
        return str(answer["auth"]["client_token"]) if status == 200 else ""


@pytest.fixture(scope="module")
def vault(unpacked: Callable[[str], RootFilesystem], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    place = tmp_path_factory.mktemp("vault")
    for parent in (place, *place.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    found = Vault(unpacked("vault"), place)
    found.prepare()
    with found.running():
        found.provision(ONE, "secret-of-one")
        found.provision(TWO, "secret-of-two")
        yield found


def test_the_probe_passes_and_leaves_nothing(vault: Vault) -> None:
    assert "written, read and deleted" in vault.run(PROBE)
    assert "probe/" not in vault.run(f"{INVENTORY}cat stores")


def test_it_tells_what_it_measures_and_how_full_its_volume_is(vault: Vault) -> None:
    port = free_port()
    options = (
        f"-listen=127.0.0.1:{port}",
        f"-server=http://127.0.0.1:{vault.figures}",
        f"-data=/tmp{vault.place}/data",
    )

    def told() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    with vault.image.running("vault-metrics", *options, shared=[vault.place]) as program:
        text = wait_for("the page", told, program)
        names = set(re.findall(r"^(\w+)[ {]", text, re.MULTILINE))
        assert {"wecity_volume_bytes_used", "wecity_volume_bytes_size"} <= names
        assert {name for panel in TYPE.dashboard for name in re.findall(r"(?:wecity|vault)_\w+", panel.query)} <= names
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/sys/health", timeout=10)
        print(text)


@pytest.mark.proves("vault", "built", "used", "refused")
def test_an_app_has_its_store_and_nothing_else(vault: Vault) -> None:
    token, other = vault.sign_in(ONE, "secret-of-one"), vault.sign_in(TWO, "secret-of-two")
    assert vault.call("POST", f"apps/{ONE}/data/a/b", {"data": {"k": "健康"}}, token)[0] == 200
    status, answer = vault.call("GET", f"apps/{ONE}/data/a/b", token=token)
    assert (status, answer["data"]["data"]) == (200, {"k": "健康"})
    assert vault.call("GET", f"apps/{ONE}/metadata/?list=true", token=token)[1]["data"]["keys"] == ["a/"]
    refused = {
        "another's entry": vault.call("GET", f"apps/{ONE}/data/a/b", token=other),
        "another's list": vault.call("GET", f"apps/{ONE}/metadata/?list=true", token=other),
        "another's entry, written": vault.call("POST", f"apps/{ONE}/data/a/b", {"data": {}}, other),
        "the stores": vault.call("GET", "sys/mounts", token=token),
        "a store more": vault.call("POST", "sys/mounts/apps/mine", {"type": "kv"}, token),
        "its policy": vault.call("POST", f"sys/policies/acl/{ONE}", {"policy": ""}, token),
        "its role": vault.call("POST", f"auth/approle/role/{ONE}", {"token_ttl": "0"}, token),
        "versions of its store": vault.call("POST", f"apps/{ONE}/config", {"max_versions": 0}, token),
        "versions of an entry": vault.call("POST", f"apps/{ONE}/metadata/a/b", {"max_versions": 0}, token),
        "what the server measures": vault.call("GET", "sys/metrics?format=prometheus", token=token),
        "all that is stored": vault.call("GET", "sys/storage/raft/snapshot", token=token),
        "a token of its own": vault.call("POST", "auth/token/create", {}, token),
        "nobody": vault.call("GET", f"apps/{ONE}/data/a/b"),
    }
    assert {name: status for name, (status, _) in refused.items()} == dict.fromkeys(refused, 403)
    assert vault.sign_in(ONE, "secret-of-two") == ""
    large = {"data": {"k": "x" * MAX_REQUEST}}
    assert vault.call("POST", f"apps/{ONE}/data/large", large, token)[0] in (400, 413)


def test_the_administrator_sees_no_entry(vault: Vault) -> None:
    status, answer = vault.call("POST", "auth/userpass/login/admin", {"password": vault.password})
    token = answer["auth"]["client_token"]
    assert status == 200
    assert vault.call("GET", f"apps/{ONE}/data/a/b", token=token)[0] == 403


def test_provisioning_again_keeps_what_is_there_and_replaces_the_secret(vault: Vault) -> None:
    vault.provision(TWO, "secret-of-two")
    token = vault.sign_in(TWO, "secret-of-two")
    assert vault.call("POST", f"apps/{TWO}/data/kept", {"data": {"k": "v"}}, token)[0] == 200
    vault.provision(TWO, "another-secret")
    assert vault.sign_in(TWO, "secret-of-two") == ""
    token = vault.sign_in(TWO, "another-secret")
    assert vault.call("GET", f"apps/{TWO}/data/kept", token=token)[1]["data"]["data"] == {"k": "v"}
    vault.provision(TWO, "secret-of-two")


def test_an_ended_use_is_locked_listed_opened_again_and_deleted(vault: Vault) -> None:
    account = "leaving.app.keys"
    vault.provision(account, "secret")
    token = vault.sign_in(account, "secret")
    assert vault.call("POST", f"apps/{account}/data/kept", {"data": {"k": "v"}}, token)[0] == 200
    # Of another owner: left alone.
    vault.run(DEPROVISION, ACCOUNTS=f"{account} somebody/else/keys")
    assert vault.call("GET", f"apps/{account}/data/kept", token=token)[0] == 200
    vault.run(DEPROVISION, ACCOUNTS=f"{account} leaving/app/keys")
    assert vault.call("GET", f"apps/{account}/data/kept", token=token)[0] == 403
    assert vault.sign_in(account, "secret") == ""
    first = _listed(vault, account)
    assert (first[3], first[5]) == ("leaving/app/keys", "locked")
    vault.run(DEPROVISION, ACCOUNTS=f"{account} -")
    assert _listed(vault, account)[6] == first[6]
    assert abs(int(first[6]) - time.time()) < 60
    vault.provision(account, "secret")
    token = vault.sign_in(account, "secret")
    assert vault.call("GET", f"apps/{account}/data/kept", token=token)[1]["data"]["data"] == {"k": "v"}
    assert _listed(vault, account)[5:] == ["open", "-"]
    vault.run(DELETE, ACCOUNTS=f"{account} leaving/app/keys")
    assert account not in vault.run(INVENTORY)
    assert vault.sign_in(ONE, "secret-of-one") != ""


def _listed(vault: Vault, account: str) -> list[str]:
    (found,) = [line.split() for line in vault.run(INVENTORY).splitlines() if line.split()[1] == account]
    return ["", *found]


@pytest.mark.proves("vault", "limited")
def test_a_store_that_has_reached_its_limit_is_read_only_until_there_is_room(vault: Vault) -> None:
    account = "filling.app.keys"
    vault.provision(account, "secret", limit=4 * MAX_REQUEST * MAX_VERSIONS)
    with vault.guarded() as guard:
        token = vault.sign_in(account, "secret")
        for number in range(5):
            assert vault.call("POST", f"apps/{account}/data/{number}", {"data": {"k": "v"}}, token)[0] == 200

        def answer() -> int:
            return vault.call("POST", f"apps/{account}/data/0", {"data": {"k": "w"}}, token)[0]

        wait_for("the limit", lambda: answer() == 403 or None, guard)
        assert vault.call("GET", f"apps/{account}/data/1", token=token)[0] == 200
        one = vault.sign_in(ONE, "secret-of-one")
        assert vault.call("POST", f"apps/{ONE}/data/x", {"data": {}}, one)[0] == 200
        for number in range(1, 4):
            assert vault.call("DELETE", f"apps/{account}/metadata/{number}", token=token)[0] == 204
        wait_for("room", lambda: answer() == 200 or None, guard)


def test_a_store_that_another_guard_has_closed_is_opened(vault: Vault) -> None:
    account = "closed.app.keys"
    vault.provision(account, "secret", limit=2 * MAX_REQUEST * MAX_VERSIONS)
    token = vault.sign_in(account, "secret")

    def answer() -> int:
        return vault.call("POST", f"apps/{account}/data/0", {"data": {"k": "w"}}, token)[0]

    for number in range(2):
        assert vault.call("POST", f"apps/{account}/data/{number}", {"data": {"k": "v"}}, token)[0] == 200
    # The second knows nothing of what the first has done.
    with vault.guarded("rm -rf /tmp/states\n") as first:
        wait_for("the limit", lambda: answer() == 403 or None, first)
    assert vault.call("DELETE", f"apps/{account}/metadata/1", token=token)[0] == 204
    with vault.guarded("rm -rf /tmp/states\n") as second:
        wait_for("room", lambda: answer() == 200 or None, second)


def test_stores_are_read_only_while_the_volume_is_nearly_full(vault: Vault, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    token = vault.sign_in(ONE, "secret-of-one")

    def answer() -> int:
        return vault.call("POST", f"apps/{ONE}/data/full", {"data": {"k": "v"}}, token)[0]

    with small_volume(tmp_path / "volume", 16) as volume:
        filler = fill(volume, free=2**20 // 2)
        assert answer() == 200
        with vault.guarded("rm -rf /tmp/states\n", volume=f"/tmp{volume}", shared=[volume]) as guard:
            wait_for("the closing", lambda: answer() == 403 or None, guard)
            assert vault.call("GET", f"apps/{ONE}/data/full", token=token)[0] == 200
            assert "written, read and deleted" in vault.run(PROBE)
            # Less than a tenth is free: stores would be closed again soon.
            os.truncate(filler, 15 * 2**20)
            time.sleep(PERIOD + 2)
            assert answer() == 403
            os.truncate(filler, 0)
            wait_for("room", lambda: answer() == 200 or None, guard)


def test_it_starts_again_on_a_full_volume_and_goes_on_where_there_is_room(
    unpacked: Callable[[str], RootFilesystem], tmp_path: Path
) -> None:
    """The volume is filled by others, as where it is a directory of a node's disk."""
    tmp_path.chmod(0o755)
    found = Vault(unpacked("vault"), tmp_path)
    with small_volume(tmp_path / "data", 96) as volume:
        found.prepare()
        with found.running(shared=[volume]):
            found.provision(ONE, "secret-of-one")
            token = found.sign_in(ONE, "secret-of-one")
            assert found.call("POST", f"apps/{ONE}/data/a", {"data": {"k": "v"}}, token)[0] == 200
            filler = fill(volume)
            assert found.call("GET", f"apps/{ONE}/data/a", token=token)[1]["data"]["data"] == {"k": "v"}
        with found.running(shared=[volume]):
            token = found.sign_in(ONE, "secret-of-one")
            assert found.call("GET", f"apps/{ONE}/data/a", token=token)[1]["data"]["data"] == {"k": "v"}
            filler.unlink()
            assert found.call("POST", f"apps/{ONE}/data/b", {"data": {"k": "v"}}, token)[0] == 200


def test_wrong_passwords_lock_nobody_out(vault: Vault) -> None:
    """Whoever reaches the server may try, and would lock out the administrator and other tenants' apps."""
    for _ in range(8):
        assert vault.sign_in(TWO, "wrong") == ""
        assert vault.call("POST", "auth/userpass/login/admin", {"password": "wrong"})[0] == 400
    assert vault.sign_in(TWO, "secret-of-two") != ""
    assert "written, read and deleted" in vault.run(PROBE)


def test_the_administrator_gets_a_new_password(vault: Vault) -> None:
    old = vault.password
    vault.password = "second-password"
    for _ in range(2):
        vault.run(ROTATE, PREVIOUS_PASSWORDS=f"{old}\noldest")
    assert vault.call("POST", "auth/userpass/login/admin", {"password": old})[0] == 400
    assert "written, read and deleted" in vault.run(PROBE)


def test_it_opens_by_itself_after_a_restart_and_not_with_another_key(
    unpacked: Callable[[str], RootFilesystem], tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("vault-restarted")
    place.chmod(0o755)
    found = Vault(unpacked("vault"), place)
    found.prepare()
    with found.running():
        found.provision(ONE, "secret-of-one")
        token = found.sign_in(ONE, "secret-of-one")
        assert found.call("POST", f"apps/{ONE}/data/a", {"data": {"k": "v"}}, token)[0] == 200
    with found.running():
        token = found.sign_in(ONE, "secret-of-one")
        assert found.call("GET", f"apps/{ONE}/data/a", token=token)[1]["data"]["data"] == {"k": "v"}
    (place / "key").write_text(secrets.token_hex(32))
    done = found.image.run(
        "/bin/sh", "-c", f"timeout 10 /usr/local/bin/bao server -config=/tmp{place}/vault.hcl",
        shared=[place], ADMIN_PASSWORD="x",
    )  # fmt: skip
    assert done.returncode != 0
    assert found.call("GET", "sys/health")[0] != 200


def test_a_renewed_certificate_is_taken_over_and_the_audit_goes_on(
    unpacked: Callable[[str], RootFilesystem], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """On SIGHUP the server also opens its audit files anew. Its output is one that stays."""
    place, authority = tmp_path_factory.mktemp("vault-renewed"), Authority()
    place.chmod(0o755)
    found = Vault(unpacked("vault"), place)
    found.prepare()
    inside, log = f"/tmp{place}", place / "data" / "output"
    text = settings("vault", "platform-operations", found.port, is_tls=True)
    for old, new in (
        ('"/data"', f'"{inside}/data"'),
        ("/etc/seal/key", f"{inside}/key"),
        ("/etc/tls", f"{inside}/tls"),
        ("127.0.0.1:8201", f"127.0.0.1:{free_port()}"),
        ("127.0.0.1:8203", f"127.0.0.1:{found.figures}"),
        ("[::]:", "127.0.0.1:"),
    ):
        text = text.replace(old, new)
    (place / "vault.hcl").write_text(text)
    (place / "tls").mkdir()

    def install(pair: Pair) -> bytes:
        for name, content in (("tls.key", pair.key), ("tls.crt", pair.cert)):
            (place / "tls" / name).write_bytes(content)
            os.chown(place / "tls" / name, 65532, 65532)
        return ssl.PEM_cert_to_DER_cert(pair.cert.decode())

    def served() -> bytes:
        return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", found.port), timeout=5))

    def asks(path: str) -> None:
        context = ssl.create_default_context(cadata=authority.cert.decode())
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"https://127.0.0.1:{found.port}/v1/{path}", timeout=5, context=context)

    def audited(path: str) -> set[str]:
        """The kinds of entries about a path that the server has written to its output, of which a pod's log is made."""
        entries = [json.loads(line) for line in log.read_text().splitlines() if line.startswith('{"')]
        return {item["type"] for item in entries if item.get("request", {}).get("path") == path}

    first = install(authority.server())
    reload = RELOAD.replace("/etc/tls", f"{inside}/tls").replace("sleep 10", "sleep 1")
    command = f"set -eu\n{reload}exec bao server -config={inside}/vault.hcl > {inside}/data/output 2>&1"
    with found.image.running("/bin/sh", "-c", command, shared=[place], ADMIN_PASSWORD="x") as server:
        wait_for("the vault", lambda: served() == first or None, server)
        asks("apps/before")
        wait_for("the audit", lambda: audited("apps/before") == {"request", "response"} or None, server)
        second = install(authority.server())
        wait_for("the renewed certificate", lambda: served() == second or None, server)
        asks("apps/after")
        wait_for("the audit", lambda: audited("apps/after") == {"request", "response"} or None, server)
    # By one device still.
    assert log.read_text().count('"path":"apps/after"') == 2
