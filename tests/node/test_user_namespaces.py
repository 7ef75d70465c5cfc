"""Pods in user namespaces of their own: what the host sees of them, and that their volumes stay as they were."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.node_cloud import NodeCloud, pod

pytestmark = pytest.mark.node

USER, GROUP, LENGTH = 999, 4321, 65536


def _user(name: str, *, host_users: bool = False, claim: str = "kept-apart") -> dict[str, Any]:
    """A pod of a user without privileges, with every kind of volume that our pods have."""
    mounts = [
        {"name": "data", "mountPath": "/data"},
        {"name": "tmp", "mountPath": "/tmp"},
        {"name": "secret", "mountPath": "/secret", "readOnly": True},
        {"name": "files", "mountPath": "/file", "subPath": "file", "readOnly": True},
    ]
    return pod(
        name,
        "pause",
        hostUsers=host_users,
        container={
            "volumeMounts": mounts,
            "securityContext": {
                "runAsNonRoot": True,
                "readOnlyRootFilesystem": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        },
        securityContext={"runAsUser": USER, "runAsGroup": USER, "fsGroup": GROUP},
        volumes=[
            {"name": "data", "persistentVolumeClaim": {"claimName": claim}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "secret", "secret": {"secretName": "apart", "defaultMode": 0o440}},
            {"name": "files", "configMap": {"name": "apart"}},
        ],
    )


@pytest.fixture(scope="module")
def apart(node: NodeCloud) -> Iterator[NodeCloud]:
    """Two pods in user namespaces, each with a volume."""
    claims = [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": f"kept-{name}"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        for name in ("apart", "other")
    ]
    node.apply(
        *claims,
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "apart"}, "stringData": {"key": "said in secret"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "apart"}, "data": {"file": "as configured"}},
        _user("apart"),
        _user("other", claim="kept-other"),
    )
    node.ready("apart", "other")
    yield node
    names = ("pod/apart", "pod/other", "pvc/kept-apart", "pvc/kept-other", "secret/apart", "configmap/apart")
    node.kubectl("delete", "--wait=false", *names, check=False)


def _map(node: NodeCloud, name: str) -> tuple[int, int, int]:
    first, host, length = map(int, node.execute(name, "read", "/proc/self/uid_map").split())
    return first, host, length


def test_pods_have_ranges_of_their_own(apart: NodeCloud) -> None:
    one, two = _map(apart, "apart"), _map(apart, "other")
    assert one[0] == two[0] == 0 and one[2] == two[2] == LENGTH
    assert min(one[1], two[1]) >= LENGTH, "below are the host's own users"
    assert abs(one[1] - two[1]) >= LENGTH


def test_the_host_sees_another_user_than_the_pod(apart: NodeCloud) -> None:
    begin = _map(apart, "apart")[1]
    found = {
        status.split("\nUid:")[1].split()[0]
        for place in Path("/proc").glob("[0-9]*")
        if (place / "uid_map").read_text().split()[1:2] == [str(begin)]
        for status in [(place / "status").read_text()]
        if "\nName:\tprobe\n" in f"\n{status}"
    }
    assert str(begin + USER) in found
    inside = apart.execute("apart", "read", "/proc/1/status")
    assert inside.split("\nUid:")[1].split()[0] == str(USER)


def test_volumes_of_every_kind_are_read_and_written(apart: NodeCloud) -> None:
    assert apart.execute("apart", "read", "/secret/key") == "said in secret"
    assert apart.execute("apart", "read", "/file") == "as configured"
    apart.execute("apart", "write", "/tmp/file", "short-lived")
    assert apart.execute("apart", "read", "/tmp/file") == "short-lived"


def test_data_keeps_its_owner_in_a_user_namespace_and_back(apart: NodeCloud) -> None:
    assert apart.running is not None
    name = apart.get("pvc", "kept-apart")["spec"]["volumeName"]
    directory = apart.running.kubeconfig_path.parent / "node" / "volumes" / name
    apart.execute("apart", "write", "/data/first", "written in a user namespace")
    for host_users, written in ((True, "second"), (False, "third")):
        apart.kubectl("delete", "pod", "apart", "--wait")
        apart.apply(_user("apart", host_users=host_users))
        apart.ready("apart")
        assert (_map(apart, "apart")[1] == 0) == host_users
        assert apart.execute("apart", "read", "/data/first") == "written in a user namespace"
        apart.execute("apart", "write", "/data/first", "written in a user namespace")
        apart.execute("apart", "write", f"/data/{written}", written)
    assert {(each.stat().st_uid, each.stat().st_gid) for each in directory.iterdir()} == {(USER, GROUP)}
    assert len(list(directory.iterdir())) == 3
