"""examples/adopt on a cluster with other people's work on it: all of that is the same, to the byte, before and after.

An embedded control plane plays the cluster. The tests follow each other in this order.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.files import CityFiles, Document
from tests.e2e.machine import Cluster, Machine, eventually, object_id
from wecityctl.model.naming import SIMULATED_LABEL

pytestmark = pytest.mark.cluster

NAME = "beihu"
EXAMPLE = Path(__file__).parents[2] / "examples" / "adopt"
# What controllers write all the time, whoever else is there: heartbeats and what was told about them.
RESTLESS = {"leases.coordination.k8s.io", "events", "events.events.k8s.io", "nodes", "componentstatuses"}
CONTEXT = "wecity-existing"


@dataclass(frozen=True, slots=True)
class Existing:
    """The cluster, the example's files for it, and who is at work."""

    home: Machine
    cluster: Cluster
    files: CityFiles

    def objects(self) -> dict[str, str]:
        """Every object of the cluster as the API server writes it, metadata and all."""
        kinds = set(self.cluster.kubectl("api-resources", "--verbs=list", "-o", "name").split()) - RESTLESS
        found = {}
        for item in self.cluster.get(",".join(sorted(kinds)), "-A", "--show-managed-fields")["items"]:
            name = f"{item['apiVersion']} {object_id(item['kind'], item['metadata'])}"
            found[name] = json.dumps(item, sort_keys=True)
        return found


def theirs(kind: str, name: str, version: str = "v1", **more: Any) -> Document:
    place = {} if kind in ("Namespace", "ClusterRole", "PriorityClass") else {"namespace": "payroll"}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **place}, **more}


