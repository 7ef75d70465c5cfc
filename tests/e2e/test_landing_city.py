"""A city on a vendor's cloud, from nothing: the real landing zone of Alibaba Cloud through the real engine and SDK,
with a stand-in for the vendor's plug-in, and an embedded control plane as the cluster that it has made.

The tests follow each other in this order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.e2e.files import CityFiles, Document, app, hamlet, tenant
from tests.e2e.machine import Cluster, Done, Machine, machine
from tests.support.some import some
from tests.support.vendor_plugin import BALANCER_ADDRESS, launcher
from wecityctl.engine.workers.vendors import sdk_version
from wecityctl.local.node.provisioner.volumes import STORAGE_CLASS
from wecityctl.model.naming import SIMULATED_LABEL
from wecityctl.model.vendors import vendors
from wecityctl.toolchain.vendor import engine_place

NAME = "delta"
EXAMPLE = Path(__file__).parents[2] / "examples" / "four-clouds"
LANDING = f"{NAME}.landing.main"
CREDENTIALS = {"ALICLOUD_ACCESS_KEY": "key", "ALICLOUD_SECRET_KEY": "a-secret-of-the-account"}
ALICLOUD: Document = {
    "provider": "alicloud",
    "region": "cn-shenzhen",
    "alicloud": {"availabilityZones": ["cn-shenzhen-e"]},
    "network": {"cidr": "10.8.0.0/16", "pods": "10.80.0.0/16"},
    # The embedded cluster's, which has none of the vendor's drivers.
    "kubernetes": {"storageClass": STORAGE_CLASS},
    "pools": [
        {
            "name": "general",
            "architecture": "amd64",
            "nodes": 2,
            "cpu": "16",
            "memory": "64Gi",
            "storage": "1Ti",
            "instanceTypes": ["ecs.g7.4xlarge"],
        }
    ],
}


@pytest.mark.program
def test_four_clouds_are_previewed_with_nothing_at_hand(home: Machine) -> None:
    done = home.run("preview", EXAMPLE, "--offline", "-o", "json")
    stacks = {item["stack"]: item for item in done.result()["stacks"]}
    assert {item["outcome"] for item in stacks.values()} == {"succeeded"}
    made = {name.split(".")[2]: kinds(item) for name, item in stacks.items() if ".landing." in name}
    assert {
        "Network",
        "Switch",
        "SecurityGroup",
        "NatGateway",
        "ManagedKubernetes",
        "NodePool",
        "Bucket",
        "Key",
    } <= made["ali"]
    assert {"Gateway", "Cluster", "NodePool", "Bucket", "Key"} <= made["tencent"]
    # The gateway is there, and so is the way in.
    balanced = [
        change["name"] for change in stacks["yunhai.landing.tencent"]["changes"] if "balancer" in change["name"]
    ]
    assert sorted(balanced) == ["balancer-internet", "group-balancer-internet", "rules-balancer-internet"]
    assert {"Vpc", "Subnet", "Secgroup", "Cluster", "NodePool", "Bucket", "Key"} <= made["huawei"]
    assert {"Network", "Subnet", "Cluster", "NodeGroup", "Container"} <= made["gov"]
    # No way out of an extranet.
    assert not {"NatGateway", "Gateway", "Eip", "FloatingIp"} & (made["huawei"] | made["gov"])
    text = home.run("preview", EXAMPLE, "--offline", "--only", "yunhai.landing.ali").out
    assert "+ alicloud:vpc/network:Network network\n      + cidrBlock: 10.16.0.0/16" in text
    assert "landing.gov" not in text
    assert home.run("preview", EXAMPLE, "--offline", "--detailed-exitcode", code=2).out
    assert not home.state.exists()
    # Nothing but what can be made again.
    left = [path for path in home.root.rglob("*") if path.is_file() and not path.is_relative_to(home.root / "k")]
    assert left == []


def kinds(stack: Document) -> set[str]:
    return {change["type"].rpartition(":")[2] for change in stack["changes"]}


@pytest.mark.program
def test_what_is_missing_is_told_for_each_cloud(home: Machine) -> None:
    done = home.run("doctor", EXAMPLE, "-o", "json", code=None)
    found = [item for item in done.json()["findings"] if item["name"].startswith("landing zone ")]
    assert {item["name"] for item in found} == {f"landing zone {name}" for name in ("ali", "tencent", "huawei", "gov")}
    assert {item["level"] for item in found} == {"warning"}
    assert all(item["remedy"] for item in found)


@pytest.mark.program
def test_a_confirmed_destroy_lifts_the_vendors_protection_and_nothing_else_does(home: Machine) -> None:
    files = hamlet(home.root / "city", NAME, ALICLOUD)
    stand_in(home)
    nowhere = home.root / "kubeconfig"
    access = {"server": "https://127.0.0.1:1", "certificate-authority-data": "Q0E="}
    user = {"client-certificate-data": "Yw==", "client-key-data": "aw=="}
    nowhere.write_text(json.dumps({"clusters": [{"cluster": access}], "users": [{"user": user}]}))
    log = home.root / "vendor.log"
    env = {"VENDOR_LOG": str(log), "VENDOR_KUBECONFIG": str(nowhere), **CREDENTIALS}
    home.run("up", str(files), "--yes", "--only", "landing", env=env)
    log.unlink()
    home.run("destroy", str(files), f"--confirm={NAME}", "--only", "landing", env=env)
    assert not log.exists()
    home.run("destroy", str(files), f"--confirm={NAME}", "--delete-data", "--only", "landing", env=env)
    lifted, *calls = log.read_text().splitlines()
    assert lifted == "update alicloud:cs/managedKubernetes:ManagedKubernetes cluster"
    assert {call.partition(" ")[0] for call in calls} == {"delete"}
    # Still in order: the run before has lost nothing of what depends on what.
    order = [call.rpartition(" ")[2] for call in calls]
    assert order.index("pool-general") < order.index("cluster") < order.index("subnet-internet")
    assert order.index("subnet-internet") < order.index("network")


def stand_in(home: Machine) -> Path:
    """Put the stand-in where the vendor's plug-in would be on that machine."""
    plugins = home.root / "h" / ".pulumi" / "plugins"
    path = plugins / f"resource-alicloud-v{sdk_version(vendors()['alicloud'])}" / "pulumi-resource-alicloud"
    launcher(path)
    return path


