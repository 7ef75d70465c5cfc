"""The pipeline's image over a real PostgreSQL and real data services: from records to what a consumer is answered."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import yaml

from tests.images.data_services import CATALOGUE, OWNER, PASSWORD, READER, Database, Services, bindings, serving
from tests.images.rootfs import RootFilesystem, free_port, needs_root, wait_for
from tests.support.pki import Authority
from tests.support.postgres_server import postgres_server

Unpacked = Callable[[str], RootFilesystem]
pytestmark = [pytest.mark.build, pytest.mark.by_digest("examples/pipeline"), needs_root, pytest.mark.timeout(500)]

EXAMPLE = Path(__file__).parents[2] / "examples/pipeline/air.yaml"
# Owner is parks/web; the consumer of the example is granted, and another app is not.
CONSUMER, OTHER = "health-commission/advice", "roads/bus"
DATABASE = "parks_web_db"


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with postgres_server() as server:
        found = Database(server)
        found.prepare()
        found.account(CATALOGUE, "capability/data-services/db")
        found.account(READER, "capability/data-services/reader")
        found.account(DATABASE, "parks/web/db")
        yield found


@pytest.fixture(scope="module")
def place(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the servers and the pipeline are given: bindings, certificates, the example's description, an inbox."""
    found, authority = tmp_path_factory.mktemp("pipeline"), Authority()
    for parent in (found, *found.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    bindings(database, found)
    pair = authority.server()
    for name, content in (("tls.crt", pair.cert), ("tls.key", pair.key), ("ca.crt", authority.cert)):
        (found / name).write_bytes(content)
    (found / "tls.key").chmod(0o644)
    app = next(item for item in yaml.safe_load_all(EXAMPLE.read_text()) if item["kind"] == "App")
    (found / "description.json").write_text(*app["spec"]["components"][0]["files"].values())
    (found / "files" / "inbox").mkdir(parents=True)
    for each in (found / "files", found / "files/inbox"):
        each.chmod(0o777)
    return found


@pytest.fixture(scope="module")
def services(unpacked: Unpacked, database: Database, place: Path) -> Iterator[Services]:
    authority = Authority()
    pair = authority.server()
    for name, content in (("tls.crt", pair.cert), ("tls.key", pair.key), ("ca.crt", authority.cert)):
        (place / name).write_bytes(content)
    with serving(unpacked("data-services"), database, place, authority) as found:
        for who in (OWNER, CONSUMER, OTHER):
            found.account(who)
        server = {"host": "127.0.0.1", "port": str(database.server.port), "database": DATABASE, "username": DATABASE}
        data = {"uri": f"https://127.0.0.1:{found.port}", "username": f"{OWNER.replace('/', '.')}.data"}
        data["ca.crt"] = authority.cert.decode()
        for alias, kind, entries in (("db", "postgresql", server), ("data", "data-services", data)):
            root = place / "app" / alias
            root.mkdir(parents=True)
            for name, text in {"type": kind, "password": PASSWORD, **entries}.items():
                (root / name).write_text(text)
        yield found


@pytest.fixture(scope="module")
def step(unpacked: Unpacked, services: Services, place: Path) -> Callable[..., str]:
    """Runs a step of the pipeline, and returns what it prints."""

    def run(*words: str, code: int = 0, **env: str) -> str:
        given = environment(place) | env
        done = unpacked("pipeline").run("python3", "-m", "pipeline", *words, shared=[place], **given)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    run("prepare")
    return run


def environment(place: Path) -> dict[str, str]:
    inside = f"/tmp{place}"
    return {
        "SERVICE_BINDING_ROOT": f"{inside}/app",
        "DESCRIPTION": f"{inside}/description.json",
        "INBOX": f"{inside}/files",
    }


@contextmanager
def collecting(image: RootFilesystem, place: Path) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """The step that collects: its port and its process."""
    port = free_port()
    given = environment(place) | {"PORT": str(port)}
    with image.running("python3", "-m", "pipeline", "collect", shared=[place], **given) as process:
        wait_for("the pipeline", lambda: send(port, "GET", "/readyz")[0] == 200 or None, process)
        yield port, process


def send(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    text = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urlopen(Request(f"http://127.0.0.1:{port}{path}", text, method=method), timeout=20) as answer:
            code, content = answer.status, answer.read()
    except HTTPError as error:
        code, content = error.code, error.read()
    return code, content.decode() if path == "/metrics" else json.loads(content)


def status_for_length(port: int, length: str) -> int:
    """The answer to a request that only says how long it is."""
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/records", headers={"Content-Length": length})
    try:
        return connection.getresponse().status
    finally:
        connection.close()


def reading(at: datetime, value: Any, **more: Any) -> dict[str, Any]:
    return {"station": "s001", "at": at.isoformat(), "pm25": value, **more}


@pytest.fixture(scope="module")
def hour() -> datetime:
    """An hour of which there is a forecast, even if the next one begins meanwhile."""
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=2)


@pytest.mark.parametrize("fault", [("fields.pm25.type", "text", "measure"), ("grants.hourly.0.columns", ["x"], "x")])
def test_a_wrong_description_is_said(step: Callable[..., str], place: Path, fault: tuple[str, Any, str]) -> None:
    path, value, word = fault
    whole = json.loads((place / "description.json").read_text())
    *above, last = path.split(".")
    part: Any = whole
    for name in above:
        part = part[int(name) if name.isdigit() else name]
    part[last] = value
    part.pop("least", None), part.pop("most", None)
    (place / "wrong.json").write_text(json.dumps(whole))
    said = step("prepare", code=1, DESCRIPTION=f"/tmp{place}/wrong.json")
    assert said.startswith("error: ") and word in said and "Traceback" not in said


def test_a_database_that_is_not_there_is_said(step: Callable[..., str], place: Path) -> None:
    shutil.copytree(place / "app", place / "lost")
    (place / "lost/db/port").write_text("1")
    said = step("compute", code=1, SERVICE_BINDING_ROOT=f"/tmp{place}/lost")
    assert said.startswith("error: the database: ") and "Traceback" not in said
    (place / "lost/data/password").write_text("wrong")
    (place / "lost/db/port").write_text((place / "app/db/port").read_text())
    said = step("prepare", code=1, SERVICE_BINDING_ROOT=f"/tmp{place}/lost")
    assert said.startswith("error: data services: GET /me: 401")


def test_from_records_to_a_consumer(
    step: Callable[..., str], unpacked: Unpacked, services: Services, database: Database, place: Path, hour: datetime
) -> None:
    past = [reading(hour - timedelta(days=day), 10.0 * day) for day in (1, 2, 3)]
    now = datetime.now(UTC)
    with collecting(unpacked("pipeline"), place) as (port, process):
        # Good ones, a late one, one twice, and each way of being wrong.
        fresh = reading(now, 35, keeper="ann")
        wrong = [
            reading(now, "high"), reading(now, 1001), reading(now, 1, smell="bad"), {"station": "s001"}, 7,
            reading(now, 1) | {"station": "x'; DROP TABLE records; --"}, reading(now + timedelta(hours=1), 1),
            reading(now.replace(tzinfo=None), 1),
        ]  # fmt: skip
        code, said = send(port, "POST", "/records", [*past, fresh, fresh, *wrong])
        assert (code, said["accepted"], said["late"], said["duplicate"], said["refused"]) == (200, 4, 3, 1, 8)
        reasons = [(each["record"], each["field"], each["reason"]) for each in said["first_refused"]]
        assert reasons[:5] == [
            (5, "pm25", "is no number"), (6, "pm25", "is more than 1000"),
            (7, "smell", "is no field of the description"), (8, "at", "is missing"), (9, "", "is no object"),
        ]  # fmt: skip
        assert [field for _, field, _ in reasons[5:]] == ["station", "at", "at"]
        # Another value for the same station and time is no correction.
        assert send(port, "POST", "/records", fresh | {"pm25": 36})[1]["refused"] == 1
        assert send(port, "POST", "/records", b"{")[0] == 400
        assert send(port, "POST", "/records", b"[" * 100_000)[0] == 400
        assert [status_for_length(port, length) for length in ("1048577", "-1", "9" * 5000)] == [413, 411, 411]
        # The file comes whole, under its name, as it is renamed.
        inbox = place / "files/inbox"
        (inbox / "a.part").write_text(f"station,at,pm25,keeper\ns002,{now.isoformat()},12,\ns002,yesterday,12,\n")
        (inbox / "a.part").rename(inbox / "a.csv")
        (inbox / "b.csv").write_bytes(b"\xff\xfe")
        wait_for("the files", lambda: not list(inbox.glob("*.csv")) or None, process)
        assert (place / "files/done/a.csv").is_file() and (place / "files/refused/b.csv").is_file()
        metrics = send(port, "GET", "/metrics")[1]
        assert 'pipeline_records_today{source="http",outcome="refused"} 9' in metrics
        assert 'pipeline_records_today{source="file",outcome="accepted"} 1' in metrics
    kept = database.sql(DATABASE, "SELECT field || ': ' || reason FROM refused WHERE source = 'file'")
    assert kept == "at: is no time such as 2026-11-28T08:00:00+08:00"

    computed = json.loads(step("compute"))
    assert computed["groups"] == ["s001", "s002"]
    assert computed["checks"] == {
        "at most 20 % of a day's records are refused": False,
        "the newest hour is at most 2 hours old": True,
    }
    code, page = services.read(CONSUMER, "parks/web/records")
    assert code == 200 and page["columns"] == ["station", "at", "pm25", "late"], page
    assert [row[2:] for row in page["rows"]] == [[30, True], [20, True], [10, True], [35, False], [12, False]]
    code, page = services.read(CONSUMER, "parks/web/hourly", where="grouped.eq.s001", columns="records,mean,most")
    assert page["rows"] == [["1", 30, 30], ["1", 20, 20], ["1", 10, 10], ["1", 35, 35]]
    # The mean of the same hour of the last three days, of 10, 20 and 30.
    code, page = services.read(CONSUMER, "parks/web/forecast")
    (row,) = (item for item in page["rows"] if item[0] == "s001" and item[5] == 3)
    names = dict(zip(page["columns"], row, strict=True))
    assert (names["expected"], names["lowest"], names["highest"]) == (20, 10, 30)


def test_who_may_not_is_refused(step: Callable[..., str], services: Services) -> None:
    assert services.read(OTHER, "parks/web/forecast")[0] == 403
    code, said = services.read(CONSUMER, "parks/web/records", columns="keeper")
    assert (code, said["reason"]) == (403, 'column "keeper" is not granted')
    assert services.read(CONSUMER, "parks/web/records", where="keeper.eq.ann")[0] == 403
    # What nobody is granted the server of data services cannot read either.
    said = services.database.sql(DATABASE, f"SELECT has_column_privilege('{READER}', 'records', 'keeper', 'SELECT')")
    assert said == "f"


def test_assets_tell_where_they_come_from_and_how_good_they_are(step: Callable[..., str], services: Services) -> None:
    _, found = services.ask(CONSUMER, "GET", "/assets", tenant="parks")
    assert {item["asset"] for item in found["assets"]} == {
        f"parks/web/{name}" for name in ("records", "hourly", "forecast")
    }
    _, lineage = services.ask(CONSUMER, "GET", "/assets/parks/web/forecast/lineage")
    assert "parks/web/hourly" in json.dumps(lineage)
    _, described = services.ask(CONSUMER, "GET", "/assets/parks/web/records")
    classes = {column["name"]: column["class"] for column in described["document"]["columns"]}
    assert classes["keeper"] == "personal" and classes["pm25"] == "open"
    _, quality = services.ask(CONSUMER, "GET", "/assets/parks/web/records/quality")
    assert re.search(r'"passed": false.*10 of 16', json.dumps(quality)), quality
    # The same again makes no new version.
    before = described["version"]
    step("prepare")
    assert services.ask(CONSUMER, "GET", "/assets/parks/web/records")[1]["version"] == before


def test_a_late_record_changes_its_hour_and_an_added_field_its_table(
    step: Callable[..., str], unpacked: Unpacked, services: Services, place: Path, hour: datetime
) -> None:
    whole = json.loads((place / "description.json").read_text())
    whole["fields"]["wind"] = {"type": "number", "class": "open", "optional": True}
    (place / "description.json").write_text(json.dumps(whole))
    step("prepare")
    with collecting(unpacked("pipeline"), place) as (port, _):
        late = reading(hour - timedelta(days=1) + timedelta(minutes=1), 50, wind=3)
        assert send(port, "POST", "/records", late)[1]["late"] == 1
    assert json.loads(step("compute"))["groups"] == ["s001"]
    since = f"hour.eq.{(hour - timedelta(days=1)).isoformat()}"
    page = services.read(CONSUMER, "parks/web/hourly", where=since, columns="records,mean,most")[1]
    assert page["rows"] == [["2", 30, 50]]
    whole["fields"]["wind"]["type"] = "text"
    (place / "wrong.json").write_text(json.dumps(whole))
    said = step("prepare", code=1, DESCRIPTION=f"/tmp{place}/wrong.json")
    assert "fields.wind.type: is text, and the table has double precision; give the field another name" in said
