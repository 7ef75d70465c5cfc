"""Whole clouds with simulated nodes: start, twice, two of them, crash, reboot, stop, reset. Everything real."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.local.conftest import clean
from tests.support.some import some
from wecityctl import toolchain
from wecityctl.errors import ConfigurationError, WecityError
from wecityctl.local import cloud, ports, store
from wecityctl.local.api import Api, ApiError
from wecityctl.local.pki import Pki
from wecityctl.local.proctable import Identity
from wecityctl.local.spec import CloudSpec, LocalEvent, PoolSpec, RunningCloud
from wecityctl.local.store import Store
from wecityctl.local.supervisor import client
from wecityctl.local.watch import StartError

pytestmark = pytest.mark.cluster

TOLERATION = {"key": "wecity.dev/simulated", "operator": "Exists", "effect": "NoSchedule"}
GENERAL = PoolSpec("general", nodes=2, cpu="4", memory="8Gi")
GPU = PoolSpec("gpu", nodes=1, cpu="8", memory="32Gi", accelerators={"vendor.example/gpu": 4})
ARM = PoolSpec("arm", "arm64", 1, "8", "32Gi")


def spec(name: str, *pools: PoolSpec) -> CloudSpec:
    return CloudSpec(name, "simulated", ("internet", "extranet"), pools or (GENERAL,))


def api(name: str) -> Api:
    """Requests as the admin of a running cloud."""
    place = Store.of(name)
    pki = Pki(place.pki, name)
    admin = pki.client("admin", "wecityctl-admin", ("system:masters",))
    state = place.load()
    assert state is not None
    return Api(state.server, pki.authority().certificate, admin.certificate, admin.key)


def found(name: str) -> client.Found:
    result = client.find(Store.of(name).directory)
    assert result is not None
    return result


def eventually(look: Callable[[], Any], seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := look()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return value


def pod(name: str, **changes: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "registry.example/x:1", "resources": changes.pop("resources", {})}
    body = {"tolerations": [TOLERATION], "containers": [container], **changes}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": body}


def apply_pod(access: Api, value: dict[str, Any]) -> str:
    path = f"/api/v1/namespaces/default/pods/{value['metadata']['name']}"
    access.apply(path, value)
    return path


def running(access: Api, path: str) -> dict[str, Any]:
    eventually(lambda: access.get(path)["status"]["phase"] == "Running")
    return access.get(path)


def config_map(name: str, value: str) -> tuple[str, dict[str, Any]]:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}}
    return f"/api/v1/namespaces/default/configmaps/{name}", body


def listeners(name: str) -> list[str]:
    """The addresses on which the cloud's processes listen, as the kernel knows them."""
    inodes = set()
    for identity in found(name).children.values():
        for link in Path(f"/proc/{identity.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                target = str(link.readlink())
                if target.startswith("socket:["):
                    inodes.add(target[8:-1])
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:] + Path("/proc/net/tcp6").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return [each[1].partition(":")[0] for each in fields if each[3] == "0A" and each[9] in inodes]


@pytest.fixture(scope="module")
def shared() -> Iterator[RunningCloud]:
    """One cloud for the tests that leave it running."""
    with tempfile.TemporaryDirectory(prefix="wecity-test-") as directory, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", directory)
        try:
            yield cloud.start(spec("shared", GENERAL, GPU, ARM))
        finally:
            clean(directory)


def test_start_returns_a_cloud_that_answers(shared: RunningCloud) -> None:
    assert shared.simulated
    assert shared.changed
    assert shared.gateway_address == ""
    assert shared.kubernetes_version.startswith("v1.")
    assert shared.addresses == {"api": "127.0.0.1"}
    assert shared.kubeconfig == shared.kubeconfig_path.read_text() == cloud.kubeconfig("shared")
    assert shared.kubeconfig_path.stat().st_mode & 0o777 == 0o600
    assert shared.kubeconfig not in repr(shared)
    namespace = api("shared").get("/api/v1/namespaces/kube-system")
    assert shared.cluster_uid == namespace["metadata"]["uid"]


