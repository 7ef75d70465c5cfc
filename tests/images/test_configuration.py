"""The configuration over a real PostgreSQL: what apps set, read and are told, and what each may try."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from stacks.platforms.application import configuration
from stacks.platforms.application.configuration.access import ADMIN
from stacks.platforms.application.configuration.health import PROBE
from stacks.platforms.application.configuration.provision import PROVISIONER
from tests.docs.blocks import ROOT
from tests.images.configuration import DATABASE, STORAGE, Answer, Service, serving
from tests.images.data_services import PASSWORD, Database
from tests.images.rootfs import RootFilesystem, needs_root
from tests.support.postgres_server import postgres_server

Unpacked = Callable[[str], RootFilesystem]
pytestmark = [pytest.mark.build, pytest.mark.by_digest, needs_root, pytest.mark.timeout(300)]

PARKS, ROADS, SMALL, AWAY = "parks/trees", "roads/lamps", "small/one", "away/one"
ACCOUNT = "parks.trees.settings"


def test_the_go_packages() -> None:
    """Their own tests: keys, conditions, limits, and who is woken."""
    done = subprocess.run(
        ["go", "test", "-trimpath", "-buildvcs=false", "-mod=readonly", "-vet=off", "./..."],
        cwd=Path(configuration.__file__).parent / "image/go",
        env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with postgres_server() as server:
        found = Database(server)
        found.prepare()
        found.account(DATABASE, "capability/configuration/db")
        yield found


@pytest.fixture(scope="module")
def service(unpacked: Unpacked, database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(unpacked("configuration"), database, tmp_path_factory.mktemp("configuration")) as found:
        for who in (PARKS, ROADS):
            found.account(who)
        yield found


@pytest.fixture(autouse=True)
def emptied(service: Service, database: Database) -> Iterator[None]:
    """Accounts without values. Their revisions go on, as they always do."""
    yield
    database.sql(DATABASE, "DELETE FROM entries; UPDATE accounts SET floor = 0")


def waiting(pool: ThreadPoolExecutor, service: Service, who: str, count: int = 1) -> list[Future[Answer]]:
    """Requests that wait for the next change, once they do."""
    since = service.ask(who, "GET", "/values").content["revision"]
    found = [pool.submit(service.ask, who, "GET", "/changes", since=since, wait=20) for _ in range(count)]
    name = f'wecity_configuration_waiting{{account="{who.replace("/", ".")}.settings"'
    until(lambda: any(line.startswith(name) and line.endswith(f" {count}") for line in metrics(service)))
    return found


def metrics(service: Service) -> list[str]:
    return str(service.ask(ADMIN, "GET", "/metrics").content).splitlines()


def until(holds: Callable[[], bool]) -> None:
    pause, deadline = threading.Event(), time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that"
        pause.wait(0.05)


@pytest.mark.proves("configuration", "built", "used")
def test_an_app_sets_reads_and_deletes_values(service: Service) -> None:
    assert "a value was set, told, read and deleted" in service.script(PROBE)
    first = service.put(PARKS, "opens", "8")
    second = service.put(PARKS, "feature/新".replace("新", "new"), "是\nja")
    assert second > first
    answer = service.ask(PARKS, "GET", "/values/feature/new")
    assert (answer.code, answer.content, answer.headers["ETag"]) == (200, "是\nja", f'"{second}"')
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert service.ask(PARKS, "GET", "/values/feature/new", headers={"If-None-Match": f'"{second}"'}).code == 304
    assert service.values(PARKS) == {"opens": "8", "feature/new": "是\nja"}
    # The same again is no change.
    assert service.put(PARKS, "opens", "8") == first
    assert service.ask(PARKS, "DELETE", "/values/opens").code == 200
    for path in ("/values/opens", "/values/other", "/versions/other"):
        assert service.ask(PARKS, "GET", path).code == 404
    assert service.ask(PARKS, "DELETE", "/values/opens").code == 404
    assert service.ask(PARKS, "GET", "/nothing").code == 404


def test_a_change_is_told_at_once_to_whoever_waits(service: Service) -> None:
    service.put(PARKS, "opens", "8")
    with ThreadPoolExecutor() as pool:
        asked, others = waiting(pool, service, PARKS, 2), waiting(pool, service, ROADS)
        revision = service.put(PARKS, "opens", "9")
        for future in asked:
            # Sooner than they would look without being told.
            told = future.result(4).content
            (change,) = told["changes"]
            assert (told["revision"], told["reset"]) == (revision, False)
            assert (change["key"], change["value"], change["revision"]) == ("opens", "9", revision)
        assert not others[0].done()
        service.put(ROADS, "lit", "1")
        assert others[0].result(4).content["changes"][0]["key"] == "lit"
    # Who comes later is told what it has missed, once for each key, and deletions too.
    service.put(PARKS, "opens", "10")
    service.put(PARKS, "closes", "18")
    service.ask(PARKS, "DELETE", "/values/opens")
    told = service.ask(PARKS, "GET", "/changes", since=revision).content
    assert [(item["key"], item.get("value"), item.get("deleted", False)) for item in told["changes"]] == [
        ("closes", "18", False),
        ("opens", None, True),
    ]
    told = service.ask(PARKS, "GET", "/changes").content
    assert [item["key"] for item in told["changes"]] == ["closes"]
    assert service.ask(PARKS, "GET", "/changes", since=told["revision"], wait=1).content["changes"] == []


def test_versions_are_kept_and_changes_do_not_overwrite_each_other(service: Service) -> None:
    first = service.put(PARKS, "opens", "8")
    second = service.put(PARKS, "opens", "9")

    def change(method: str, **headers: str) -> int:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return service.ask(PARKS, method, "/values/opens", "10" if method == "PUT" else None, headers=given).code

    assert change("PUT", If_Match=f'"{first}"') == change("DELETE", If_Match=f'"{first}"') == 412
    assert change("PUT", If_None_Match="*") == 412
    assert change("PUT", If_Match="9") == 400
    assert change("PUT", If_Match=f'"{second}"') == change("DELETE") == change("PUT", If_None_Match="*") == 200
    found = service.ask(PARKS, "GET", "/versions/opens").content["versions"]
    assert [item.get("value") for item in found] == ["10", None, "10", "9", "8"]
    assert [item["revision"] for item in found][-2:] == [second, first]
    for number in range(20):
        service.put(PARKS, "opens", str(number))
    found = service.ask(PARKS, "GET", "/versions/opens").content["versions"]
    assert [item["value"] for item in found] == [str(number) for number in range(19, 9, -1)]
    # Of those who change the same version at once, one does.
    with ThreadPoolExecutor() as pool:
        tag = {"If-Match": f'"{found[0]["revision"]}"'}
        codes = [pool.submit(service.ask, PARKS, "PUT", "/values/opens", f"by {n}", headers=tag) for n in range(5)]
        assert sorted(future.result().code for future in codes) == [200, 412, 412, 412, 412]


@pytest.mark.proves("configuration", "refused")
def test_nobody_gets_at_anothers_values(service: Service) -> None:
    service.put(PARKS, "secret", "of parks")
    for path in ("secret", "parks.trees.settings/secret", "..%2Fparks.trees.settings%2Fsecret", "secret%00"):
        assert service.ask(ROADS, "GET", f"/values/{path}").code in (400, 404), path
    assert service.values(ROADS) == {}
    assert service.ask(ROADS, "GET", "/changes").content["changes"] == []
    service.put(ROADS, "secret", "of roads")
    assert service.ask(ROADS, "DELETE", "/values/secret").code == 200
    assert service.values(PARKS) == {"secret": "of parks"}
    for user, password in (("", ""), (PARKS, "another-password"), (PARKS, ""), (ADMIN, PASSWORD), ("probe", PASSWORD)):
        for path in ("/values", "/values/secret", "/versions/secret", "/changes"):
            assert service.ask(user, "GET", path, password=password).code == 401, (user, path)
    for user in (PARKS, "probe/x"):
        for method, path in (("GET", "/accounts"), ("DELETE", f"/accounts/{ACCOUNT}?owner={PARKS}/settings")):
            assert service.ask(user, method, path).code == 401
    # Nor by a connection without TLS, or a server of another authority.
    with socket.create_connection(("127.0.0.1", service.port), 10) as plain:
        plain.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert plain.recv(100).startswith(b"HTTP/1.0 400 ")
    with pytest.raises(ssl.SSLError), socket.create_connection(("127.0.0.1", service.port), 10) as plain:
        ssl.create_default_context().wrap_socket(plain, server_hostname="127.0.0.1")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("a//b", "1"),
        ("a%20b", "1"),
        ("%E9%94%AE", "1"),
        ("a'%3B--", "1"),
        ("k" * 201, "1"),
        ("a", b"\xff"),
        ("a", "\x1b[2J"),
        ("a", b"\x00"),
    ],
)
def test_what_is_no_key_or_value_is_refused_with_the_reason(service: Service, key: str, value: str | bytes) -> None:
    answer = service.ask(PARKS, "PUT", f"/values/{key}", value)
    # Paths with empty segments are led to those without.
    assert answer.code in (400, 301, 307), answer
    assert answer.code != 400 or answer.reason.startswith("a key has" if value == "1" else "a value ")
    assert service.values(PARKS) == {}


@pytest.mark.parametrize("query", ["since=-1", "since=x", "wait=61", "wait=-1", "since=9999999999999999999"])
def test_a_question_that_makes_no_sense_is_refused_with_the_reason(service: Service, query: str) -> None:
    answer = service.ask(PARKS, "GET", f"/changes?{query}")
    assert answer.code == 400 and answer.reason.startswith(query.partition("=")[0])


@pytest.mark.proves("configuration", "limited")
def test_an_app_has_no_more_than_its_limits(service: Service, database: Database) -> None:
    service.account(SMALL, storage=4000, connections=2)
    assert service.ask(SMALL, "PUT", "/values/long", "v" * 65_537).code == 413
    for number in range(3):
        service.put(SMALL, f"k{number}", "v" * 1000)
    refused = service.ask(SMALL, "PUT", "/values/k3", "v" * 1000)
    assert refused.code == 507 and "and the account has 4000" in refused.reason
    # Versions of before make room for what is current; what was refused has changed nothing.
    for number in range(5):
        service.put(SMALL, "k0", f"{number}" * 900)
    assert [item["value"][0] for item in service.ask(SMALL, "GET", "/versions/k0").content["versions"]] == ["4"]
    assert service.values(SMALL).keys() == {"k0", "k1", "k2"}
    size = service.accounts(PROVISIONER.inventory)["small.one.settings"][1]
    assert 3000 < int(size) <= 4000
    # A neighbour goes on.
    service.put(PARKS, "k", "v" * 60_000)
    # So many wait at a time; what they do not hold is answered.
    with ThreadPoolExecutor() as pool:
        asked = waiting(pool, service, SMALL, 2)
        one_more = service.ask(SMALL, "GET", "/changes", since=service.put(PARKS, "k", "v"), wait=20)
        assert (one_more.code, one_more.headers["Retry-After"]) == (429, "1")
        assert one_more.reason == "2 requests of the account wait for changes at a time"
        service.put(SMALL, "k0", "v")
        assert [future.result(20).code for future in asked] == [200, 200]
    # Keys without number.
    service.account(SMALL, storage=STORAGE // 2)
    database.sql(
        DATABASE, "INSERT INTO entries SELECT 'small.one.settings', 'n' || i, i, '' FROM generate_series(1, 997) i"
    )
    refused = service.ask(SMALL, "PUT", "/values/one-more", "")
    assert refused.code == 507 and refused.reason == "an account has at most 1000 keys"
    codes = [service.ask(SMALL, "PUT", "/values/k0", str(number)).code for number in range(150)]
    assert codes.count(429) > 10 and service.ask(PARKS, "PUT", "/values/k", "w").code == 200


def test_who_knows_too_little_reads_all_anew(service: Service, database: Database) -> None:
    """Deletions are kept in the account's bytes only, and a restore takes the account back."""
    service.account(AWAY, storage=1000)
    service.put(AWAY, "kept", "1")
    known = service.put(AWAY, "gone", "1")
    service.ask(AWAY, "DELETE", "/values/gone")
    told = service.ask(AWAY, "GET", "/changes", since=known).content
    assert not told["reset"] and [item["key"] for item in told["changes"]] == ["gone"]
    revision = service.put(AWAY, "kept", "1" * 870)
    told = service.ask(AWAY, "GET", "/changes", since=known).content
    assert told["reset"] and [item["key"] for item in told["changes"]] == ["kept"]
    # The key does not come back with a version from before.
    assert service.values(AWAY).keys() == {"kept"}
    assert service.ask(AWAY, "GET", "/versions/gone").code == 404
    assert not service.ask(AWAY, "GET", "/changes", since=revision).content["reset"]
    with ThreadPoolExecutor() as pool:
        (asked,) = waiting(pool, service, AWAY)
        # As a restore of the database would.
        database.sql(DATABASE, f"UPDATE accounts SET revision = {known} WHERE name = 'away.one.settings'")
        told = asked.result(20).content
    assert told["reset"] and told["revision"] == known
    # No revision that was there before the restore is given again.
    assert service.put(AWAY, "kept", "2") > revision


