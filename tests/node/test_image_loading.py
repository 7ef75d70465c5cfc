"""`wecityctl images load`: an image built here runs on a real node, under the restricted Pod Security rules."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.node_cloud import NodeCloud
from wecityctl import oci

pytestmark = pytest.mark.node


def load(state: Path, cloud: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", "from wecityctl.cli.main import main; main()"]
    return subprocess.run(
        [*program, "images", "load", "pause", "sample-app", "--cloud", cloud],
        env={**os.environ, "XDG_STATE_HOME": str(state)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_loaded_image_runs(node: NodeCloud, state: Path) -> None:
    reference = oci.reference("sample-app", source="built")
    first = load(state, node.spec.name)
    assert first.returncode == 0, first.stderr
    assert reference in first.stdout.splitlines()
    again = load(state, node.spec.name)
    assert (again.returncode, again.stdout) == (0, ""), "what is there is not imported again"
    restricted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    probe = {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1}
    container = {"name": "main", "image": reference, "securityContext": restricted, "readinessProbe": probe}
    node.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "sample-app"},
            "spec": {"securityContext": {"runAsNonRoot": True}, "containers": [container]},
        }
    )
    try:
        node.ready("sample-app")
        check = ["python3", "-m", "sample_app.check", "http", "http://127.0.0.1:8080/healthz"]
        answer = json.loads(node.kubectl("exec", "sample-app", "--", *check))
        assert (answer["status"], answer["body"]) == (200, "ok\n")
        user = node.kubectl("exec", "sample-app", "--", "id", "-u").strip()
        assert user == "65532"
    finally:
        node.kubectl("delete", "pod", "sample-app", "--wait=false")