@dataclass(frozen=True, slots=True)
class Delta:
    """The city with its administrator's machine, and what stands for the vendor."""

    machine: Machine
    files: CityFiles
    cluster: Cluster
    log: Path

    def run(self, *arguments: object, code: int | None = 0, credentials: bool = True) -> Done:
        vendor = {"VENDOR_LOG": str(self.log), "VENDOR_KUBECONFIG": str(self.cluster.kubeconfig)}
        env = vendor | (CREDENTIALS if credentials else {})
        return self.machine.run(*map(str, arguments), code=code, env=env)

    def calls(self) -> list[str]:
        """What the vendor was asked to do since the last time."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines


@pytest.fixture(scope="module")
def delta() -> Iterator[Delta]:
    with machine() as home:
        home.run("local", "start", "--name", "vendor", "--nodes", "simulated")
        cluster = Cluster(home.state / "clouds" / "vendor" / "kubeconfig")
        cluster.kubectl("taint", "nodes", "--all", f"{SIMULATED_LABEL}-")
        files = hamlet(home.root / "city", NAME, ALICLOUD)
        yield Delta(home, files, cluster, home.root / "vendor.log")


@contextmanager
def cloud_controller(cluster: Cluster) -> Iterator[None]:
    """What the vendor's cloud controller does: a Service of type LoadBalancer is given the address of its balancer."""
    done = Event()

    def work() -> None:
        status = {"status": {"loadBalancer": {"ingress": [{"ip": BALANCER_ADDRESS}]}}}
        while not done.wait(2):
            for item in cluster.get("services", "-A")["items"]:
                if item["spec"]["type"] == "LoadBalancer" and not item["status"]["loadBalancer"]:
                    name, place = item["metadata"]["name"], item["metadata"]["namespace"]
                    patch = ["--subresource=status", "--type=merge", "-p", json.dumps(status)]
                    cluster.kubectl("patch", "service", name, "-n", place, *patch)

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.cluster
def test_without_the_plug_in_nothing_is_begun_and_it_is_named(delta: Delta) -> None:
    done = delta.run("up", delta.files, "--yes", "-o", "json", code=4)
    (told,) = done.stack("landing.main")["errors"]
    assert "pulumi-resource-alicloud 4.0.0 is not on this machine" in told
    assert done.stack("base.main")["outcome"] == "blocked"


