"""Data services over a real PostgreSQL: what owners describe and grant, what consumers get, and what each may try."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stacks.platforms.data import data_services
from stacks.platforms.data.data_services.health import PROBE
from stacks.platforms.data.data_services.provision import PROVISIONER
from stacks.platforms.data.data_services.telling import TELLER
from tests.docs.blocks import ROOT, blocks_of
from tests.images.app_databases import PASSWORD, Database
from tests.images.data_services import (
    CATALOGUE,
    CONSUMER,
    HOSTILE,
    OTHER,
    OWNER,
    PURPOSE,
    READER,
    READING,
    VISITS,
    VISITS_TABLE,
    Services,
    bindings,
    described,
    pages,
    serving,
    simple,
)
from tests.images.rootfs import RootFilesystem, needs_root
from tests.support.pki import Authority
from tests.support.postgres_server import postgres_server
from wecityctl.model.city import City

Unpacked = Callable[[str], RootFilesystem]
pytestmark = [pytest.mark.build, pytest.mark.by_digest, needs_root, pytest.mark.timeout(500)]

HOW_TO = ROOT / "docs" / "how-to" / "share-data.md"
NOT_THERE = "there is no such asset, or it is not shared with your tenant"


def test_the_go_packages() -> None:
    """Their own tests: documents, statements, cursors, masks and limits."""
    done = subprocess.run(
        ["go", "test", "-trimpath", "-buildvcs=false", "-mod=readonly", "-vet=off", "./..."],
        cwd=Path(data_services.__file__).parent / "image/go",
        env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with postgres_server() as server:
        found = Database(server)
        found.prepare()
        found.account(CATALOGUE, "capability/data-services/db")
        found.account(READER, "capability/data-services/reader", READING)
        for tenant, app in (("parks", "web"), ("roads", "bus")):
            found.account(f"{tenant}_{app}_db", f"{tenant}/{app}/db")
        yield found


@pytest.fixture(scope="module")
def bound(database: Database, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Authority]:
    """The directory with the server's bindings and certificate."""
    place, authority = tmp_path_factory.mktemp("data-services"), Authority()
    for parent in (place, *place.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    bindings(database, place)
    pair = authority.server()
    for name, content in (("tls.crt", pair.cert), ("tls.key", pair.key), ("ca.crt", authority.cert)):
        (place / name).write_bytes(content)
    os.chown(place / "tls.key", 65532, 65532)
    return place, authority


@pytest.fixture(scope="module")
def services(unpacked: Unpacked, database: Database, bound: tuple[Path, Authority]) -> Iterator[Services]:
    with serving(unpacked("data-services"), database, *bound) as found:
        for who in (OWNER, CONSUMER, OTHER):
            found.account(who)
        database.sql("parks_web_db", VISITS_TABLE)
        found.put(VISITS, described())
        yield found


@pytest.mark.proves("data-services", "built", "used")
def test_a_consumer_reads_what_it_is_granted(services: Services, database: Database) -> None:
    assert "its table read" in services.script(PROBE)
    code, found = services.ask(CONSUMER, "GET", "/assets", q="游园")
    assert code == 200 and [item["asset"] for item in found["assets"]] == [VISITS]
    code, seen = services.ask(CONSUMER, "GET", f"/assets/{VISITS}")
    assert code == 200 and seen["granted"]["columns"][2] == "phone"
    assert not {"table", "grants"} & seen["document"].keys()
    code, page = services.read(CONSUMER, VISITS, purpose=PURPOSE, limit=1)
    assert code == 200, page
    assert page["rows"] == [[2, "north", "138******02", 2, "3.00", "2026-11-01 08:00:00+00", {"a": [1]}]]
    for order, sql in (("", "id"), ("age", "age NULLS LAST, id"), ("-age", "age DESC NULLS LAST, id")):
        wanted = database.sql(
            "parks_web_db",
            f"SELECT json_agg(json_build_array(id, age) ORDER BY {sql}) FROM visits WHERE park = 'north'",
        )
        asked = {"order": order} if order else {}
        assert pages(services, VISITS, columns="id,age", **asked) == json.loads(wanted), order
    got = pages(services, VISITS, columns="id", where=["age.ge.3", "id.lt.20", "seen.gt.2026-01-01"])
    assert got == [[4], [6], [12], [18]]
    assert pages(services, VISITS, columns="id", where="id.in.2,3,4") == [[2], [4]]


@pytest.mark.proves("data-services", "refused")
def test_what_is_not_granted_is_refused_with_the_reason(services: Services) -> None:
    for parameters, why in (
        ({"columns": "id,secret"}, 'column "secret" is not granted'),
        ({"columns": "id,nothing"}, 'column "nothing" is not granted'),
        ({"columns": 'id",(SELECT secret FROM visits)--'}, "is not granted"),
        ({"columns": "id", "where": "secret.eq.secret"}, 'column "secret" is not granted'),
        ({"columns": "id", "order": "-secret"}, 'column "secret" is not granted'),
        ({"columns": "id", "where": "phone.ge.138", "purpose": PURPOSE}, "is masked"),
        ({"columns": "id,phone"}, "state the purpose"),
        ({"columns": "id,phone", "purpose": "research"}, "state the purpose"),
    ):
        code, said = services.read(CONSUMER, VISITS, **parameters)
        assert (code, why in said["reason"]) == (403, True), (parameters, said)
    code, said = services.read(OTHER, VISITS)
    assert (code, said) == (403, {"reason": f"nothing of {VISITS} is granted to {OTHER}"})
    # What is not shared is answered as what is not there.
    services.put("parks/web/staff", described(sharing="none", grants=[]))
    for path in (
        "/assets/parks/web/staff",
        "/data/parks/web/staff",
        "/assets/parks/web/nothing",
        "/data/parks/web/nothing",
    ):
        assert services.ask(OTHER, "GET", path) == (404, {"reason": NOT_THERE}), path
    assert services.ask(OTHER, "GET", "/assets", q="staff")[1] == {"assets": []}
    for method, path in (("PUT", ""), ("DELETE", ""), ("GET", "/history"), ("GET", "/calls"), ("POST", "/quality")):
        body = described() if method == "PUT" else None
        code, said = services.ask(OTHER, method, f"/assets/{VISITS}{path}", body)
        assert (code, said["reason"]) == (403, f"assets of {OWNER} are changed by that app alone"), (method, path)
    for who, password in ((CONSUMER, "another-password"), ("nobody/nobody", PASSWORD), (CONSUMER, "")):
        assert services.read(who, VISITS, columns="id", password=password)[0] == 401
    assert services.ask(CONSUMER, "GET", "/accounts")[0] == 401


def test_values_are_never_statements(services: Services, database: Database) -> None:
    for value in ("' OR '1'='1", "north'; DROP TABLE visits; --", "$1", "\\", "north\\' OR 1=1 --", '"', "{}", "%"):
        assert pages(services, VISITS, columns="id", where=f"park.eq.{value}") == [], value
    for value in ("x", "1e999999", "'; SELECT 1", "2147483648"):
        code, said = services.read(CONSUMER, VISITS, columns="id", where=f"id.eq.{value}")
        assert code == 400 and said == {"field": "where", "reason": "a value does not fit its column"}, (value, said)
    for parameters in ({"where": "park.eq.a\0b"}, {"limit": "6"}, {"limit": "-1"}, {"cursor": "AAAA"}, {"filter": "1"}):
        code, said = services.read(CONSUMER, VISITS, columns="id", **parameters)
        assert code == 400 and said["reason"], (parameters, said)
    # Names of PostgreSQL may be anything.
    odd = 'a"b; --'
    quoted = odd.replace('"', '""')
    database.sql(
        "parks_web_db",
        f"""CREATE TABLE "{quoted}" ("{quoted}" int PRIMARY KEY, "select" text);
        INSERT INTO "{quoted}" VALUES (1, 'x''y');
        COMMENT ON TABLE "{quoted}" IS 'data asset parks/web/odd'; GRANT SELECT ON "{quoted}" TO {READER}""",
    )
    services.put("parks/web/odd", simple(odd, odd, "select"))
    assert pages(services, "parks/web/odd", where="select.eq.x'y") == [[1, "x'y"]]
    assert database.sql("parks_web_db", "SELECT count(*) FROM visits") == "25"


def test_an_owner_publishes_what_is_its_own_alone(services: Services, database: Database) -> None:
    """The reader may read the table; that it is published is said in a comment that nobody but its owner makes."""
    asset = "roads/bus/visits"
    services.put(asset, {**described(), "sharing": "conditional"})
    code, said = services.read(CONSUMER, asset, columns="id")
    assert (code, "rows" in said, "comment" in said["reason"]) == (502, False, False)
    grant = [{"tenant": "roads", "columns": ["id"]}]
    services.put(asset, described(grants=grant))
    code, said = services.read(OTHER, asset)
    assert code == 502 and said["reason"].endswith(f'does not have the line "data asset {asset}"')
    # Without its consent, or its grant, nothing is read any more, whatever the catalogue says.
    database.sql("parks_web_db", "COMMENT ON TABLE visits IS NULL")
    assert services.read(CONSUMER, VISITS, columns="id")[0] == 502
    database.sql("parks_web_db", f"COMMENT ON TABLE visits IS 'for reports\n data asset {VISITS} \nand others'")
    assert services.read(CONSUMER, VISITS, columns="id")[0] == 200
    database.sql("parks_web_db", f"REVOKE SELECT (age) ON visits FROM {READER}")
    assert services.read(CONSUMER, VISITS, columns="id")[0] == 200
    assert services.read(CONSUMER, VISITS, columns="id,age")[0] == 502
    database.sql("parks_web_db", f"GRANT SELECT (age) ON visits TO {READER}")
    # Neither the catalogue's database nor another server is named by an owner.
    for where in ({"database": CATALOGUE}, {"database": "postgres"}, {"schema": "pg_catalog", "name": "pg_authid"}):
        table = {**described()["table"], **where}
        services.put(asset, described(table=table, grants=grant))
        assert services.read(OTHER, asset)[0] == 502, where
    for name in ("host", "uri", "port"):
        document = described(table={**described()["table"], name: "192.0.2.1"})
        code, said = services.ask(OWNER, "PUT", f"/assets/{VISITS}", document)
        assert code == 400 and name in said["reason"]
    code, said = services.ask(OTHER, "DELETE", f"/assets/{asset}")
    assert code == 204, said


def test_functions_of_an_owner_gain_nothing(services: Services, database: Database) -> None:
    """Views run functions as who reads them: a role that has nothing else."""
    database.sql("parks_web_db", HOSTILE)
    views = ("passwords", "writing", "writable", "files", "sessions", "whose", "typed", "ruled", "counted")
    for name in views:
        kind = "TABLE" if name in ("typed", "ruled") else "SEQUENCE" if name == "counted" else "VIEW"
        database.sql(
            "parks_web_db",
            f"COMMENT ON {kind} {name} IS 'data asset parks/web/{name}'; GRANT SELECT ON {name} TO {READER}",
        )
        services.put(f"parks/web/{name}", simple(name, "id", "told"))
    for name in set(views) - {"sessions", "whose"}:
        code, said = services.read(CONSUMER, f"parks/web/{name}")
        assert code == 502 and said["reason"].startswith("the table cannot be read"), (name, said)
    # The setting is gone with the call: the same session reads tables of its schema by name alone.
    assert services.read(CONSUMER, "parks/web/sessions")[1]["rows"] == [[1, "public"]]
    assert services.read(CONSUMER, "parks/web/whose")[1]["rows"] == [[1, READER]]
    assert database.sql(READER, "SELECT told FROM probed") == "read"
    assert pages(services, VISITS, columns="id", where="id.eq.2") == [[2]]


@pytest.mark.proves("data-services", "limited")
def test_slow_large_and_many_calls_are_bounded(services: Services, database: Database) -> None:
    database.sql(
        "parks_web_db",
        f"""CREATE VIEW slow AS
          SELECT 1 AS id, set_config('statement_timeout', '0', false) || pg_sleep(60)::text AS told;
        CREATE TABLE large AS SELECT i AS id, repeat('x', 400000) AS told FROM generate_series(1, 5) i;
        CREATE TABLE huge AS SELECT 1 AS id, repeat('x', 2000000) AS told;
        COMMENT ON VIEW slow IS 'data asset parks/web/slow'; COMMENT ON TABLE large IS 'data asset parks/web/large';
        COMMENT ON TABLE huge IS 'data asset parks/web/huge'; GRANT SELECT ON slow, large, huge TO {READER}""",
    )
    for name in ("slow", "large", "huge"):
        services.put(f"parks/web/{name}", simple(name, "id", "told", minute=50))
    with ThreadPoolExecutor(6) as pool:
        slow = [pool.submit(services.read, CONSUMER, "parks/web/slow") for _ in range(5)]
        # Those who ask for something else are served meanwhile; the owner is another account.
        assert services.ask(OWNER, "GET", f"/assets/{VISITS}")[0] == 200
        answers = sorted((item.result() for item in slow), key=lambda item: item[0])
    assert [code for code, _ in answers] == [429, 503, 503, 503, 503]
    assert answers[0][1]["reason"] == "4 calls of the account are answered at a time"
    assert "not read in time" in answers[1][1]["reason"]
    code, page = services.read(CONSUMER, "parks/web/large")
    assert (code, len(page["rows"]), "cursor" in page) == (200, 2, True)
    assert [row[0] for row in pages(services, "parks/web/large")] == [1, 2, 3, 4, 5]
    assert services.read(CONSUMER, "parks/web/huge") == (502, {"reason": "a row is larger than what can be read here"})
    services.put("parks/web/huge", simple("huge", "id", "told", minute=2))
    codes = [services.read(CONSUMER, "parks/web/huge", columns="id")[0] for _ in range(4)]
    assert codes.count(429) >= 2 and codes[-1] == 429
    code, said = services.ask(OWNER, "PUT", "/assets/parks/web/much", b" " * 65_537)
    assert (code, said["reason"]) == (413, "it has at most 65536 bytes")
    code, said = services.ask(OWNER, "PUT", "/assets/parks/web/much", described(title=""))
    assert (code, said) == (400, {"field": "title", "reason": "it is a text of 1 to 200 bytes"})


def test_an_app_fills_no_catalogue(services: Services) -> None:
    owner, large = "parks/small", {"kind": "file", "title": "a file", "sharing": "none", "description": "x" * 2000}
    services.account(owner, storage=5000)
    for name in ("one", "two"):
        services.put(f"{owner}/{name}", large)
    code, said = services.ask(owner, "PUT", f"/assets/{owner}/three", large)
    assert (code, "documents of 5000 bytes together" in said["reason"]) == (403, True)
    # Its history is bounded as well, by what is kept of one asset and of all of them.
    for number in range(60):
        services.put(f"{owner}/one", {**large, "description": f"{number} {'y' * 1900}"})
    _, found = services.ask(owner, "GET", f"/assets/{owner}/one/history")
    assert found["versions"][0]["version"] == 61
    assert 20 < len(found["versions"]) < 40
    path = f"/assets/{owner}/one/quality"
    for number in range(22):
        assert services.ask(owner, "POST", path, {"rule": f"rule {number}", "passed": True})[0] == 204
    _, found = services.ask(owner, "GET", path)
    assert [item["rule"] for item in found["results"]] == [f"rule {number}" for number in range(21, 1, -1)]
    assert services.ask(owner, "POST", path, {"rule": "x" * 101, "passed": True})[1]["field"] == "rule"
    assert services.ask(owner, "DELETE", f"/assets/{owner}/two")[0] == 204
    services.put(f"{owner}/three", large)


def test_more_databases_than_connections(services: Services, database: Database) -> None:
    """Sessions that nobody uses make place, and one that the server has ended is replaced."""
    owners = [f"parks/app{number}" for number in range(11)]
    for owner in owners:
        role = f"{owner.replace('/', '_')}_db"
        services.account(owner)
        database.account(role, f"{owner}/db")
        database.sql(
            role,
            f"""CREATE TABLE one (id int PRIMARY KEY); INSERT INTO one VALUES (1);
            COMMENT ON TABLE one IS 'data asset {owner}/one'; GRANT SELECT ON one TO {READER};
            GRANT CONNECT ON DATABASE {role} TO {READER}""",
        )
        services.put(f"{owner}/one", simple("one", "id", owner=owner))
    for _ in range(2):
        for owner in owners:
            assert services.read(CONSUMER, f"{owner}/one")[1]["rows"] == [[1]], owner
    database.server.sql(f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{READER}'")
    for owner in owners:
        assert services.read(CONSUMER, f"{owner}/one")[0] == 200, owner
    open_now = database.server.sql(f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{READER}'")
    assert int(open_now) <= READING - 2


def test_an_owner_sees_who_has_read_what(services: Services) -> None:
    assert services.read(CONSUMER, VISITS, columns="id,phone", purpose=PURPOSE, limit=2)[0] == 200
    assert services.read(OTHER, VISITS)[0] == 403
    _, found = services.ask(OWNER, "GET", f"/assets/{VISITS}/calls")
    refused, read = found["calls"][:2]
    assert (read["consumer"], read["columns"], read["rows"], read["purpose"]) == (CONSUMER, ["id", "phone"], 2, PURPOSE)
    assert (refused["consumer"], refused["outcome"], refused["rows"]) == (OTHER, "refused", 0)
    _, everything = services.ask("admin", "GET", "/calls")
    assert everything["calls"][0]["number"] == refused["number"]
    code, text = services.ask("admin", "GET", "/metrics")
    names = set(re.findall(r"^(\w+)[ {]", text, re.MULTILINE))
    asked = " ".join(f"{panel.query} {panel.limit}" for panel in data_services.TYPE.dashboard)
    asked += " ".join(item.expression for item in data_services.TYPE.alerts)
    assert code == 200 and set(re.findall(r"wecity_\w+", asked)) <= names
    assert re.search(r'wecity_data_calls_total\{tenant="health",app="code",outcome="served"\} [1-9]', text)
    assert 'tenant="capability"' not in text
    code, status = services.ask("admin", "GET", TELLER.path)
    told = TELLER.judge(status, City("c", "d", (), ()), [])
    assert f"{CONSUMER} may read phone (partial) of {VISITS} for '{PURPOSE}'" in told.facts
    assert len(told.problems) == len(status["failing"])
    assert services.ask(OWNER, "GET", TELLER.path)[0] == 401


def test_assets_have_versions_lineage_and_quality(services: Services) -> None:
    made = {
        "kind": "file",
        "title": "visits of a month",
        "sharing": "conditional",
        "sources": [VISITS, "parks/web/hidden"],
    }
    services.put("parks/web/hidden", {**made, "sharing": "none", "sources": []})
    services.put("roads/bus/months", made)
    _, seen = services.ask(CONSUMER, "GET", "/assets/roads/bus/months/lineage")
    assert seen == {"sources": [VISITS], "made": []}
    _, seen = services.ask(CONSUMER, "GET", f"/assets/{VISITS}/lineage")
    assert seen == {"sources": [], "made": ["roads/bus/months"]}
    path = "/assets/roads/bus/months"
    for title, version in (("visits of a month", 1), ("visits of a year", 2), ("visits of a year", 2)):
        assert services.ask(OTHER, "PUT", path, {**made, "title": title})[1]["version"] == version
    assert services.ask(OTHER, "DELETE", path)[0] == 204
    assert services.ask(OTHER, "PUT", path, made)[1]["version"] == 4
    _, found = services.ask(OTHER, "GET", f"{path}/history")
    kept = [(item["version"], (item["document"] or {}).get("title")) for item in found["versions"]]
    assert kept == [(4, "visits of a month"), (3, None), (2, "visits of a year"), (1, "visits of a month")]
    assert {item["account"] for item in found["versions"]} == {"roads.bus.data"}
    documents = [block.text for block in blocks_of(HOW_TO) if block.language == "json"]
    services.put("parks/web/documented", json.loads(documents[0]))
    result = {"rule": "no visit without a park", "passed": False, "detail": "3 rows", "at": "2025-11-28T08:00:00Z"}
    assert services.ask(OTHER, "GET", f"{path}/quality")[1] == {"results": []}
    assert services.ask(OTHER, "GET", f"{path}/calls")[1] == {"calls": []}
    assert services.ask(OTHER, "POST", f"{path}/quality", result)[0] == 204
    assert services.ask(CONSUMER, "GET", f"{path}/quality")[1] == {"results": [result]}
    assert services.ask(CONSUMER, "GET", path)[1]["quality"] == [result]
    code, said = services.ask(OTHER, "POST", f"{path}/quality", {**result, "at": "2100-01-01T00:00:00Z"})
    assert (code, said["field"]) == (400, "at")


def test_all_is_there_after_a_restart_and_accounts_end(
    unpacked: Unpacked, services: Services, database: Database, bound: tuple[Path, Authority]
) -> None:
    services.put(VISITS, described(grants=[{**described()["grants"][0], "masks": {"phone": "hash"}}]))
    asked = {"columns": "id,phone", "purpose": PURPOSE, "limit": 1}
    _, before = services.read(CONSUMER, VISITS, **asked)
    # Beside the first one, as when pods follow one another.
    with serving(unpacked("data-services"), database, *bound) as again:
        assert again.read(CONSUMER, VISITS, **asked)[1]["rows"] == before["rows"]
        assert re.fullmatch("[0-9a-f]{32}", before["rows"][0][1])
        assert again.read(CONSUMER, VISITS, **asked, cursor=before["cursor"])[0] == 200
        again.account(CONSUMER, "a-password-of-rotation")
        assert services.read(CONSUMER, VISITS, columns="id")[0] == 401
        assert services.read(CONSUMER, VISITS, columns="id", password="a-password-of-rotation")[0] == 200
        again.account(CONSUMER)
        listed = again.script(PROVISIONER.inventory).splitlines()
        assert f"account health.code.data {CONSUMER}/data 0 open -" in listed
        assert any(re.fullmatch(f"account parks.web.data {OWNER}/data [1-9][0-9]* open -", line) for line in listed)
        # Of another owner it is left alone.
        again.script(PROVISIONER.deprovision, ACCOUNTS="parks.web.data roads/web/data")
        assert again.read(CONSUMER, VISITS, columns="id")[0] == 200
        again.script(PROVISIONER.deprovision, ACCOUNTS=f"parks.web.data {OWNER}/data")
        code, said = services.read(CONSUMER, VISITS, columns="id")
        assert (code, said["reason"]) == (403, f"the app that owns {VISITS} has left")
        assert services.ask(OWNER, "GET", "/me")[0] == 401
        again.account(OWNER)
        assert services.read(CONSUMER, VISITS, columns="id")[0] == 200
        again.script(PROVISIONER.delete, ACCOUNTS=f"parks.web.data {OWNER}/data")
        assert services.read(CONSUMER, VISITS, columns="id") == (404, {"reason": NOT_THERE})
        assert not any("parks.web.data" in line for line in again.script(PROVISIONER.inventory).splitlines())
