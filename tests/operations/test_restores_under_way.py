"""What excludes what while data is restored, on a real API server with controllers: `up`, and all backups."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from stacks.catalogue import load_catalogue
from stacks.platforms.backups import Task, job, notice, writers
from tests.engine.drive import make_city
from tests.support.control_plane import ControlPlane
from wecityctl.engine.cluster.account_jobs import run_job
from wecityctl.engine.state.engine_lock import LockedError
from wecityctl.errors import WecityError
from wecityctl.inputs import Cluster, Clusters
from wecityctl.model.city import Backup, City
from wecityctl.model.outputs import Endpoint
from wecityctl.operations.restores_under_way import require_no_restore

pytestmark = pytest.mark.cluster

WRITERS = writers("postgresql")


@pytest.fixture
def city() -> City:
    found = make_city("way")
    backup = Backup("s3://backups", "cn-hubei", "https://192.0.2.1:9000", ("192.0.2.0/24",), "keys", "password")
    return replace(found, compliance=replace(found.compliance, backup=backup))


@pytest.fixture
def reached(cluster: ControlPlane) -> Cluster:
    return Cluster("main", cluster.kubeconfig_text, "", "uid")


@pytest.fixture
def endpoint(cluster: ControlPlane) -> Iterator[Endpoint]:
    """A capability in a namespace of its own."""
    namespace = f"platform-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", namespace)
    yield Endpoint(
        capability="postgresql", type="postgresql", engine="postgresql", namespace=namespace, service="postgresql",
        port=5432, pod_labels={}, admin_secret="admin", image="image",
    )  # fmt: skip
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


def made(city: City, cluster: Cluster, endpoint: Endpoint, task: Task, **spec: Any) -> dict[str, Any]:
    """A task's Job, with changes of its spec."""
    found = job(city, load_catalogue()["postgresql"], cluster, endpoint, "backup", task, {"MARK": "a"}, is_tls=False)
    return {**found, "spec": {**found["spec"], **spec}}


def named(cluster: ControlPlane, endpoint: Endpoint, kind: str) -> list[str]:
    found = cluster.kubectl("get", kind, "-n", endpoint.namespace, "-o", "name").split()
    return [item.partition("/")[2] for item in found if item != "configmap/kube-root-ca.crt"]


def until(done: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_an_up_is_refused_while_a_restore_goes_on(
    city: City, cluster: ControlPlane, reached: Cluster, endpoint: Endpoint
) -> None:
    clusters = Clusters({"main": reached})
    require_no_restore(city, clusters)
    # One that nobody has let begin and nobody ends.
    going = made(city, reached, endpoint, "restore", parallelism=0)
    name = going["metadata"]["name"]
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(going))
    with pytest.raises(LockedError, match=f"a restore goes on: job {endpoint.namespace}/{name} on main") as refused:
        require_no_restore(city, clusters)
    assert f"kubectl delete job -n {endpoint.namespace} {name}" in refused.value.resolution
    # Another city of the same cluster is not concerned, nor is one that takes no backups.
    require_no_restore(replace(city, name="other"), clusters)
    require_no_restore(replace(city, compliance=replace(city.compliance, backup=Backup())), clusters)
    cluster.kubectl("delete", "job", name, "-n", endpoint.namespace, "--wait=false", "--cascade=orphan")
    cluster.kubectl("wait", "--for=delete", f"job/{name}", "-n", endpoint.namespace, "--timeout=30s")
    require_no_restore(city, clusters)


def test_backups_are_told_from_before_a_restore_begins_until_its_job_is_gone(
    city: City, cluster: ControlPlane, reached: Cluster, endpoint: Endpoint
) -> None:
    # Its pods are scheduled nowhere, so that it goes on until it is removed.
    restore = made(city, reached, endpoint, "restore")
    restore["spec"]["template"]["spec"]["nodeSelector"] = {"there-is": "none"}
    told, name = notice(city, endpoint), restore["metadata"]["name"]
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(run_job, reached, restore, 120.0, alone=WRITERS, notice=told)
        until(lambda: bool(named(cluster, endpoint, "pods")) or going.done())
        assert named(cluster, endpoint, "configmaps") == [told["metadata"]["name"]], going
        with pytest.raises(LockedError, match=f"another one is under way: job {name}"):
            run_job(reached, made(city, reached, endpoint, "backup"), 60.0, alone=WRITERS)
        # Whoever removes the Job, as the cluster does with one whose command was killed, removes the notice with it.
        cluster.kubectl("delete", "job", name, "-n", endpoint.namespace, "--timeout=30s")
        with pytest.raises(WecityError):
            going.result(60)
    until(lambda: not named(cluster, endpoint, "configmaps"))
    # On the simulated node it ends.
    simulated, again = replace(reached, simulated=True), made(city, reached, endpoint, "restore")
    assert run_job(simulated, again, 60.0, alone=WRITERS, notice=told) == ""
    assert not named(cluster, endpoint, "jobs")
    until(lambda: not named(cluster, endpoint, "configmaps"))


@pytest.mark.parametrize("backup", [{"parallelism": 0}, {}], ids=["between two tries", "with a pod"])
def test_a_restore_does_not_begin_beside_a_backup(
    city: City, cluster: ControlPlane, reached: Cluster, endpoint: Endpoint, backup: Mapping[str, Any]
) -> None:
    scheduled = made(city, reached, endpoint, "backup", **backup)
    scheduled["spec"]["template"]["spec"]["nodeSelector"] = {"there-is": "none"}
    # As a CronJob makes it, whose Jobs state no labels.
    scheduled["metadata"] = {"name": "by-schedule", "namespace": endpoint.namespace}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(scheduled))
    restore = made(city, reached, endpoint, "restore")
    with pytest.raises(LockedError, match="another one is under way: job by-schedule"):
        run_job(reached, restore, 60.0, alone=WRITERS, notice=notice(city, endpoint))
    assert named(cluster, endpoint, "jobs") == ["by-schedule"]
    until(lambda: not named(cluster, endpoint, "configmaps"))


@pytest.mark.parametrize("next_command", ["up", "restore", "backup"])
def test_what_a_command_that_was_killed_had_no_time_to_begin_is_removed(
    city: City, cluster: ControlPlane, reached: Cluster, endpoint: Endpoint, next_command: str
) -> None:
    left = made(city, reached, endpoint, "restore", suspend=True)
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(left))
    uid = cluster.kubectl(
        "get", "job", left["metadata"]["name"], "-n", endpoint.namespace, "-o", "jsonpath={.metadata.uid}"
    )
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": left["metadata"]["name"], "uid": uid}
    told = notice(city, endpoint)
    stays = {**told["metadata"], "ownerReferences": [{**owner, "blockOwnerDeletion": True}]}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps({**told, "metadata": stays}))
    # The controller says once that it is suspended, which is a change.
    until(lambda: "Suspended" in cluster.kubectl("get", "jobs", "-n", endpoint.namespace, "-o", "yaml"))
    simulated = replace(reached, simulated=True)
    if next_command == "up":
        require_no_restore(city, Clusters({"main": reached}))
    elif next_command == "restore":
        run_job(simulated, made(city, reached, endpoint, "restore"), 60.0, alone=WRITERS, notice=told)
    else:
        run_job(simulated, made(city, reached, endpoint, "backup"), 60.0, alone=WRITERS)
    assert not named(cluster, endpoint, "jobs")
    until(lambda: not named(cluster, endpoint, "configmaps"))
