"""Whole runs on a real API server: skipping, drift, failure, deletion, killing, cancelling."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.engine.drive import go, make_city, plan_of
from tests.engine.run.test_execution import outcomes
from tests.support.control_plane import ControlPlane
from tests.support.processes import below, command, left_of
from tests.support.some import some
from wecityctl.engine.context.options import Timeouts
from wecityctl.engine.process.interrupts import time_limit
from wecityctl.engine.state.backend import open_backend
from wecityctl.errors import ExitCode
from wecityctl.inputs import Cluster
from wecityctl.model.city import City
from wecityctl.model.events import Event, RunResult

pytestmark = pytest.mark.cluster


@pytest.fixture
def name(request: pytest.FixtureRequest, cluster: ControlPlane) -> Iterator[str]:
    """A city's name that no other test uses; its namespaces are gone afterwards."""
    name = "c" + "".join(c for c in request.node.name if c.isalnum())[5:35].lower()
    yield name
    cluster.kubectl("delete", "namespace", "--wait=false", "-l", f"wecity.dev/city={name}")


def up(city: City, on: Cluster, **options: object) -> RunResult:
    return go(city, "up", {"main": on}, program="objects", **options)


def config_maps(cluster: ControlPlane, name: str) -> int:
    found = cluster.kubectl("get", "configmaps", "-A", "-l", f"wecity.dev/city={name}", "-o", "name")
    return len(found.splitlines())


def of(result: RunResult, stack: str) -> object:
    return next(item for item in result.results if item.stack.endswith(stack))


def test_up_is_idempotent_and_the_probe_notices_what_was_touched(
    home: Path, name: str, main_cluster: Cluster, cluster: ControlPlane
) -> None:
    city = make_city(name, ("health",))
    on = main_cluster
    assert go(city, "preview", {"main": on}, program="objects").has_changes
    assert up(city, on).exit_code == 0
    again = up(city, on)
    assert set(outcomes(again).values()) == {"unchanged"}
    assert "objects are as the run of" in of(again, "entry").reason
    # Through the engine it is the same.
    through = up(city, on, skip=False)
    assert set(outcomes(through).values()) == {"unchanged"}
    assert through.results[-1].seconds > 0
    # A second `up --no-skip` renews the record, and the next one is left out again.
    assert of(up(city, on), "entry").seconds == 0
    # Touched behind our back: this stack alone is looked at, and put right.
    space = f"{name}-tenant-health-main"
    cluster.kubectl("delete", "configmap", "c0", "-n", space)
    result = up(city, on)
    assert outcomes(result)["tenant.health.main"] == "succeeded"
    assert {key: value for key, value in outcomes(result).items() if key != "tenant.health.main"} == {
        "secrets": "unchanged",
        "base.main": "unchanged",
        "platform.application.main": "unchanged",
        "entry": "unchanged",
    }
    assert cluster.kubectl("get", "configmap", "c0", "-n", space, "-o", "jsonpath={.data.text}") == "one"
    assert set(outcomes(up(city, on)).values()) == {"unchanged"}


def test_nothing_is_left_out_past_the_age_limit_or_for_another_cluster(
    home: Path, name: str, main_cluster: Cluster
) -> None:
    city = make_city(name, ())
    up(city, main_cluster)
    assert all(item.seconds == 0 for item in some(up(city, main_cluster).results))
    old = up(city, main_cluster, timeouts=Timeouts(age=0.001))
    assert of(old, "base.main").seconds > 0
    other = replace(main_cluster, kubernetes_version="v9", identifier="another")
    looked = go(city, "preview", {"main": other}, program="objects")
    assert of(looked, "base.main").seconds > 0


