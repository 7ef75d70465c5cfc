"""What the tests of reading share: workloads for a real API server, ways to reach one, and one that says nothing."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.control_plane import make_kubeconfig
from wecityctl.inputs import Cluster


def deployment(namespace: str, name: str, cpu: str, replicas: int, **labels: str) -> dict[str, object]:
    """Pods that ask for `cpu` each; `labels` are those of the Deployment and of its pods."""
    labels = {"app": name, **labels}
    pod = {
        "containers": [
            {"name": "c", "image": "example.invalid/x:1", "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}}}
        ]
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def many(*objects: object) -> str:
    """Objects for `kubectl apply -f -`."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def reach(name: str, kubeconfig: str) -> Cluster:
    """A cloud's cluster as `clusters` finds it."""
    return Cluster(name, kubeconfig, "test", "uid")


@contextmanager
def silence() -> Iterator[str]:
    """The kubeconfig of a server that takes connections and never says anything."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(5)
        yield json.dumps(make_kubeconfig(f"https://127.0.0.1:{listening.getsockname()[1]}", None, {"token": "t"}))