@pytest.mark.cluster
def test_one_up_from_nothing_to_running_apps(delta: Delta) -> None:
    put = stand_in(delta.machine)
    refused = delta.run("up", delta.files, "--yes", "-o", "json", code=3, credentials=False)
    assert "ALICLOUD_ACCESS_KEY" in refused.stack("landing.main")["errors"][0]
    shown = delta.run("preview", delta.files, "-o", "json")
    assert "once the landing zone of main is up" in shown.stack("tenant.parks.main")["reason"]
    assert delta.calls() == []
    with cloud_controller(delta.cluster):
        done = delta.run("up", delta.files, "--yes", "-o", "json")
    assert {item["outcome"] for item in done.result()["stacks"]} <= {"succeeded", "unchanged"}, done
    calls = delta.calls()
    assert "create alicloud:cs/managedKubernetes:ManagedKubernetes cluster" in calls
    assert "create alicloud:vpc/network:Network network" in calls
    # What was shown is what was made, on the vendor's side and on the cluster.
    assert done.changes() == shown.changes()
    assert len(delta.cluster.objects_of(NAME)) > 30
    # People reach the city at the landing zone's balancer, which the Service names, and not at a node port.
    service = delta.cluster.get("service", "entry", "-n", "platform-application")
    annotations = service["metadata"]["annotations"]
    assert annotations["service.beta.kubernetes.io/alibaba-cloud-loadbalancer-id"] == "id-balancer-internet"
    assert service["spec"]["type"] == "LoadBalancer"
    status = delta.run("status", delta.files, "-o", "json", credentials=False).json()
    assert status["balancers"] == [
        {
            "cloud": "main",
            "zone": "internet",
            "balancer": "id-balancer-internet",
            "address": BALANCER_ADDRESS,
            "public": True,
        }
    ]
    assert f"{BALANCER_ADDRESS} (on the internet)" in delta.run("status", delta.files, credentials=False).out
    # Nothing of the stand-in is where another city would take it for the vendor's own.
    everybodys = engine_place("alicloud", sdk_version(vendors()["alicloud"])) / put.name
    assert not (everybodys.is_symlink() and everybodys.readlink() == put)


@pytest.mark.cluster
def test_the_kubeconfig_is_a_secret_of_the_state_alone(delta: Delta) -> None:
    config = delta.cluster.kubeconfig.read_text()
    key = next(line.split()[-1] for line in config.splitlines() if "client-key-data" in line)
    shown = delta.run("outputs", delta.files, "--stack", "landing")
    assert "kubeconfig: [secret]" in shown.out
    assert key not in shown.text
    assert key in delta.run("outputs", delta.files, "--stack", "landing", "--show-secrets").out
    below = (path for path in delta.machine.state.rglob("*") if path.is_file())
    for path in some(path for path in below if path.relative_to(delta.machine.state).parts[0] != "clouds"):
        text = path.read_text(errors="replace")
        assert key not in text, path
        assert CREDENTIALS["ALICLOUD_SECRET_KEY"] not in text, path


@pytest.mark.cluster
def test_who_looks_after_apps_needs_no_credentials_of_the_vendor(delta: Delta) -> None:
    assert "nothing to change" in delta.run("preview", delta.files, "--detailed-exitcode").out
    again = delta.run("up", delta.files, "--yes", "-o", "json", credentials=False)
    assert again.stack("landing.main")["outcome"] == "skipped"
    assert not again.result()["has_changes"]
    delta.files.add("library.yaml", tenant("library"), app("library-app", "library"))
    delta.files.save()
    more = delta.run("up", delta.files, "--yes", "-o", "json", credentials=False)
    assert more.stack("landing.main")["outcome"] == "skipped"
    assert more.stack("tenant.library.main")["outcome"] == "succeeded"
    assert delta.calls() == []
    status = delta.run("status", delta.files, "-o", "json", credentials=False).json()
    assert status["unreachable"] == {}
    assert {item["part_of"] for item in status["workloads"]} >= {"parks", "library"}


@pytest.mark.cluster
def test_a_wider_pool_reaches_the_vendor_and_nothing_else(delta: Delta) -> None:
    delta.files.cloud["spec"]["pools"][0]["nodes"] = 3
    delta.files.save()
    done = delta.run("up", delta.files, "--yes", "-o", "json")
    assert done.stack("landing.main")["outcome"] == "succeeded"
    assert delta.calls() == ["update alicloud:cs/nodePool:NodePool pool-general"]
    assert not done.stack("base.main")["changes"]


@pytest.mark.cluster
def test_down_goes_the_landing_zone_last_and_not_without_being_asked_for_its_data(delta: Delta) -> None:
    kept = delta.run("destroy", delta.files, f"--confirm={NAME}", "-o", "json")
    assert "kept with its data" in kept.stack("landing.main")["reason"]
    assert delta.calls() == []
    done = delta.run("destroy", delta.files, f"--confirm={NAME}", "--delete-data", "-o", "json")
    # The vendor deletes nothing that it protects: that is lifted first, and of nothing else.
    lifted, *calls = delta.calls()
    assert lifted == "update alicloud:cs/managedKubernetes:ManagedKubernetes cluster"
    assert calls and all(call.startswith("delete ") for call in calls)
    assert "delete alicloud:cs/managedKubernetes:ManagedKubernetes cluster" in calls
    assert done.stack("landing.main")["outcome"] == "succeeded"
    order = [json.dumps(line) for line in done.lines() if line["event"] == "stack_finished"]
    assert LANDING in order[-2] or LANDING in order[-1]
    # What the first time had kept on the cluster is found by its marks, and goes too.
    assert delta.cluster.objects_of(NAME) == set()