def test_changed_files_change_just_what_they_say(home: Path, name: str, main_cluster: Cluster) -> None:
    up(make_city(name, ("health",)), main_cluster)
    changed = make_city(name, ("health",), text="two")
    preview = go(changed, "preview", {"main": main_cluster}, program="objects")
    (one,) = {change.properties for item in preview.results for change in item.changes}
    assert [(item.path, item.old, item.new) for item in one] == [("data.text", "one", "two")]
    result = up(changed, main_cluster)
    assert {change.op for item in result.results for change in item.changes} == {"update"}
    assert not go(changed, "preview", {"main": main_cluster}, program="objects").has_changes


def test_secret_values_never_show(home: Path, name: str, main_cluster: Cluster) -> None:
    from wecityctl.engine.context.secret_store import SecretStore
    from wecityctl.engine.run.edit_secrets import set_secret

    city = make_city(name, ("health",))
    events: list[Event] = []
    up(city, main_cluster, events=events)
    backend = open_backend(city)
    set_secret(backend, "binding/health/app/db", "a-new-value")
    preview = go(city, "preview", {"main": main_cluster}, program="objects", events=events)
    (change,) = [change for item in preview.results for change in item.changes]
    assert change.type == "kubernetes:core/v1:Secret"
    assert {item.old for item in change.properties} == {"[secret]"}
    up(city, main_cluster, events=events)
    told = repr(events)
    assert not any(value in told for value in SecretStore(backend).read().values())
    states = "".join(path.read_text() for path in (home / "state").rglob("*.json") if path.is_file())
    assert not any(value in states for value in SecretStore(backend).read().values())


def test_one_bad_object_stops_neither_its_neighbours_nor_the_next_tenant(
    home: Path, name: str, main_cluster: Cluster, cluster: ControlPlane
) -> None:
    city = make_city(name, broken="health")
    result = up(city, main_cluster)
    assert result.exit_code == ExitCode.DEPLOYMENT
    assert outcomes(result) == {
        "secrets": "succeeded",
        "base.main": "succeeded",
        "platform.application.main": "succeeded",
        "tenant.health.main": "failed",
        "tenant.traffic.main": "succeeded",
        "entry": "succeeded",
    }
    assert any("broken" in error for error in of(result, "health.main").errors)
    assert config_maps(cluster, name) == 10
    # Never left out after a failure, and everything else is.
    mended = up(make_city(name), main_cluster)
    assert mended.exit_code == 0 and of(mended, "health.main").seconds > 0


def test_protected_things_stay_until_confirmed(
    home: Path, name: str, main_cluster: Cluster, cluster: ControlPlane
) -> None:
    up(make_city(name, ("health", "traffic")), main_cluster)
    smaller = make_city(name, ("health",))
    space = f"{name}-tenant-traffic-main"
    result = up(smaller, main_cluster)
    assert result.removals == (f"{name}.tenant.traffic.main",)
    assert cluster.kubectl("get", "namespace", space, "-o", "name")
    result = up(smaller, main_cluster, confirm_all=True)
    assert result.exit_code == 0, result
    assert {change.op for change in of(result, "traffic.main").changes} == {"delete"}
    assert cluster.kubectl("get", "namespace", space, "--ignore-not-found", "-o", "name") == ""


def test_destroy_keeps_volumes_and_what_opens_them(
    home: Path, name: str, main_cluster: Cluster, cluster: ControlPlane
) -> None:
    city = make_city(name, ("health", "traffic"))
    up(city, main_cluster)
    held, free = f"{name}-tenant-health-main", f"{name}-tenant-traffic-main"
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data-0", "namespace": held},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(claim))
    result = go(city, "destroy", {"main": main_cluster}, program="objects")
    assert result.exit_code == 0, result
    assert [(item.name, item.why) for item in of(result, "health.main").kept] == [
        (held, "holds the volume claim data-0")
    ]
    assert cluster.kubectl("get", "pvc", "data-0", "-n", held, "-o", "name")
    assert cluster.kubectl("get", "namespace", free, "--ignore-not-found", "-o", "name") == ""
    assert open_backend(city).list_stacks() == (f"{name}.secrets",)
    # The namespace that stayed is taken over again, and goes with the data when that is asked for.
    assert up(city, main_cluster).exit_code == 0
    result = go(city, "destroy", {"main": main_cluster}, program="objects", delete_data=True)
    assert result.exit_code == 0, result
    assert cluster.kubectl("get", "namespace", held, "--ignore-not-found", "-o", "name") == ""
    assert open_backend(city).list_stacks() == ()