def somebody_elses() -> list[Document]:
    """Work that was there before: a team's namespace with what one keeps in it, and what is the whole cluster's."""
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    pod = {
        "containers": [{"name": "main", "image": "registry.example/payroll:1"}],
    }
    labels = {"app": "payroll"}
    return [
        theirs("Namespace", "payroll"),
        theirs("ConfigMap", "settings", data={"region": "east"}),
        theirs("Secret", "database", stringData={"password": "theirs"}),
        theirs("ServiceAccount", "payroll"),
        theirs("Service", "payroll", spec={"selector": labels, "ports": [{"port": 80}]}),
        theirs(
            "Deployment",
            "payroll",
            "apps/v1",
            spec={
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        ),
        theirs(
            "NetworkPolicy",
            "open",
            "networking.k8s.io/v1",
            spec={"podSelector": {}, "ingress": [{}], "policyTypes": ["Ingress"]},
        ),
        theirs("ResourceQuota", "quota", spec={"hard": {"pods": "10"}}),
        theirs("Role", "viewer", "rbac.authorization.k8s.io/v1", rules=rules),
        theirs("ClusterRole", "payroll-viewer", "rbac.authorization.k8s.io/v1", rules=rules),
        theirs("PriorityClass", "payroll-urgent", "scheduling.k8s.io/v1", value=5),
    ]


@pytest.fixture(scope="module")
def existing(home: Machine) -> Existing:
    home.run("local", "start", "--name", "existing", "--nodes", "simulated")
    kubeconfig = home.root / "existing.kubeconfig"
    home.run("local", "kubeconfig", "--name", "existing", "--file", kubeconfig)
    cluster = Cluster(kubeconfig)
    cluster.kubectl("taint", "nodes", "--all", f"{SIMULATED_LABEL}-")
    cluster.apply(*somebody_elses())
    cluster.kubectl("rollout", "status", "deployment/payroll", "-n", "payroll", "--timeout=80s")
    files = {path.name: list(yaml.safe_load_all(path.read_text())) for path in sorted(EXAMPLE.glob("*.yaml"))}
    city = CityFiles(home.root / "city", files)
    assert city.cloud["spec"]["kubernetes"] == {"kubeconfig": "existing.kubeconfig", "context": CONTEXT}
    city.cloud["spec"]["kubernetes"]["kubeconfig"] = str(kubeconfig)
    return Existing(home, cluster, city.save())


@pytest.fixture(scope="module")
def before(existing: Existing) -> dict[str, str]:
    """The cluster once its own controllers have said all they have to say."""
    last: dict[str, str] = {}

    def settled() -> bool:
        nonlocal last
        previous, last = last, existing.objects()
        return previous == last

    eventually(settled, 60)
    assert "v1 Secret payroll/database" in last
    return last


def test_the_readme_says_what_this_test_does() -> None:
    commands = re.findall(r"^\$ (.+)$", (EXAMPLE / "README.md").read_text(), re.MULTILINE)
    assert "wecityctl local start --name existing --nodes simulated" in commands
    assert f"kubectl --kubeconfig examples/adopt/existing.kubeconfig taint nodes --all {SIMULATED_LABEL}-" in commands
    assert f"wecityctl destroy examples/adopt --confirm={NAME}" in commands


def test_the_city_comes_up_beside_what_was_there(existing: Existing, before: dict[str, str]) -> None:
    existing.home.run("up", existing.files, "--yes")
    after = existing.objects()
    assert {name: after.get(name) for name in before} == before
    made = existing.cluster.objects_of(NAME)
    assert len(made) > 60
    assert not made & {name.partition(" ")[2] for name in before}
    # Its own, and what controllers made of that: nothing of it lies in another namespace.
    places = {item.partition(" ")[2].partition("/")[0] for item in made if "/" in item}
    assert places == {
        "platform-application",
        "platform-application-extranet",
        "library-internet",
        "library-extranet",
    }


def test_another_run_changes_nothing(existing: Existing) -> None:
    existing.home.run("preview", existing.files, "--detailed-exitcode")


def test_every_workload_is_there(existing: Existing) -> None:
    workloads = existing.home.run("status", existing.files, "-o", "json").json()["workloads"]
    assert len(workloads) >= 5
    assert all(item["state"] == "ready" for item in workloads), workloads


def test_destroy_takes_the_city_and_nothing_else(existing: Existing, before: dict[str, str]) -> None:
    existing.home.run("destroy", existing.files, f"--confirm={NAME}", "--delete-data")
    assert existing.cluster.objects_of(NAME) == set()
    after = existing.objects()
    assert {name: after.get(name) for name in before} == before


@pytest.mark.parametrize(
    ("namespace", "labels", "told"),
    [
        ("platform-application", {}, "namespace platform-application is not ours"),
        ("library-extranet", {"team": "archive"}, "namespace library-extranet is not ours"),
        ("library-internet", {"wecity.dev/city": "nanhu"}, "namespace library-internet belongs to the city nanhu"),
    ],
)
def test_a_namespace_of_the_same_name_is_refused_and_left_as_it_is(
    existing: Existing, namespace: str, labels: dict[str, str], told: str
) -> None:
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
    existing.cluster.apply(space)
    eventually(lambda: existing.cluster.get("serviceaccount", "default", "-n", namespace))
    before = existing.objects()
    try:
        for command in (("preview",), ("up", "--yes")):
            done = existing.home.run(*command, existing.files, code=2)
            assert told in done.err
            assert "they are left as they are" in done.err
        assert existing.objects() == before
    finally:
        existing.cluster.kubectl("delete", "namespace", namespace)


def test_an_object_of_the_whole_cluster_is_refused_and_left_as_it_is(existing: Existing) -> None:
    """It sets the very fields that ours would: server-side apply sees no conflict in that."""
    existing.home.run("up", existing.files, "--yes")
    live = existing.cluster.get("priorityclass", f"{NAME}-tenant")
    existing.home.run("destroy", existing.files, f"--confirm={NAME}", "--delete-data")
    kept = ("value", "globalDefault", "description", "preemptionPolicy")
    theirs_now = {
        "apiVersion": live["apiVersion"],
        "kind": live["kind"],
        "metadata": {"name": f"{NAME}-tenant"},
        **{key: live[key] for key in kept if key in live},
    }
    existing.cluster.kubectl("create", "-f", "-", stdin=json.dumps(theirs_now))
    before = existing.cluster.get("priorityclass", f"{NAME}-tenant", "--show-managed-fields")
    done = existing.home.run("up", existing.files, "--yes", code=4)
    assert f"{NAME}-tenant" in done.text
    assert "exists already and is not managed by this resource; it is left as it is" in done.text
    assert existing.cluster.get("priorityclass", f"{NAME}-tenant", "--show-managed-fields") == before
    existing.home.run("destroy", existing.files, f"--confirm={NAME}", "--delete-data")
    assert existing.cluster.get("priorityclass", f"{NAME}-tenant", "--show-managed-fields") == before