def test_kubectl_understands_the_kubeconfig(shared: RunningCloud) -> None:
    command = [toolchain.locate("kubectl"), "--kubeconfig", shared.kubeconfig_path, "get", "nodes", "-o", "name"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split() == ["node/arm-0", "node/general-0", "node/general-1", "node/gpu-0"]


def test_a_second_start_changes_nothing(shared: RunningCloud) -> None:
    before = found("shared")
    again = cloud.start(spec("shared", GENERAL, GPU, ARM))
    assert not again.changed
    assert found("shared") == before
    assert replace(again, changed=True, seconds=0) == replace(shared, seconds=0)
    assert cloud.connect("shared") is not None


def test_everything_listens_on_loopback_alone(shared: RunningCloud) -> None:
    assert len(listeners("shared")) >= 4
    assert set(listeners("shared")) == {"0100007F"}


def test_files_are_for_their_owner_alone(shared: RunningCloud) -> None:
    place = Store.of("shared")
    assert all(each.stat().st_mode & 0o077 == 0 for each in (place.directory, place.pki, place.conf, place.logs))
    secret = [*place.pki.iterdir(), *place.conf.iterdir(), place.kubeconfig, *place.logs.iterdir()]
    assert all(each.stat().st_mode & 0o777 == 0o600 for each in secret)
    assert found("shared").run.stat().st_mode & 0o777 == 0o700


def test_strangers_get_nothing_but_health(shared: RunningCloud) -> None:
    curl = ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "5"]
    answers = {
        path: subprocess.run([*curl, shared.server + path], capture_output=True, text=True, timeout=10).stdout
        for path in ("/readyz", "/version", "/api/v1/secrets", "/api/v1/nodes")
    }
    assert answers == {"/readyz": "200", "/version": "401", "/api/v1/secrets": "401", "/api/v1/nodes": "401"}


def test_the_machines_own_logs_are_not_served(shared: RunningCloud) -> None:
    """The audit administrators may read `/logs`, which would be this machine's."""
    assert api("shared").find("/logs/") is None


def test_secrets_are_sealed_on_disk(shared: RunningCloud) -> None:
    access = api("shared")
    needle = "a-value-that-must-not-be-found"
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"key": needle}}
    access.apply("/api/v1/namespaces/default/secrets/s", body)
    path, plain = config_map("plain", "a-value-that-is-found")
    access.apply(path, plain)
    data = b"".join(each.read_bytes() for each in Store.of("shared").etcd.rglob("*.wal"))
    assert b"a-value-that-is-found" in data
    assert needle.encode() not in data
    assert b"k8s:enc:secretbox" in data


def test_nodes_are_ready_labelled_and_tainted(shared: RunningCloud) -> None:
    node = api("shared").get("/api/v1/nodes/gpu-0")
    assert node["status"]["capacity"]["vendor.example/gpu"] == "4"
    assert {each["type"]: each["status"] for each in node["status"]["conditions"]}["Ready"] == "True"
    assert node["metadata"]["labels"]["wecity.dev/pool"] == "gpu"
    assert [each["key"] for each in node["spec"]["taints"]] == ["wecity.dev/simulated"]


def test_a_pod_is_scheduled_and_becomes_ready(shared: RunningCloud) -> None:
    access = api("shared")
    value = running(access, apply_pod(access, pod("plain")))
    assert value["status"]["podIP"].startswith("10.1")
    assert {each["type"]: each["status"] for each in value["status"]["conditions"]}["Ready"] == "True"
    assert value["status"]["containerStatuses"][0]["ready"]


def test_a_pod_that_wants_accelerators_goes_where_they_are(shared: RunningCloud) -> None:
    access = api("shared")
    wants = {"limits": {"vendor.example/gpu": "3"}}
    assert running(access, apply_pod(access, pod("gpu", resources=wants)))["spec"]["nodeName"] == "gpu-0"
    # One is left: a second pod that wants three has to wait, and is told why.
    path = apply_pod(access, pod("gpu-too", resources=wants))
    message = eventually(lambda: (access.get(path)["status"].get("conditions") or [{}])[0].get("message"))
    assert "Insufficient vendor.example/gpu" in message


def test_architecture_and_zone_are_honoured(shared: RunningCloud) -> None:
    access = api("shared")
    path = apply_pod(access, pod("arm", nodeSelector={"kubernetes.io/arch": "arm64"}))
    assert running(access, path)["spec"]["nodeName"] == "arm-0"
    path = apply_pod(access, pod("zoned", nodeSelector={"wecity.dev/zone": "extranet"}))
    assert running(access, path)["spec"]["nodeName"] == "general-1"


def test_without_the_toleration_nothing_lands_on_simulated_nodes(shared: RunningCloud) -> None:
    access = api("shared")
    path = apply_pod(access, pod("intolerant", tolerations=[]))
    message = eventually(lambda: (access.get(path)["status"].get("conditions") or [{}])[0].get("message"))
    assert "4 node(s) had untolerated taint(s)" in message


