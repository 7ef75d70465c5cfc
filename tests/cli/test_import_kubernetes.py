"""`wecityctl import kubernetes` against a real API server: what it finds becomes a document that a city can use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from stacks.catalogue import load_catalogue
from tests.cli.program import wecityctl
from tests.support.control_plane import ControlPlane, control_plane
from wecityctl.model.city import City, Cloud
from wecityctl.spec import load_city

pytestmark = pytest.mark.cluster

CITY = """\
apiVersion: wecity.dev/v1alpha1
kind: City
metadata: {name: donghu}
spec:
  domain: donghu.gov.example
  zones: [{name: internet, kind: internet}, {name: extranet, kind: government-extranet}]
"""
COMMON = {"topology.kubernetes.io/region": "cn-east-3", "kubernetes.io/os": "linux"}
CLASSES = """
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: ssd
  annotations: {storageclass.kubernetes.io/is-default-class: "true"}
provisioner: example.com/ssd
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: archive}
provisioner: example.com/archive
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: example.com/nginx}
"""


def add_node(
    plane: ControlPlane,
    name: str,
    architecture: str,
    capacity: dict[str, str],
    taints: tuple[str, ...] = (),
    **labels: str,
) -> None:
    """A node as a kubelet would register it."""
    own = {"kubernetes.io/arch": architecture, "kubernetes.io/hostname": name, **COMMON, **labels}
    taint = [{"key": key, "effect": "NoSchedule"} for key in taints]
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": own},
        "spec": {"taints": taint},
    }
    plane.kubectl("create", "-f", "-", stdin=json.dumps(node))
    status: dict[str, Any] = {
        "capacity": capacity,
        "allocatable": capacity,
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    plane.kubectl("patch", "node", name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("import")) as running:
        large = {"cpu": "64", "memory": "263843548Ki", "ephemeral-storage": "500Gi", "pods": "110"}
        kunpeng = {"cpu": "48", "memory": "192Gi", "ephemeral-storage": "1Ti", "huawei.com/Ascend910": "8"}
        kind = "node.kubernetes.io/instance-type"
        for number in range(3):
            add_node(running, f"large-{number}", "amd64", large, **{kind: "c7.16xlarge.4", "disk": "ssd"})
        for number in range(2):
            add_node(running, f"kunpeng-{number}", "arm64", kunpeng, **{kind: "kat1.12xlarge"})
        add_node(running, "control", "amd64", large, ("node-role.kubernetes.io/control-plane",))
        running.kubectl("apply", "-f", "-", stdin=CLASSES)
        yield running


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "city.yaml").write_text(CITY)
    return tmp_path


def load(directory: Path) -> City:
    return load_city(directory, load_catalogue()).city


def test_the_document_adopts_the_cluster(plane: ControlPlane, directory: Path) -> None:
    done = wecityctl(
        "import", "kubernetes", "--kubeconfig", plane.kubeconfig, "--name", "prod", "--directory", directory
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    text = (directory / "cloud-prod.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=city.schema.json\n")
    (cloud,) = load(directory).clouds
    assert (cloud.name, cloud.provider, cloud.region) == ("prod", "kubernetes", "cn-east-3")
    assert (cloud.kubernetes.kubeconfig, cloud.kubernetes.context) == (str(plane.kubeconfig), "test")
    assert cloud.zones == ("internet", "extranet")
    assert pools(cloud) == {
        "amd64-64c-252g": ("amd64", 3, "64", "257659Mi", "500Gi", {}, ("c7.16xlarge.4",), {"disk": "ssd"}),
        "arm64-48c-192g-8-ascend910": (
            "arm64",
            2,
            "48",
            "192Gi",
            "1Ti",
            {"huawei.com/Ascend910": 8},
            ("kat1.12xlarge",),
            {},
        ),
    }
    assert "left out of the pools: control: it has the taint node-role.kubernetes.io/control-plane" in done.stderr
    assert f"wecityctl validate {directory}" in done.stderr


def pools(cloud: Cloud) -> dict[str, tuple[Any, ...]]:
    return {
        pool.name: (
            pool.architecture,
            pool.nodes,
            pool.cpu,
            pool.memory,
            pool.storage,
            pool.accelerators,
            pool.instance_types,
            pool.labels,
        )
        for pool in cloud.pools
    }


def test_without_a_file_it_is_printed_and_names_what_is_to_be_decided(plane: ControlPlane) -> None:
    done = wecityctl("import", "kubernetes", "--kubeconfig", plane.kubeconfig)
    assert done.returncode == 0, done.stderr
    document = yaml.safe_load(done.stdout)
    assert document["spec"]["zones"] == ["internet"]
    comments = " ".join(line.strip().lstrip("# ") for line in done.stdout.splitlines() if line.strip().startswith("#"))
    assert "Storage classes: archive, ssd (the cluster's default)." in comments
    assert "Ingress classes: nginx." in comments
    assert "Fill in: those of the city's zones that this cloud serves." in comments


def test_classes_are_chosen_by_name(plane: ControlPlane) -> None:
    chosen = ("--storage-class", "archive", "--ingress-class", "nginx", "--zone", "extranet")
    done = wecityctl("import", "kubernetes", "--kubeconfig", plane.kubeconfig, *chosen)
    settings = yaml.safe_load(done.stdout)["spec"]["kubernetes"]
    assert (settings["storageClass"], settings["ingressClass"]) == ("archive", "nginx")
    wrong = wecityctl("import", "kubernetes", "--kubeconfig", plane.kubeconfig, "--storage-class", "sdd")
    assert wrong.returncode == 2
    assert "the cluster has no storage class 'sdd'" in wrong.stderr
    assert "archive, ssd" in wrong.stderr


def test_json_has_the_document_and_the_notes(plane: ControlPlane) -> None:
    done = wecityctl("import", "kubernetes", "--kubeconfig", plane.kubeconfig, "--zone", "extranet", "-o", "json")
    answer = json.loads(done.stdout)
    text = wecityctl("import", "kubernetes", "--kubeconfig", plane.kubeconfig, "--zone", "extranet").stdout
    assert answer["document"] == yaml.safe_load(text)
    assert answer["file"] is None
    assert answer["notes"] == ["left out of the pools: control: it has the taint node-role.kubernetes.io/control-plane"]


def test_what_is_there_is_never_overwritten(plane: ControlPlane, directory: Path) -> None:
    there = directory / "mine.yaml"
    there.write_text("# mine\n")
    done = wecityctl("import", "kubernetes", "--kubeconfig", plane.kubeconfig, "--file", there)
    assert done.returncode == 2
    assert "is there already" in done.stderr
    assert there.read_text() == "# mine\n"


def test_a_cloud_that_the_city_has_is_not_imported_again(plane: ControlPlane, directory: Path) -> None:
    arguments = ("import", "kubernetes", "--kubeconfig", plane.kubeconfig, "--directory", directory)
    assert wecityctl(*arguments).returncode == 0
    (directory / "cloud-main.yaml").rename(directory / "clouds.yaml")
    again = wecityctl(*arguments)
    assert again.returncode == 2
    assert "has a cloud 'main' already" in again.stderr
    assert not (directory / "cloud-main.yaml").exists()


def test_a_name_that_is_none_is_refused_before_anything_is_written(plane: ControlPlane, directory: Path) -> None:
    arguments = ("--kubeconfig", plane.kubeconfig, "--directory", directory, "--name", "Prod_Cloud")
    done = wecityctl("import", "kubernetes", *arguments)
    assert done.returncode == 2
    assert "'Prod_Cloud' is not a valid name" in done.stderr
    assert [path.name for path in directory.iterdir()] == ["city.yaml"]


def test_a_wrong_context_is_told_with_those_there_are(plane: ControlPlane) -> None:
    done = wecityctl("import", "kubernetes", "--kubeconfig", plane.kubeconfig, "--context", "tset")
    assert done.returncode == 2
    assert "did you mean 'test'?" in done.stderr


def test_a_user_without_rights_is_refused_by_the_server(plane: ControlPlane, tmp_path: Path) -> None:
    config = yaml.safe_load(plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": plane.token}
    (tmp_path / "plain").write_text(yaml.safe_dump(config))
    done = wecityctl("import", "kubernetes", "--kubeconfig", tmp_path / "plain")
    assert done.returncode in (3, 4)
    # Nodes and storage classes are asked for side by side; either may be refused first.
    assert 'is forbidden: User "plain" cannot list resource' in done.stderr
    assert done.stdout == ""


def test_contexts_complete_from_the_kubeconfig(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    words = f"wecityctl import kubernetes --kubeconfig {plane.kubeconfig} --context t"
    done = wecityctl(_WECITYCTL_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1))
    assert done.stdout.split() == ["test"]


def test_a_vendors_network_takes_its_pools_from_its_cluster(plane: ControlPlane, directory: Path) -> None:
    done = wecityctl(
        *("import", "tencentcloud", "--region", "ap-guangzhou", "--network", "vpc-1", "--cluster", "cls-1"),
        *("--subnet", "extranet=subnet-1", "--kubeconfig", plane.kubeconfig, "--no-read"),
        *("--directory", directory, "--storage-class", "ssd", "--zone", "internet"),
        *("--set", "appId=1250000000", "--set", "availabilityZones=ap-guangzhou-6"),
    )
    assert done.returncode == 0, done.stderr
    (cloud,) = load(directory).clouds
    assert (cloud.provider, cloud.existing.network, cloud.existing.cluster) == ("tencentcloud", "vpc-1", "cls-1")
    assert cloud.zones == ("extranet", "internet")
    assert [pool.name for pool in cloud.pools] == ["amd64-64c-252g", "arm64-48c-192g-8-ascend910"]
    assert (cloud.kubernetes.storage_class, cloud.kubernetes.context) == ("ssd", "")