def test_accounts_are_locked_at_once_opened_again_and_deleted(service: Service) -> None:
    service.put(PARKS, "opens", "8")
    with ThreadPoolExecutor() as pool:
        (asked,) = waiting(pool, service, PARKS)
        # Another owner's of the same name is left alone.
        service.script(PROVISIONER.deprovision, ACCOUNTS=f"{ACCOUNT} parks/others/settings")
        assert service.ask(PARKS, "GET", "/values").code == 200 and not asked.done()
        for _ in range(2):
            service.script(PROVISIONER.deprovision, ACCOUNTS=f"{ACCOUNT} {PARKS}/settings\nnobody.is.there a/b/c")
        assert asked.result(20).code == 401
    assert service.ask(PARKS, "GET", "/values").code == 401
    owner, held, state, since = service.accounts(PROVISIONER.inventory)[ACCOUNT]
    assert (owner, state) == ("parks/trees/settings", "locked")
    assert int(held) > 0 and int(since) > 1_700_000_000
    service.account(PARKS)
    assert service.values(PARKS) == {"opens": "8"}
    service.script(PROVISIONER.delete, ACCOUNTS=f"{ACCOUNT} {PARKS}/settings")
    assert ACCOUNT not in service.accounts(PROVISIONER.inventory)
    service.account(PARKS)
    assert service.values(PARKS) == {}