def test_what_destroy_keeps_is_marked_and_back_in_the_state_for_the_next_up(
    home: Path, name: str, main_cluster: Cluster, cluster: ControlPlane
) -> None:
    """No creation is asked for, which the official plug-in would refuse: the objects exist."""
    city, space = make_city(name, ("health",), claim="health"), f"{name}-tenant-health-main"

    def claim() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(cluster.kubectl("get", "pvc", "data", "-n", space, "-o", "json"))
        return dict(found["metadata"])

    def marks() -> set[str]:
        return {key for key in claim().get("annotations", {}) if key.startswith("wecity.dev/retained")}

    up(city, main_cluster)
    first = claim()["uid"]
    assert go(city, "destroy", {"main": main_cluster}, program="objects").exit_code == 0
    assert len(marks()) == 2
    assert open_backend(city).list_stacks() == (f"{name}.secrets",)
    before = claim()
    for operation in ("preview", "up"):
        result = go(city, operation, {"main": main_cluster}, program="objects")
        assert result.exit_code == 0, result
        created = {change.name for change in of(result, "health.main").changes if change.op == "create"}
        assert "c0" in created
        assert not created & {"space", "data"}, operation
        assert "retained" not in repr(result), "our own mark is nobody's addition"
        if operation == "preview":
            assert claim() == before, "a preview changes nothing"
    assert claim()["uid"] == first
    assert marks() == set()
    assert set(outcomes(up(city, main_cluster, skip=False)).values()) == {"unchanged"}
    # Kept again, and given up at last, when no state knows it any more.
    go(city, "destroy", {"main": main_cluster}, program="objects")
    result = go(city, "destroy", {"main": main_cluster}, program="objects", delete_data=True)
    assert result.exit_code == 0, result
    assert cluster.kubectl("get", "namespace", space, "--ignore-not-found", "-o", "name") == ""
    assert open_backend(city).list_stacks() == ()


def test_a_volume_that_leaves_the_files_while_it_is_kept_stays_kept(
    home: Path, name: str, main_cluster: Cluster, cluster: ControlPlane
) -> None:
    city, without = make_city(name, ("health",), claim="health"), make_city(name, ("health",))
    space = f"{name}-tenant-health-main"
    uid = ("get", "pvc", "data", "-n", space, "-o", "jsonpath={.metadata.uid}")
    up(city, main_cluster)
    first = cluster.kubectl(*uid)
    go(city, "destroy", {"main": main_cluster}, program="objects")
    assert up(without, main_cluster).exit_code == 0
    assert cluster.kubectl(*uid) == first
    # Dropped from the state by an `up` that was confirmed, it is kept and found again as well.
    assert up(city, main_cluster).exit_code == 0
    assert up(without, main_cluster, confirm_all=True).exit_code == 0
    assert cluster.kubectl(*uid) == first
    result = up(city, main_cluster)
    assert result.exit_code == 0, result
    assert "create" not in {change.op for change in of(result, "health.main").changes}
    assert cluster.kubectl(*uid) == first


def test_part_of_a_city_is_destroyed_with_what_needs_it(
    home: Path, name: str, main_cluster: Cluster, cluster: ControlPlane
) -> None:
    city = make_city(name)
    up(city, main_cluster)
    part = plan_of(city).needing(["traffic"])
    assert [stack.name for stack in part.stacks] == [f"{name}.tenant.traffic.main", f"{name}.entry"]
    result = go(city, "destroy", {"main": main_cluster}, program="objects", plan=part)
    assert [item.stack for item in result.results] == [f"{name}.entry", f"{name}.tenant.traffic.main"]
    assert f"{name}.tenant.health.main" in open_backend(city).list_stacks()


