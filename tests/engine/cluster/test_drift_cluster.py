"""The rule for drift in whole runs on a real API server, with the state in files and in an object store."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.engine.drive import go, make_city
from tests.engine.run.test_execution import outcomes
from tests.support.control_plane import ControlPlane, free_ports
from tests.support.processes import ENDING_WITH_PARENT
from wecityctl.engine.cluster.examination import examine
from wecityctl.engine.cluster.up_to_date import UpToDateCheck
from wecityctl.engine.secrets import passphrase
from wecityctl.engine.state.backend import open_backend
from wecityctl.inputs import Cluster
from wecityctl.model.city import City
from wecityctl.model.events import Diagnostic, Event, RunResult, StackResult
from wecityctl.report.record import run_json
from wecityctl.report.summary import headline

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def object_store() -> Iterator[str]:
    """An S3 server in a process of its own; the URL of a back end in its bucket `state`."""
    (port,) = free_ports(1)
    command = (*ENDING_WITH_PARENT, sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            for _ in range(300):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                time.sleep(0.1)
            yield f"s3://state?region=us-east-1&endpoint=http://127.0.0.1:{port}&use_path_style=true"
        finally:
            server.kill()


@pytest.fixture(params=["files", "object store"])
def city(
    request: pytest.FixtureRequest, home: Path, cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> Iterator[City]:
    """A city with a network policy and a workload of one tenant, its state in files or in an object store."""
    name, url = "driftfiles", ""
    if request.param != "files":
        name, url = "driftstore", request.getfixturevalue("object_store")
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(variable, "test")
        monkeypatch.setenv(passphrase.VARIABLE, "drift")
        _make_bucket(url)
    yield make_city(name, ("health",), backend=url, closed="health", workload="health", count="1")
    cluster.kubectl("delete", "namespace", "--wait=false", "-l", f"wecity.dev/city={name}")


def _make_bucket(url: str) -> None:
    import boto3

    endpoint = url.partition("endpoint=")[2].partition("&")[0]
    boto3.client("s3", region_name="us-east-1", endpoint_url=endpoint).create_bucket(Bucket="state")


class Runs:
    """Runs of one city, and a user beside them with kubectl."""

    def __init__(self, city: City, on: Cluster, cluster: ControlPlane) -> None:
        self.city, self.on, self.cluster = city, on, cluster
        self.space = f"{city.name}-tenant-health-main"

    def go(self, operation: str, city: City | None = None, **options: object) -> RunResult:
        return go(city or self.city, operation, {"main": self.on}, program="objects", **options)

    def kubectl(self, *arguments: str) -> str:
        return self.cluster.kubectl(*arguments, "-n", self.space)

    def open_up(self) -> None:
        self.kubectl("patch", "networkpolicy", "closed", "--type=merge", "-p", '{"spec": {"ingress": [{}]}}')

    def ingress(self) -> str:
        return self.kubectl("get", "networkpolicy", "closed", "-o", "jsonpath={.spec.ingress}")


def tenant(result: RunResult) -> StackResult:
    return next(item for item in result.results if item.stack.endswith("health.main"))


def told(result: RunResult) -> list[tuple[str, str, bool]]:
    return [(item.what, item.kind, item.resolved) for stack in result.results for item in stack.findings]


def changed(result: RunResult) -> list[tuple[str, str]]:
    return [(change.op, change.name) for stack in result.results for change in stack.changes]


def test_every_row_of_the_rule(city: City, main_cluster: Cluster, cluster: ControlPlane) -> None:
    runs = Runs(city, main_cluster, cluster)
    in_files = not city.state.backend
    assert runs.go("up").exit_code == 0
    assert not runs.go("preview").has_changes
    # Gone: seen by a preview, made again by `up`, with and without a look harder.
    for options in ({}, {"skip": False}):
        runs.kubectl("delete", "networkpolicy/closed", "configmap/c0", "deployment/web")
        seen = runs.go("preview")
        gone = [("missing", kind, True) for kind in ("ConfigMap", "Deployment", "NetworkPolicy")]
        assert sorted(told(seen)) == gone
        assert sorted(changed(seen)) == [("create", "c0"), ("create", "closed"), ("create", "web")]
        assert (seen.exit_code, told(runs.go("preview"))) == (0, told(seen))
        made = runs.go("up", **options)
        assert (made.exit_code, sorted(changed(made))) == (0, sorted(changed(seen)))
        assert not runs.go("preview").has_changes
    # A security object that differs: restored, whole, and the manager named.
    runs.open_up()
    seen = runs.go("preview")
    assert told(seen) == [("security", "NetworkPolicy", True)]
    assert changed(seen) == [("update", "closed")]
    assert runs.ingress() == "[{}]"
    (found,) = examine(main_cluster, open_backend(city), [open_backend(city).read_state(tenant(seen).stack)])
    assert (found.what, found.managers, found.title) == (
        "security",
        ("kubectl-patch",),
        f"NetworkPolicy {runs.space}/closed",
    )
    mended = runs.go("up")
    assert (mended.exit_code, changed(mended), runs.ingress()) == (0, [("update", "closed")], "")
    assert any("kubectl-patch" in warning for warning in tenant(mended).warnings)
    assert not runs.go("preview").has_changes
    # A stated field that another manager changed: refused with its owner and the way out, until it is taken over.
    runs.kubectl("scale", "deployment/web", "--replicas=3")
    seen = runs.go("preview")
    assert (seen.exit_code, seen.has_changes, told(seen)) == (0, False, [("conflict", "Deployment", False)])
    refused = runs.go("up")
    assert refused.exit_code == 4
    (text,) = [text for text in (*tenant(refused).errors, *tenant(refused).warnings) if "spec.replicas" in text]
    assert "spec.replicas (3 instead of 2)" in text and "--take-over" in text and "kubectl" in text
    assert [urn.rpartition("::")[2] for urn in tenant(refused).refused] == ["web"]
    assert (tenant(refused).failed, tenant(refused).changes) == ((), ())
    assert {name for name, outcome in outcomes(refused).items() if outcome == "refused"} == {"tenant.health.main"}
    # What is there may be written into the files; and then it is the files' again.
    agreed = make_city(city.name, ("health",), backend=city.state.backend, **{**city.labels, "replicas": "3"})
    assert runs.go("up", agreed).exit_code == 0
    assert runs.go("up").exit_code == 0
    runs.kubectl("scale", "deployment/web", "--replicas=4")
    assert changed(runs.go("preview", take_over=True)) == [("update", "web")]
    assert runs.go("up", take_over=True).exit_code == 0
    assert runs.kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "2"
    # Changed and changed back: no conflict, then or with the next change of the files.
    runs.kubectl("scale", "deployment/web", "--replicas=4")
    runs.kubectl("scale", "deployment/web", "--replicas=2")
    assert told(runs.go("preview")) == []
    assert runs.go("up", agreed).exit_code == 0
    assert runs.go("up").exit_code == 0
    # Additions: reported by every run, removed when they are taken over.
    runs.kubectl("set", "env", "deployment/web", "MORE=1")
    for _ in range(2):
        kept = runs.go("up")
        assert (kept.exit_code, kept.has_changes) == (0, False)
        assert any("MORE" in warning for warning in tenant(kept).warnings)
        # Told alike, whether the stack was left out or looked at.
        seen = runs.go("preview")
        assert (tenant(seen).warnings, headline(seen)) == (tenant(kept).warnings, headline(kept))
        assert told(seen) == told(kept) == [("addition", "Deployment", False)]
    # Also by those that change the object, and by those after them.
    for _ in range(2):
        assert told(runs.go("up", agreed)) == [("addition", "Deployment", False)]
    assert runs.go("up", take_over=True).exit_code == 0
    assert runs.kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[0].env}") == ""
    last = runs.go("up")
    assert (last.has_changes, told(last)) == (False, [])
    if in_files:
        assert all(item.seconds == 0 for item in last.results)


def test_what_is_changed_back_each_time_is_restored_three_times(
    home: Path, main_cluster: Cluster, cluster: ControlPlane
) -> None:
    city = make_city("driftagain", ("health",), closed="health", count="1")
    runs = Runs(city, main_cluster, cluster)
    try:
        assert runs.go("up").exit_code == 0
        for _ in range(3):
            runs.open_up()
            assert (runs.go("up").exit_code, runs.ingress()) == (0, "")
        runs.open_up()
        for _ in range(2):
            stopped = runs.go("up")
            assert (stopped.exit_code, runs.ingress()) == (4, "[{}]")
            assert "kubectl-patch" in tenant(stopped).errors[0]
            assert "3 times" in tenant(stopped).errors[0]
            assert outcomes(stopped)["entry"] == "unchanged"
        seen = runs.go("preview")
        assert [item.restored for item in tenant(seen).findings] == [3]
        assert (seen.has_changes, len(seen.refused)) == (False, 1)
        assert (runs.go("up", take_over=True).exit_code, runs.ingress()) == (0, "")
        # Found as it should be: counted from the start.
        assert runs.go("up").exit_code == 0
        runs.open_up()
        assert (runs.go("up").exit_code, runs.ingress()) == (0, "")
        (counts,) = (home / "state" / "wecityctl" / "restored").glob("*.json")
        assert list(json.loads(counts.read_text()).values()) == [1]
    finally:
        cluster.kubectl("delete", "namespace", "--wait=false", "-l", f"wecity.dev/city={city.name}")


def test_what_was_refused_can_be_previewed_and_taken_over_with_what_the_files_change(
    home: Path, main_cluster: Cluster, cluster: ControlPlane
) -> None:
    city = make_city("drifttake", ("health",), workload="health", count="1")
    runs = Runs(city, main_cluster, cluster)
    try:
        assert runs.go("up").exit_code == 0
        runs.kubectl("scale", "deployment/web", "--replicas=3")
        assert runs.go("up").exit_code == 4
        # The refused apply is still to be tried again: no preview trips over it.
        seen = runs.go("preview")
        assert (seen.exit_code, told(seen)) == (0, [("conflict", "Deployment", False)])
        seen = runs.go("preview", take_over=True)
        assert (seen.exit_code, changed(seen)) == (0, [("update", "web")]), seen
        changing = make_city(city.name, ("health",), **{**city.labels, "replicas": "1"})
        runs.kubectl("label", "deployment/web", "cost=7")
        seen = runs.go("preview", changing, take_over=True)
        assert (seen.exit_code, changed(seen)) == (0, [("update", "web")]), seen
        # From what is there to what will be, and not from what the state has.
        (change,) = tenant(seen).changes
        shown = {(item.path, item.kind, item.old, item.new) for item in change.properties}
        assert {("spec.replicas", "update", 3, 1), ("metadata.labels.cost", "delete", "7", None)} <= shown
        assert runs.go("up", changing, take_over=True).exit_code == 0
        assert runs.kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "1"
    finally:
        cluster.kubectl("delete", "namespace", "--wait=false", "-l", f"wecity.dev/city={city.name}")


def test_what_cannot_be_changed_back_is_not_touched_and_the_way_out_is_told(
    home: Path, main_cluster: Cluster, cluster: ControlPlane
) -> None:
    """Somebody has changed a ConfigMap and closed it; and another one has only been closed."""
    city = make_city("driftfixed", ("health",), count="2")
    runs = Runs(city, main_cluster, cluster)
    try:
        assert runs.go("up").exit_code == 0
        runs.kubectl("patch", "configmap", "c0", "--type=merge", "-p", '{"data": {"text": "mine"}, "immutable": true}')
        runs.kubectl("patch", "configmap", "c1", "--type=merge", "-p", '{"immutable": true}')
        show = ("get", "configmap", "-o", "yaml", "--show-managed-fields", "-l", f"wecity.dev/city={city.name}")
        before = runs.kubectl(*show)
        seen = runs.go("preview", take_over=True)
        assert f"kubectl delete configmap c0 -n {runs.space}" in " ".join(tenant(seen).warnings)
        failed = runs.go("up", take_over=True)
        assert failed.exit_code == 4
        assert f"kubectl delete configmap c1 -n {runs.space}" in " ".join(tenant(failed).errors)
        assert runs.kubectl(*show) == before
        runs.kubectl("delete", "configmap", "c0", "c1")
        assert runs.go("up").exit_code == 0
        assert told(runs.go("up", skip=False)) == []
    finally:
        cluster.kubectl("delete", "namespace", "--wait=false", "-l", f"wecity.dev/city={city.name}")


def test_what_is_deleted_each_time_is_made_again_and_told_from_the_fourth_time_on(
    home: Path, main_cluster: Cluster, cluster: ControlPlane
) -> None:
    """Deleting counts as changing does, and the one does not reset the count of the other."""
    city = make_city("driftgone", ("health",), closed="health", count="1")
    runs = Runs(city, main_cluster, cluster)
    try:
        assert runs.go("up").exit_code == 0
        for turn in range(3):
            runs.open_up() if turn == 1 else runs.kubectl("delete", "networkpolicy", "closed")
            assert (runs.go("up").exit_code, runs.ingress()) == (0, "")
        runs.kubectl("delete", "networkpolicy", "closed")
        again = runs.go("up")
        assert (again.exit_code, runs.ingress()) == (4, "")
        assert "3 times" in tenant(again).errors[0]
        # Found as it should be: counted from the start.
        assert runs.go("up").exit_code == 0
        runs.kubectl("delete", "networkpolicy", "closed")
        assert runs.go("up").exit_code == 0
    finally:
        cluster.kubectl("delete", "namespace", "--wait=false", "-l", f"wecity.dev/city={city.name}")


def test_what_needs_a_stack_goes_on_where_something_in_it_was_only_refused(
    home: Path, main_cluster: Cluster, cluster: ControlPlane
) -> None:
    city = make_city("driftpast", ("health",), count="1", leaning="base")
    runs = Runs(city, main_cluster, cluster)
    base = f"{city.name}.base.main"

    def changing(**labels: str) -> City:
        return make_city(city.name, ("health",), **{**city.labels, **labels})

    def text(space: str) -> str:
        return cluster.kubectl("get", "configmap", "c0", "-n", space, "-o", "jsonpath={.data.text}")

    def counts(result: RunResult) -> object:
        return run_json(result)["counts"]

    def storage_class() -> object:
        state = open_backend(city).read_state(base)
        return state and state.outputs and state.outputs["storage_class"]

    try:
        assert runs.go("up").exit_code == 0
        patch = ("patch", "configmap", "c0", "--type=merge", "-p", '{"data": {"text": "mine"}}')
        cluster.kubectl(*patch, "-n", base.replace(".", "-"))
        # The base's outputs wait for what is refused: the last good ones stand in for them.
        done = runs.go("up", changing(text="two"))
        assert (done.exit_code, counts(done)) == (4, {"failed": 0, "refused": 1})
        assert outcomes(done)["base.main"] == "refused"
        assert tenant(done).outcome == outcomes(done)["entry"] == "succeeded"
        assert (text(runs.space), storage_class()) == ("two", "one")
        # Several stacks with refusals, and one where something else failed too.
        runs.kubectl(*patch)
        done = runs.go("up", changing(text="two"))
        assert counts(done) == {"failed": 0, "refused": 2}
        assert [outcomes(done)[name] for name in ("base.main", "tenant.health.main")] == ["refused", "refused"]
        failed = runs.go("up", changing(text="two", broken="health"))
        assert (counts(failed), tenant(failed).outcome) == ({"failed": 1, "refused": 2}, "failed")
        # One of two refused fields that the files agree to is refused no more.
        agreed = runs.go("up", changing(text="mine"))
        assert (agreed.exit_code, counts(agreed)) == (0, {"failed": 0, "refused": 0})
        # Without its state nothing is known of the base: nobody goes on, unless the run itself gives the outputs.
        open_backend(city).delete_stack(base)
        lost = runs.go("up", changing(text="three"))
        assert (lost.exit_code, counts(lost)) == (4, {"failed": 0, "refused": 1})
        assert [outcomes(lost)[name] for name in ("base.main", "tenant.health.main")] == ["refused", "blocked"]
        given = runs.go("up", changing(text="three", leaning=""))
        assert (outcomes(given)["base.main"], tenant(given).outcome) == ("refused", "succeeded")
        assert runs.go("up", changing(text="three", leaning=""), take_over=True).exit_code == 0
        assert not runs.go("preview", changing(text="three", leaning="")).has_changes
    finally:
        cluster.kubectl("delete", "namespace", "--wait=false", "-l", f"wecity.dev/city={city.name}")


def test_what_is_changed_in_the_last_moment_of_a_run_is_found_by_the_next(
    home: Path, main_cluster: Cluster, cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    city = make_city("driftlate", ("health",), closed="health", workload="health", count="1")
    runs = Runs(city, main_cluster, cluster)
    note = UpToDateCheck.note

    def late(self: UpToDateCheck, *arguments: Any) -> None:
        # Whoever it is: it says that it is a provider of ours.
        opened = ("patch", "networkpolicy", "closed", "--type=merge", "-p", '{"spec": {"ingress": [{}]}}')
        runs.kubectl(*opened, "--field-manager=pulumi-kubernetes-0")
        runs.kubectl("scale", "deployment/web", "--replicas=3")
        note(self, *arguments)

    try:
        assert runs.go("up").exit_code == 0
        runs.kubectl("label", "deployment/web", "cost=7")
        with monkeypatch.context() as patched:
            patched.setattr(UpToDateCheck, "note", late)
            assert changed(runs.go("up", skip=False)) == []
        found = runs.go("up")
        assert (found.exit_code, changed(found), runs.ingress()) == (4, [("update", "closed")], "")
        assert [urn.rpartition("::")[2] for urn in found.refused] == ["web"]
    finally:
        cluster.kubectl("delete", "namespace", "--wait=false", "-l", f"wecity.dev/city={city.name}")


def test_nothing_is_said_of_what_others_did_to_an_object_that_this_run_deletes(
    home: Path, main_cluster: Cluster, cluster: ControlPlane
) -> None:
    city = make_city("driftleft", ("health",), workload="health", count="1")
    runs = Runs(city, main_cluster, cluster)
    try:
        assert runs.go("up").exit_code == 0
        runs.kubectl("scale", "deployment/web", "--replicas=3")
        without = make_city(city.name, ("health",), count="1")
        events: list[Event] = []
        for operation in ("preview", "up"):
            result = runs.go(operation, without, events=events)
            assert (result.exit_code, changed(result), told(result)) == (0, [("delete", "web")], [])
            assert tenant(result).warnings == ()
        assert "spec.replicas" not in repr([event for event in events if isinstance(event, Diagnostic)])
    finally:
        cluster.kubectl("delete", "namespace", "--wait=false", "-l", f"wecity.dev/city={city.name}")


def test_what_closes_is_made_again_where_the_engine_did_not_come_to_it(
    home: Path, main_cluster: Cluster, cluster: ControlPlane
) -> None:
    """The engine fails on the namespace, and does not make what depends on it."""
    city = make_city("driftfailed", ("health",), closed="health", count="1")
    runs = Runs(city, main_cluster, cluster)
    try:
        assert runs.go("up").exit_code == 0
        runs.kubectl("delete", "networkpolicy/closed", "configmap/c0")
        cluster.kubectl("label", "namespace", runs.space, "app.kubernetes.io/managed-by=somebody", "--overwrite")
        failed = runs.go("up")
        assert (failed.exit_code, tenant(failed).outcome) == (4, "refused")
        assert ("create", "closed") in changed(failed)
        assert any("closed is gone from the cluster; made again" in text for text in tenant(failed).warnings)
        uid = runs.kubectl("get", "networkpolicy", "closed", "-o", "jsonpath={.metadata.uid}")
        assert runs.kubectl("get", "configmap", "-o", "name", "-l", f"wecity.dev/city={city.name}") == ""
        assert runs.go("up", take_over=True).exit_code == 0
        assert runs.kubectl("get", "networkpolicy", "closed", "-o", "jsonpath={.metadata.uid}") == uid
        assert not runs.go("preview").has_changes
        assert told(runs.go("up", skip=False)) == []
    finally:
        cluster.kubectl("delete", "namespace", "--wait=false", "-l", f"wecity.dev/city={city.name}")
