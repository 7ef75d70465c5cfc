"""What `logs`, `events`, `exec`, `run` and `open` make of names, objects and events. No cloud answers here."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from wecityctl.cli import main
from wecityctl.cli.exec import entering_text
from wecityctl.engine.state import access_log
from wecityctl.engine.state.backend import open_backend
from wecityctl.errors import ConfigurationError, NoSuchStackError
from wecityctl.kube.remote import RemoteCommand
from wecityctl.model.city import App, City, Component, Route
from wecityctl.model.naming import COMPONENT_LABEL, NAME_LABEL, PART_OF_LABEL
from wecityctl.model.outputs import EntryOutputs
from wecityctl.model.since import Since
from wecityctl.operations.app_runs import runs_of
from wecityctl.operations.app_targets import Target, find_target
from wecityctl.operations.events import AppEvent, Owners, event_of, joined
from wecityctl.operations.exec import Entering, _send_input, one_component
from wecityctl.operations.history import history
from wecityctl.operations.logs import LogsOptions, _containers
from wecityctl.operations.open import address_of, app_address, port_of
from wecityctl.operations.run import find_job, job_of
from wecityctl.session import open_session

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
REPORT = Component("report", "catalogue:sample-app", schedule="0 3 * * *")


def app(name: str, tenant: str, *components: Component, **more: Any) -> App:
    return App(name, tenant, "published", "internet", "L1", components, **more)


WEB = Component("web", "catalogue:sample-app", ports={"http": 8080, "grpc": 9090})
CITY = City(
    "grove",
    "grove.gov.example",
    (),
    (),
    apps=(
        app("trees", "parks", WEB, REPORT, route=Route("trees")),
        app("trees-api", "parks", Component("x", "catalogue:sample-app")),
        app("parks", "library", Component("trees", "catalogue:sample-app")),
        app("loans", "library", WEB, Component("side", "catalogue:sample-app")),
    ),
)
TREES = CITY.apps[0]


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("trees", "parks/trees"),
        ("trees/web", "parks/trees/web"),
        ("parks/trees/web", "parks/trees/web"),
        ("library/loans", "library/loans"),
        ("parks/trees-api", "parks/trees-api"),
    ],
)
def test_names_of_apps_and_components(name: str, title: str) -> None:
    assert find_target(CITY, name).title == title


def test_a_renamed_app_has_its_old_name_too() -> None:
    city = replace(CITY, apps=(replace(TREES, known_as="forest"),))
    for name in ("forest", "trees", "parks/forest", "trees/web", "forest/web", "parks/forest/web"):
        found = find_target(city, name)
        assert found.title.startswith("parks/forest")
        assert found.app.name == "trees"
    for nothing in ("", "parks/"):
        with pytest.raises(ConfigurationError, match="there is no app"):
            find_target(city, nothing)


@pytest.mark.parametrize(
    ("name", "message", "resolution"),
    [
        ("trees/wbe", "parks/trees has no component 'wbe'", "did you mean 'web'?"),
        ("tress", "there is no app 'tress'", "did you mean 'parks/trees'?"),
        ("parks/tree", "there is no app 'parks/tree'", "did you mean 'parks/trees'?"),
        ("parks/trees", "is an app of tenant parks, and a component of app parks", "library/parks/trees"),
        ("a/b/c/d", "there is no app 'a/b/c/d'", ""),
    ],
)
def test_names_that_name_nothing(name: str, message: str, resolution: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        find_target(CITY, name)
    assert message in caught.value.message
    assert resolution in caught.value.resolution


@pytest.mark.parametrize(
    ("text", "begin"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("1h30m", NOW - timedelta(minutes=90)),
        ("2d", NOW - timedelta(days=2)),
        ("2026-05-01T18:00:00+08:00", NOW - timedelta(hours=2)),
        ("2026-05-01t10:00:00z", NOW - timedelta(hours=2)),
    ],
)
def test_since(text: str, begin: datetime) -> None:
    assert Since.parse(text).begin(NOW) == begin


@pytest.mark.parametrize("text", ["", "0s", "10", "10x", "yesterday", "2026-05-01", "2026-05-01T10:00:00", "-5m", "m"])
def test_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="is neither a duration nor a time"):
        Since.parse(text)


def test_all_lines_are_read_since_a_time_and_fifty_without() -> None:
    assert LogsOptions(app="a").lines == 50
    assert LogsOptions(app="a", since=Since(seconds=5)).lines is None
    assert LogsOptions(app="a", since=Since(seconds=5), tail=3).lines == 3


def test_objects_belong_to_the_longest_name() -> None:
    owners = Owners.of(CITY.apps_of("parks"), "internet")
    assert owners.component("trees-web-5d9f-x2") == ("trees", "web")
    assert owners.component("trees-api-x-5d9f") == ("trees-api", "x")
    assert owners.component("trees-api-y") == ("trees-api", "")
    assert owners.component("trees-binding-db") == ("trees", "")
    assert owners.component("treesome-web") is None
    assert Owners.of(CITY.apps, "extranet").names == {}


def told(last: str, *, count: int = 1, first: str = "", message: str = "pulled") -> dict[str, Any]:
    return {
        "type": "Normal",
        "reason": "Pulled",
        "message": message,
        "count": count,
        "firstTimestamp": first or last,
        "lastTimestamp": last,
        "involvedObject": {"kind": "Pod", "name": "trees-web-1"},
    }


def test_repeated_events_are_one() -> None:
    owners = Owners.of(CITY.apps, "internet")
    newer = {**told(""), "lastTimestamp": None, "firstTimestamp": None, "eventTime": "2026-05-01T12:00:01.5Z"}
    series = {**newer, "message": "again", "series": {"count": 9, "lastObservedTime": "2026-05-01T12:00:00.25Z"}}
    found = [
        event[1]
        for item in (
            told("2026-05-01T12:00:02Z", count=2, first="2026-05-01T11:00:00Z"),
            newer,
            series,
            told("2026-05-01T11:59:00Z", message="other"),
            {**told("2026-05-01T11:59:00Z"), "involvedObject": {"kind": "Pod", "name": "bus-1"}},
        )
        if (event := event_of(item, owners)) is not None
    ]
    assert [(item.message, item.count, item.first[11:19], item.last[11:19]) for item in joined(found)] == [
        ("other", 1, "11:59:00", "11:59:00"),
        ("again", 9, "12:00:01", "12:00:00"),
        ("pulled", 3, "11:00:00", "12:00:02"),
    ]
    assert joined([]) == ()
    assert isinstance(found[0], AppEvent)


def pod(name: str, component: str, made: str, run: str = "", **status: Any) -> dict[str, Any]:
    labels = {NAME_LABEL: "trees", PART_OF_LABEL: "parks", COMPONENT_LABEL: component}
    labels |= {"batch.kubernetes.io/job-name": run} if run else {}
    return {
        "metadata": {"name": name, "labels": labels, "creationTimestamp": made},
        "spec": {"containers": [{"name": component}]},
        "status": {"containerStatuses": [{"name": component, **status}]},
    }


def test_logs_of_a_job_are_those_of_its_last_run() -> None:
    pods = [
        pod("report-2-b", "report", "3", "report-2"),
        pod("report-1-a", "report", "1", "report-1"),
        pod("report-2-a", "report", "2", "report-2"),
        pod("web-a", "web", "0", lastState={"terminated": {"exitCode": 1}}),
        pod("web-b", "web", "4", lastState={}),
    ]
    target = Target(TREES)
    last = [item["metadata"]["name"] for item, _, _ in _containers(target, pods, previous=False)]
    assert last == ["web-a", "report-2-a", "report-2-b", "web-b"]
    before = [(item["metadata"]["name"], ended) for item, _, ended in _containers(target, pods, previous=True)]
    assert before == [("web-a", True), ("report-1-a", False)]
    assert _containers(target, [pods[-1]], previous=True) == []


def job(name: str, made: str, **status: Any) -> dict[str, Any]:
    labels = {NAME_LABEL: "trees", PART_OF_LABEL: "parks", COMPONENT_LABEL: "report", "controller-uid": "old"}
    return {
        "kind": "Job",
        "metadata": {"name": name, "uid": f"uid-{name}", "creationTimestamp": made},
        "spec": {"template": {"metadata": {"labels": labels}, "spec": {}}, "selector": {}, "backoffLimit": 2},
        "status": status,
    }


def test_runs_tell_their_exit_codes() -> None:
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "limit"}
    late = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}
    jobs = [
        job("c", "2026-05-01T12:00:02Z", conditions=[late]),
        job("a", "2026-05-01T12:00:00Z", conditions=[failed]),
        job("b", "2026-05-01T12:00:01Z", active=1),
    ]
    pods = [
        pod("a-2", "report", "2", "a", state={"terminated": {"exitCode": 4}}),
        pod("a-1", "report", "1", "a", state={"terminated": {"exitCode": 3}}),
        pod("b-1", "report", "1", "b", state={"running": {}}),
    ]
    runs = runs_of(jobs, pods)
    assert [(item.name, item.result, item.exit_codes, item.exit_code) for item in runs] == [
        ("a", "failed", (3, 4), 4),
        ("b", "running", (), None),
        ("c", "timed-out", (), None),
    ]
    assert (runs[0].reason, runs[0].component) == ("limit", "report")


def test_a_run_by_hand_belongs_to_its_cron_job() -> None:
    target = find_target(CITY, "trees/report")
    template = job("x", "")["spec"]
    cron = {
        "kind": "CronJob",
        "metadata": {"name": "trees-report", "uid": "u"},
        "spec": {"jobTemplate": {"spec": {**template}}},
    }
    made = job_of(cron, target, [], "anna on desk")
    assert made["metadata"]["ownerReferences"] == [
        {"apiVersion": "batch/v1", "kind": "CronJob", "name": "trees-report", "uid": "u"}
    ], "the controller of the CronJob warns of Jobs that it controls and did not make"
    assert made["spec"]["ttlSecondsAfterFinished"] == 7 * 24 * 3600
    assert made["metadata"]["name"].startswith("trees-report-now-")
    assert len(made["metadata"]["name"]) <= 63
    assert "selector" not in made["spec"]
    assert "controller-uid" not in made["spec"]["template"]["metadata"]["labels"]
    # Two people who see the same runs ask for the same name, and one of them gets it.
    assert job_of(cron, target, [], "ben")["metadata"]["name"] == made["metadata"]["name"]
    assert job_of(cron, target, [job("a", "")], "ben")["metadata"]["name"] != made["metadata"]["name"]
    again = job_of({**job("trees-migrate-1", "")}, target, [], "anna")
    assert again["metadata"]["ownerReferences"] == [
        {"apiVersion": "batch/v1", "kind": "Job", "name": "trees-migrate-1", "uid": "uid-trees-migrate-1"}
    ]


def test_what_is_no_job(tmp_path: Path) -> None:
    session = replace(open_session(ROOT / "examples" / "xingcheng"), city=CITY)
    assert find_job(session, "trees").title == "parks/trees/report"
    with pytest.raises(ConfigurationError, match="parks/trees/web is no job"):
        find_job(session, "trees/web")
    with pytest.raises(ConfigurationError, match="library/loans has no job"):
        find_job(session, "loans")


def test_the_component_of_a_command() -> None:
    assert one_component(Target(TREES)).title == "parks/trees/web"
    assert one_component(find_target(CITY, "trees-api")).title == "parks/trees-api/x"
    with pytest.raises(ConfigurationError, match="has several components"):
        one_component(find_target(CITY, "loans"))


def test_what_a_command_changes_is_lost_outside_volumes() -> None:
    told = entering_text(Entering("parks/trees/web", "trees-web-1", "web", "main"))
    assert (
        told
        == "in pod trees-web-1 of parks/trees/web: what is changed here is lost when the pod ends, and this is noted"
    )
    kept = entering_text(Entering("parks/trees/web", "trees-web-0", "web", "main", ("/data", "/var/lib/app")))
    assert "is lost when the pod ends except in /data and /var/lib/app, and" in kept


def test_ports_by_name_and_number() -> None:
    target = find_target(CITY, "trees/web")
    assert [port_of(target, name) for name in ("", "grpc", "9090")] == [8080, 9090, 9090]
    with pytest.raises(ConfigurationError, match="has no port 'ftp'"):
        port_of(target, "ftp")
    with pytest.raises(ConfigurationError, match="has no port"):
        port_of(find_target(CITY, "trees-api/x"), "")


def test_addresses() -> None:
    outputs = EntryOutputs("grove.gov.example", ("trees.grove.gov.example",), 30443, False, tls=True, authority="PEM")
    host = "trees.grove.gov.example"
    found = address_of(outputs, host, "/a", address="10.0.0.1", simulated=False, authority="/ca crt")
    assert found.url == f"https://{host}:30443/a"
    assert found.curl == f"curl --cacert '/ca crt' --resolve {host}:30443:10.0.0.1 https://{host}:30443/a"
    balanced = replace(outputs, node_port=0, authority="")
    assert address_of(balanced, host, "/", address="", simulated=False, authority="").url == f"https://{host}/"
    plain = replace(outputs, tls=False)
    simulated = address_of(plain, host, "/", address="", simulated=True, authority="/ca")
    assert (simulated.url, simulated.curl) == (f"http://{host}:30443/", "")
    assert "nothing answers" in simulated.notes[0]


def test_an_app_that_is_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    session = open_session(ROOT / "examples" / "xingcheng")
    with pytest.raises(NoSuchStackError, match="does not serve"):
        app_address(session, "health-code")
    with pytest.raises(ConfigurationError, match="has no route"):
        app_address(replace(session, city=CITY), "loans")
    city = replace(session, city=CITY)
    with pytest.raises(ConfigurationError, match="no route leads to parks/trees/report") as caught:
        app_address(city, "trees/report")
    assert "leads to component 'web'" in caught.value.details
    with pytest.raises(NoSuchStackError, match="does not serve"):
        app_address(city, "trees/web")


def test_access_is_kept_with_its_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    session = open_session(ROOT / "examples" / "xingcheng")
    backend = open_backend(session.city)
    words = ("sh", "-c", "echo [bold]; echo\u2028b")
    entry = access_log.Access("1", "exec", 1000.0, "anna on desk", "system:admin", "a/b/c", "main", "b-c-1", words)
    access_log.note(backend, entry)
    assert history(session)[0].result == "begun"
    access_log.note(backend, replace(entry, result="7", seconds=2.0))
    access_log.note(backend, replace(entry, id="2", started=900.0))
    assert [item.result for item in access_log.read(backend)] == ["7", ""]
    found = history(session)[0]
    assert (found.operation, found.result, found.who) == ("exec", "exit code 7", "anna on desk as system:admin")
    assert found.access == "a/b/c, pod b-c-1: sh -c 'echo [bold]; echo\u2028b'"
    assert found.stack == f"{session.city.name}.tenant.a.main"
    # What somebody typed neither commands a terminal nor is taken for mark-up.
    main.run(["history", str(ROOT / "examples" / "xingcheng")])
    assert "sh -c 'echo [bold]; echo\\u2028b'" in capsys.readouterr().out


class SlowCommand:
    """A command that takes its input only when it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Semaphore(0)
        self.taken = 0
        self.ended = False

    async def write(self, data: bytes) -> None:
        await self.let.acquire()
        self.taken += len(data)

    async def end_stdin(self) -> None:
        self.ended = True


async def test_input_that_comes_faster_than_it_is_taken_waits_where_it_comes_from() -> None:
    command, given = SlowCommand(), 0

    def read() -> bytes:
        nonlocal given
        given += 1
        return b"x" if given <= 1000 else b""

    sending = asyncio.create_task(_send_input(cast(RemoteCommand, command), read))
    await asyncio.sleep(0.3)
    assert given < 50
    for _ in range(1000):
        command.let.release()
    await asyncio.wait_for(sending, 20)
    assert (command.taken, command.ended) == (1000, True)