def test_refresh_takes_over_what_others_did(
    home: Path, name: str, main_cluster: Cluster, cluster: ControlPlane
) -> None:
    city = make_city(name, ("health",))
    up(city, main_cluster)
    cluster.kubectl("delete", "configmap", "c1", "-n", f"{name}-tenant-health-main")
    result = go(city, "refresh", {"main": main_cluster}, program="objects")
    assert result.exit_code == 0, result
    assert [(change.name, change.op) for change in of(result, "health.main").changes] == [("c1", "delete")]
    preview = go(city, "preview", {"main": main_cluster}, program="objects")
    assert [(c.name, c.op) for item in preview.results for c in item.changes] == [("c1", "create")]


def test_an_unreachable_cluster_is_told_and_the_state_kept(home: Path, name: str, main_cluster: Cluster) -> None:
    city = make_city(name, ())
    up(city, main_cluster)
    before = open_backend(city).read_state(f"{name}.base.main")
    config = json.loads(main_cluster.kubeconfig)
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    gone = replace(main_cluster, kubeconfig=json.dumps(config))
    result = up(make_city(name, (), text="two"), gone)
    assert result.exit_code == ExitCode.DEPLOYMENT
    assert outcomes(result)["base.main"] == "failed"
    assert any("127.0.0.1:1" in error for error in of(result, "base.main").errors)
    after = open_backend(city).read_state(f"{name}.base.main")
    assert before is not None and after is not None and after.urns == before.urns
    assert up(make_city(name, (), text="two"), main_cluster).exit_code == 0


class Drive:
    """A run in a process of its own."""

    def __init__(self, home: Path, name: str, on: Cluster, **labels: str) -> None:
        order = {
            "city": name,
            "arguments": {"tenants": ["health", "traffic"], **labels},
            "operation": "up",
            "program": "objects",
            "options": {},
            "kubeconfig": on.kubeconfig,
            "uid": on.identifier,
        }
        path = home / "order.json"
        path.write_text(json.dumps(order))
        self.log = home / "drive.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.engine.drive", str(path)],
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parents[2],
            )

    def wait_for(self, line: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while line not in self.log.read_text():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)


@pytest.mark.parametrize(
    "moment",
    ["StackStarted {0}.base.main", "ResourceStarted {0}.base.main c3", "ResourceFinished {0}.tenant.health.main c5"],
    ids=["early", "middle", "late"],
)
def test_killing_up_leaves_nothing_behind_and_the_next_one_converges(
    home: Path, name: str, main_cluster: Cluster, cluster: ControlPlane, moment: str
) -> None:
    drive = Drive(home, name, main_cluster, count="12")
    drive.wait_for(moment.format(name))
    started = below(drive.process.pid)
    assert started
    drive.process.send_signal(signal.SIGKILL)
    drive.process.wait()
    assert left_of(started) == []
    city = make_city(name, count="12")
    result = up(city, main_cluster)
    assert result.exit_code == 0, result
    assert config_maps(cluster, name) == 60
    # What the killed run made belongs to the state: a smaller city leaves none of it behind.
    result = up(make_city(name, count="1"), main_cluster)
    assert result.exit_code == 0, result
    assert config_maps(cluster, name) == 5


def test_an_object_whose_creation_was_interrupted_is_not_orphaned(
    home: Path, name: str, main_cluster: Cluster, cluster: ControlPlane
) -> None:
    drive = Drive(home, name, main_cluster, count="40")
    drive.wait_for(f"ResourceStarted {name}.base.main c20")
    drive.process.send_signal(signal.SIGKILL)
    drive.process.wait()
    # At once with fewer objects: those that exist and are wanted no more have to go.
    result = up(make_city(name, count="1"), main_cluster)
    assert result.exit_code == 0, result
    assert config_maps(cluster, name) == 5