def test_a_rotated_password_holds_at_once(service: Service, database: Database) -> None:
    with ThreadPoolExecutor() as pool:
        (asked,) = waiting(pool, service, PARKS)
        service.account(PARKS, password="another-password-of-parks")
        assert asked.result(20).code == 401
    assert service.ask(PARKS, "GET", "/values").code == 401
    assert service.ask(PARKS, "GET", "/values", password="another-password-of-parks").code == 200
    service.account(PARKS)
    assert PASSWORD not in database.sql(DATABASE, "SELECT string_agg(a::text, ' ') FROM accounts a")


def test_limits_that_there_are_not_are_refused(service: Service) -> None:
    for who in (SMALL, AWAY):
        service.account(who, storage=1000)
    said = service.account(ROADS, storage=STORAGE, code=1)
    assert f"come to {STORAGE + 2000 + 100_000} bytes, and there are {STORAGE} for them" in said
    assert "its values have at most 4194304 bytes" in service.account(ROADS, storage=2**23, code=1)
    assert service.ask(ROADS, "GET", "/values").code == 200


def test_metrics_are_of_each_app(service: Service) -> None:
    for value in ("7", "8"):
        service.put(PARKS, "opens", value)
    lines = dict(line.rsplit(" ", 1) for line in metrics(service))
    of_parks = f'{{account="{ACCOUNT}",tenant="parks",app="trees"}}'
    assert lines[f"wecity_configuration_keys{of_parks}"] == "1"
    assert lines[f"wecity_configuration_bytes{of_parks}"] == str(2 * (len("opens8") + 64))
    assert lines[f"wecity_configuration_value_bytes{of_parks}"] == str(len("opens8") + 64)
    assert lines[f"wecity_configuration_limit_bytes{of_parks}"] == "100000"
    assert int(lines['wecity_configuration_changes_total{tenant="parks",app="trees"}']) >= 1
    assert not [line for line in lines if "probe" in line]


def test_the_program_of_the_page_needs_nothing_but_the_binding(service: Service, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "keep-configuration.md").read_text()
    program = page.partition("```python\n")[2].partition("```\n")[0]
    uri = f"https://127.0.0.1:{service.port}"
    binding = {"uri": uri, "username": ACCOUNT, "password": PASSWORD, "ca.crt": service.authority.decode()}
    (tmp_path / "settings").mkdir()
    for name, text in binding.items():
        (tmp_path / "settings" / name).write_text(text)
    environment = {**os.environ, "SERVICE_BINDING_ROOT": str(tmp_path)}
    service.put(PARKS, "opens", "8")
    service.put(PARKS, "old", "1")
    command = [sys.executable, "-u", "-c", program]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert json.loads(process.stdout.readline().replace("'", '"')) == {"opens": "8", "old": "1"}
            service.put(PARKS, "opens", "9")
            assert json.loads(process.stdout.readline().replace("'", '"')) == {"opens": "9", "old": "1"}
            service.ask(PARKS, "DELETE", "/values/old")
            assert json.loads(process.stdout.readline().replace("'", '"')) == {"opens": "9"}
        finally:
            process.kill()