def test_a_job_completes_and_a_pod_goes_when_deleted(shared: RunningCloud) -> None:
    access = api("shared")
    template = {"spec": {**pod("x")["spec"], "restartPolicy": "Never", "initContainers": [{"name": "i", "image": "x"}]}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": {"template": template}}
    path = "/apis/batch/v1/namespaces/default/jobs/job"
    access.apply(path, job)
    eventually(lambda: access.get(path)["status"].get("succeeded") == 1)
    gone = apply_pod(access, pod("gone"))
    running(access, gone)
    access.delete(gone)
    eventually(lambda: access.find(gone) is None, 5)


def test_a_deployment_becomes_available(shared: RunningCloud) -> None:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": pod("x")["spec"]}
    body = {"replicas": 3, "selector": {"matchLabels": labels}, "template": template}
    path = "/apis/apps/v1/namespaces/default/deployments/web"
    api("shared").apply(
        path, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": body}
    )
    eventually(lambda: api("shared").get(path)["status"].get("availableReplicas") == 3)


def test_an_admission_policy_holds_and_nobody_spends_time_on_its_types(shared: RunningCloud) -> None:
    access, group = api("shared"), "admissionregistration.k8s.io/v1"
    of_config_maps = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    # It has a field that no ConfigMap has, behind what is true only of those named in it.
    refusing = "object.metadata.name != 'refused' || object.nothing == 1"
    rules = {"matchConstraints": {"resourceRules": [of_config_maps]}, "validations": [{"expression": refusing}]}
    policy = f"/apis/{group}/validatingadmissionpolicies/refusing"
    for kind, path, body in (
        ("ValidatingAdmissionPolicy", policy, rules),
        (
            "ValidatingAdmissionPolicyBinding",
            f"/apis/{group}/validatingadmissionpolicybindings/refusing",
            {"policyName": "refusing", "validationActions": ["Deny"]},
        ),
    ):
        access.apply(path, {"apiVersion": group, "kind": kind, "metadata": {"name": "refusing"}, "spec": body})

    def is_refused() -> bool:
        path, body = config_map("refused", "x")
        try:
            access.apply(path, body)
        except ApiError as error:
            assert "refusing" in str(error)
            return True
        access.delete(path)
        return False

    eventually(is_refused)
    assert "typeChecking" not in access.get(policy).get("status", {})
    for path in (policy, policy.replace("policies", "policybindings")):
        access.delete(path)


def test_a_volume_is_bound(shared: RunningCloud) -> None:
    access = api("shared")
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    access.apply("/api/v1/namespaces/default/persistentvolumeclaims/data", claim)
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
    running(access, apply_pod(access, pod("with-volume", volumes=volumes)))
    bound = access.get("/api/v1/namespaces/default/persistentvolumeclaims/data")
    assert bound["status"]["phase"] == "Bound"


def test_status_tells_it_all(shared: RunningCloud) -> None:
    status = cloud.status("shared")
    assert (status.health, status.nodes, status.message) == ("healthy", "simulated", "")
    assert status.server == shared.server
    assert status.uptime > 0
    assert status.age >= status.uptime
    assert {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"} <= {
        each.name for each in status.services
    }
    assert all(Identity.of(each.pid).alive() and Path(each.log).exists() for each in status.services)
    assert {"kubernetes", "etcd", "kwok"} <= set(status.versions)
    assert [pool.name for pool in status.pools] == ["general", "gpu", "arm"]


def test_pools_change_while_the_cloud_runs(state_home: Path) -> None:
    cloud.start(spec("lab", GENERAL))
    before = found("lab")
    changed = cloud.start(spec("lab", replace(GENERAL, nodes=1, cpu="16"), GPU))
    assert changed.changed
    assert found("lab") == before
    nodes = {node["metadata"]["name"]: node for node in api("lab").get("/api/v1/nodes")["items"]}
    assert set(nodes) == {"general-0", "gpu-0"}
    assert nodes["general-0"]["status"]["allocatable"]["cpu"] == "16"


def test_stop_leaves_nothing_and_start_finds_the_data(state_home: Path) -> None:
    first = cloud.start(spec("lab"))
    path, body = config_map("kept", "1")
    api("lab").apply(path, body)
    record = found("lab")
    assert cloud.stop("lab")
    assert not any(each.alive() for each in (record.supervisor, *record.children.values()))
    assert not record.run.exists()
    assert client.find(Store.of("lab").directory) is None
    assert cloud.status("lab").health == "stopped"
    assert not cloud.stop("lab")
    assert not record.run.exists()
    assert cloud.connect("lab") is None
    second = cloud.start(spec("lab"))
    assert (second.server, second.cluster_uid, second.kubeconfig) == (first.server, first.cluster_uid, first.kubeconfig)
    assert api("lab").get(path)["data"] == {"value": "1"}


def test_after_everything_was_killed_it_starts_clean_with_its_data(state_home: Path) -> None:
    cloud.start(spec("lab"))
    path, body = config_map("kept", "1")
    api("lab").apply(path, body)
    record = found("lab")
    for identity in (record.supervisor, *record.children.values()):
        identity.send(signal.SIGKILL)
    assert all(each.wait(5) for each in (record.supervisor, *record.children.values()))
    status = cloud.status("lab")
    assert status.health == "crashed"
    assert "without being asked" in status.message
    events: list[LocalEvent] = []
    cloud.start(spec("lab"), events.append)
    assert any("cleaning up" in event.message for event in events)
    assert api("lab").get(path)["data"] == {"value": "1"}
    assert cloud.status("lab").health == "healthy"


def test_after_a_reboot_recycled_numbers_are_left_alone(state_home: Path) -> None:
    cloud.start(spec("lab"))
    path, body = config_map("kept", "1")
    api("lab").apply(path, body)
    record = found("lab")
    for identity in (record.supervisor, *record.children.values()):
        identity.send(signal.SIGKILL)
    with subprocess.Popen(["sleep", "100"]) as innocent:
        # As a reboot leaves it: another boot id, and the old numbers belong to somebody else.
        recycled = {"pid": innocent.pid, "start": record.supervisor.start, "boot": "before the reboot"}
        value = {"supervisor": recycled, "run": str(record.run), "children": {"etcd": recycled}}
        (Store.of("lab").directory / "supervisor.json").write_text(json.dumps(value))
        assert "restarted" in cloud.status("lab").message
        cloud.start(spec("lab"))
        assert innocent.poll() is None
        innocent.kill()
    assert api("lab").get(path)["data"] == {"value": "1"}


def test_killing_the_supervisor_leaves_no_process(state_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.start(spec("lab"))
    record = found("lab")
    record.supervisor.send(signal.SIGKILL)
    assert all(each.wait(30) for each in some(record.children.values()))
    # Also from an environment in which it would have got another runtime directory.
    monkeypatch.setattr(store, "_run_base", lambda: state_home / "run")
    assert cloud.stop("lab")
    assert not record.run.exists()


def test_a_service_that_dies_is_reported_and_comes_back(state_home: Path) -> None:
    cloud.start(spec("lab"))
    path, body = config_map("kept", "1")
    api("lab").apply(path, body)
    for name in ("etcd", "kube-apiserver", "kube-scheduler"):
        found("lab").children[name].send(signal.SIGKILL)
        eventually(lambda name=name: next(each for each in cloud.status("lab").services if each.name == name).deaths)
    eventually(lambda: cloud.status("lab").health == "healthy", 60)
    deaths = {each.name: each.deaths for each in cloud.status("lab").services}
    assert [each.how for each in deaths["etcd"]] == ["killed by SIGKILL"]
    assert deaths["kube-apiserver"][0].lines
    assert api("lab").get(path)["data"] == {"value": "1"}


def test_two_clouds_side_by_side(state_home: Path) -> None:
    one, two = cloud.start(spec("one")), cloud.start(spec("two", GPU))
    assert one.server != two.server
    assert one.cluster_uid != two.cluster_uid
    first, second = Store.of("one").load(), Store.of("two").load()
    assert first is not None
    assert second is not None
    assert not set(first.ports.values()) & set(second.ports.values())
    with pytest.raises(ApiError, match="certificate"):
        replace(api("one"), server=two.server, timeout=1.0).get("/version")
    cloud.stop("one")
    assert cloud.status("two").health == "healthy"
    assert [node["metadata"]["name"] for node in api("two").get("/api/v1/nodes")["items"]] == ["gpu-0"]


def test_two_starts_at_once_make_one_cloud(state_home: Path) -> None:
    results: list[RunningCloud] = []
    told: list[LocalEvent] = []
    threads = [
        threading.Thread(target=lambda: results.append(cloud.start(spec("lab"), told.append)), daemon=True)
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(each.changed for each in results) == [False, False, True]
    assert len({each.cluster_uid for each in results}) == 1
    assert any("another command" in event.message for event in told)


def test_an_interrupted_start_leaves_nothing(state_home: Path) -> None:
    script = (
        "from wecityctl.local import cloud; from wecityctl.local.spec import CloudSpec\n"
        "cloud.start(CloudSpec('lab', 'simulated'), lambda event: print(event.message, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        record = found("lab")
        process.send_signal(signal.SIGINT)
        process.wait(30)
    assert process.returncode != 0
    assert not any(each.alive() for each in (record.supervisor, *record.children.values()))
    assert cloud.status("lab").health == "stopped"


def test_a_killed_start_is_finished_by_the_next(state_home: Path) -> None:
    script = (
        "from wecityctl.local import cloud; from wecityctl.local.spec import CloudSpec\n"
        "cloud.start(CloudSpec('lab', 'simulated'), lambda event: print(event.message, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
    result = cloud.start(spec("lab"))
    assert cloud.status("lab").health == "healthy"
    assert result.cluster_uid


def test_a_taken_port_moves_and_says_so(state_home: Path) -> None:
    first = cloud.start(spec("lab"))
    cloud.stop("lab")
    state = Store.of("lab").load()
    assert state is not None
    events: list[LocalEvent] = []
    with socket.create_server(("127.0.0.1", state.ports["kube-apiserver"])):
        second = cloud.start(spec("lab"), events.append)
    assert second.server != first.server
    assert second.server in second.kubeconfig
    assert second.cluster_uid == first.cluster_uid
    assert any(event.kind == "warning" and "kube-apiserver" in event.message for event in events)


def test_what_cannot_start_says_why_and_leaves_nothing(state_home: Path) -> None:
    cloud.start(spec("lab"))
    cloud.stop("lab")
    place = Store.of("lab")
    for path in place.etcd.rglob("*.wal"):
        path.write_bytes(b"not a log of etcd's" * 100)
    events: list[LocalEvent] = []
    with pytest.raises(StartError) as caught:
        cloud.start(spec("lab"), events.append, timeout=240)
    assert "etcd keeps dying" in caught.value.message
    assert "its last lines" in caught.value.details
    assert str(place.logs / "etcd.log") in caught.value.resolution
    assert any(event.kind == "death" and event.lines for event in events)
    assert not cloud.is_running("lab")
    assert client.find(place.directory) is None


def test_nodes_cannot_change_their_kind(state_home: Path) -> None:
    cloud.start(spec("lab"))
    cloud.stop("lab")
    with pytest.raises(ConfigurationError, match="simulated"):
        cloud.start(CloudSpec("lab", "real"))


def test_reset_leaves_nothing(state_home: Path) -> None:
    cloud.start(spec("lab"))
    record = found("lab")
    first = cloud.connect("lab")
    cloud.reset("lab")
    assert not record.supervisor.alive()
    assert not Store.of("lab").directory.exists()
    assert not record.run.exists()
    assert store.names() == ()
    with pytest.raises(ConfigurationError, match="no embedded cloud"):
        cloud.reset("lab")
    second = cloud.start(spec("lab"))
    assert first is not None
    assert second.cluster_uid != first.cluster_uid


def test_reset_is_the_way_out_of_a_damaged_state(state_home: Path) -> None:
    cloud.start(spec("lab"))
    record = found("lab")
    (Store.of("lab").directory / "cloud.json").write_text("{")
    with pytest.raises(WecityError, match="cannot be read"):
        cloud.status("lab")
    cloud.reset("lab")
    assert not any(each.alive() for each in (record.supervisor, *record.children.values()))
    assert not Store.of("lab").directory.exists()
    assert not record.run.exists()


def test_hundreds_of_nodes(state_home: Path) -> None:
    running_cloud = cloud.start(spec("lab", replace(GENERAL, nodes=120)))
    nodes = api("lab").get("/api/v1/nodes")["items"]
    assert len(nodes) == 120
    assert len({node["status"]["addresses"][0]["address"] for node in nodes}) == 120
    assert running_cloud.seconds < 60


def test_ports_stay_below_the_range_of_connections(state_home: Path) -> None:
    cloud.start(spec("lab"))
    state = Store.of("lab").load()
    assert state is not None
    assert all(ports.FIRST <= port <= ports.LAST for port in state.ports.values())