def test_ctrl_c_ends_in_order(home: Path, name: str, main_cluster: Cluster, cluster: ControlPlane) -> None:
    drive = Drive(home, name, main_cluster, count="60")
    drive.wait_for(f"ResourceStarted {name}.base.main c3")
    started = below(drive.process.pid)
    assert started
    drive.process.send_signal(signal.SIGINT)
    assert drive.process.wait(60) == ExitCode.CANCELLED, drive.log.read_text()
    assert left_of(started) == []
    state = open_backend(make_city(name)).read_state(f"{name}.base.main")
    assert state is not None and state.pending == ()
    result = up(make_city(name, count="60"), main_cluster)
    assert result.exit_code == 0, result
    assert config_maps(cluster, name) == 300


def test_what_is_waited_for_is_told_and_may_be_interrupted(
    home: Path, name: str, main_cluster: Cluster, cluster: ControlPlane
) -> None:
    drive = Drive(home, name, main_cluster, workload="health", nowhere="yes")
    drive.wait_for(f"ResourceWaiting {name}.tenant.health.main web")
    drive.wait_for(f"StackFinished {name}.tenant.traffic.main succeeded")
    drive.process.send_signal(signal.SIGINT)
    assert drive.process.wait(60) == ExitCode.CANCELLED, drive.log.read_text()
    # What was made and is not ready is in the state, and the next run goes on with it.
    state = open_backend(make_city(name)).read_state(f"{name}.tenant.health.main")
    assert state is not None and any(item.name == "web" for item in state.resources)
    result = up(make_city(name, workload="health"), main_cluster)
    assert result.exit_code == 0, result


def test_a_killed_engine_is_an_error_of_its_stack(home: Path, name: str, main_cluster: Cluster) -> None:
    drive = Drive(home, name, main_cluster, count="60")
    drive.wait_for(f"ResourceStarted {name}.base.main c3")
    engines = [each for each in below(drive.process.pid) if "pulumi up" in command(each)]
    assert engines
    assert all(each.send(signal.SIGKILL) for each in engines)
    assert drive.process.wait(60) == ExitCode.DEPLOYMENT, drive.log.read_text()
    assert up(make_city(name, count="60"), main_cluster).exit_code == 0


def test_a_failure_while_drift_is_taken_over_ends_the_run(
    home: Path, name: str, main_cluster: Cluster, cluster: ControlPlane
) -> None:
    city = make_city(name, ("health",), chain="yes", count="4")
    up(city, main_cluster)
    space = f"{name}-tenant-health-main"
    patch = '{"data": {"text": "by hand"}}'
    cluster.kubectl("patch", "configmap", "c0", "-n", space, "--field-manager=someone", "--type=merge", "-p", patch)
    cluster.kubectl("delete", "configmap", "c3", "-n", space)
    # The engine skips what depends on c0, and once waited for it for ever.
    result = up(city, main_cluster, refresh=True, timeouts=Timeouts(stack=60, cancel=5))
    assert result.exit_code == ExitCode.DEPLOYMENT, result
    health = of(result, "health.main")
    assert health.outcome == "refused"
    assert "someone" in "".join(health.errors)
    assert of(result, "entry").outcome == "unchanged"


def test_the_end_of_the_runs_time_names_what_was_waited_for(home: Path, name: str, main_cluster: Cluster) -> None:
    with time_limit(25, lambda: ""):
        result = up(make_city(name, workload="health", nowhere="yes"), main_cluster, timeouts=Timeouts(cancel=20))
    assert result.exit_code == ExitCode.TIMEOUT, result
    health = of(result, "health.main")
    assert health.outcome == "failed"
    assert health.reason.startswith("the run's time was over: it waited for web (create): waiting for 2 of 2 pods")
    assert "0/1 nodes are available" in health.reason
    assert of(result, "traffic.main").outcome == "succeeded"
    assert of(result, "entry").reason == "not started: the run's time was over"
    # Nothing is lost by it: the next run goes on.
    assert up(make_city(name, workload="health"), main_cluster).exit_code == 0
