"""Volumes on the real node: who may write, what survives, what goes when its claim goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.node_cloud import NodeCloud, eventually, pod

pytestmark = pytest.mark.node


def _claim(name: str, storage_class: str | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    if storage_class:
        spec["storageClassName"] = storage_class
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def _user(name: str, claim: str) -> dict[str, Any]:
    return pod(
        name,
        "pause",
        container={"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
        securityContext={"runAsUser": 999, "runAsGroup": 999, "fsGroup": 4321, "runAsNonRoot": True},
        volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
    )


def _directory(node: NodeCloud, claim: str) -> Path:
    assert node.running is not None
    name = node.get("pvc", claim)["spec"]["volumeName"]
    return node.running.kubeconfig_path.parent / "node" / "volumes" / name


def test_data_outlives_its_pod_and_not_its_claim(node: NodeCloud) -> None:
    node.apply(_claim("data"), _user("writer", "data"))
    node.ready("writer")
    node.execute("writer", "write", "/data/file", "kept")
    directory = _directory(node, "data")
    assert (directory / "file").stat().st_gid == 4321, "fsGroup is honoured"
    node.kubectl("delete", "pod", "writer", "--wait")
    node.apply(_user("reader", "data"))
    node.ready("reader")
    assert node.execute("reader", "read", "/data/file") == "kept"
    node.kubectl("delete", "pod/reader", "pvc/data", "--wait")
    eventually(lambda: not directory.exists())
    volumes = json.loads(node.kubectl("get", "pv", "-o", "json"))["items"]
    eventually(lambda: directory.name not in node.kubectl("get", "pv", "-o", "name"))
    assert directory.parent.exists(), volumes


def test_retained_data_stays(node: NodeCloud) -> None:
    node.apply(_claim("archive", "wecity-local-retain"), _user("archivist", "archive"))
    node.ready("archivist")
    node.execute("archivist", "write", "/data/file", "for ever")
    directory = _directory(node, "archive")
    node.kubectl("delete", "pod/archivist", "pvc/archive", "--wait")
    eventually(lambda: node.get("pv", directory.name)["status"]["phase"] == "Released")
    node.kubectl("delete", "pv", directory.name, "--wait")
    assert (directory / "file").read_text() == "for ever"


def test_claim_waits_for_its_pod(node: NodeCloud) -> None:
    node.apply(_claim("early"))
    eventually(lambda: "WaitForFirstConsumer" in node.kubectl("describe", "pvc", "early"))
    assert node.get("pvc", "early")["status"]["phase"] == "Pending"
    node.kubectl("delete", "pvc", "early")


def test_claim_grows(node: NodeCloud) -> None:
    node.apply(_claim("growing"), _user("grower", "growing"))
    node.ready("grower")
    node.kubectl("patch", "pvc", "growing", "-p", json.dumps({"spec": {"resources": {"requests": {"storage": "3Gi"}}}}))
    eventually(lambda: node.get("pvc", "growing")["status"]["capacity"]["storage"] == "3Gi")
    name = node.get("pvc", "growing")["spec"]["volumeName"]
    assert node.get("pv", name)["spec"]["capacity"]["storage"] == "3Gi"
    node.kubectl("delete", "pod/grower", "pvc/growing", "--wait")


def test_block_volume_is_refused_with_a_reason(node: NodeCloud) -> None:
    claim = _claim("raw")
    claim["spec"]["volumeMode"] = "Block"
    user = _user("rawuser", "raw")
    user["spec"]["containers"][0].pop("volumeMounts")
    user["spec"]["containers"][0]["volumeDevices"] = [{"name": "data", "devicePath": "/dev/x"}]
    node.apply(claim, user)
    eventually(lambda: "volumes are directories" in node.kubectl("describe", "pvc", "raw"))
    node.kubectl("delete", "pod/rawuser", "pvc/raw", "--wait=false")
