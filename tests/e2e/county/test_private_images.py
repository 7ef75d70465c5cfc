"""Images of a registry that asks for a password: pulled with the city's credential, which nobody reads."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.county.apps import NAME, SPACE
from tests.e2e.files import CityFiles, app
from tests.e2e.machine import Cluster, Machine, eventually
from tests.support import registry
from wecityctl.local.node.layout import Held
from wecityctl.oci.store import Store

pytestmark = pytest.mark.node

HOST = "127.0.0.1:5999"
PULL = "pull.127.0.0.1.5999"


@pytest.fixture(scope="module")
def private(home: Machine) -> Iterator[subprocess.Popen[str]]:
    """A registry in the node's network namespace that asks for a password; a line on its stdin changes that."""
    spec = json.loads((home.state / "clouds" / f"{NAME}-main" / "node" / "hold.json").read_text())
    held = Held.load(Path(spec["run"]) / "node.json")
    assert held is not None
    images = Store(home.root / "k" / "wecityctl" / "images" / "store").all()
    archive = next(item.archive for item in images if item.name == "sample-app")
    command = [sys.executable, registry.__file__, HOST.partition(":")[2], "parks:first", str(archive)]
    with subprocess.Popen(
        ["nsenter", f"--net=/proc/{held.pid}/ns/net", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.close()
        process.wait(10)


def waiting(cluster: Cluster, app: str) -> str:
    """Why the container of an app's newest pod does not run; empty if it does."""
    items = cluster.get("pods", "-n", SPACE, "-l", f"app.kubernetes.io/name={app}")["items"]
    state = items[-1]["status"]["containerStatuses"][0]["state"]
    return str(state.get("waiting", {}).get("reason", ""))


def test_a_private_image_starts_with_the_citys_credential_alone(
    home: Machine, city: CityFiles, cluster: Cluster, private: subprocess.Popen[str]
) -> None:
    spec = next(city.documents("City"))["spec"]
    spec["images"]["credentials"] = {HOST: "harbor"}
    owls = app("owls", "parks")
    del owls["spec"]["route"]
    owls["spec"]["components"][0]["image"] = f"{HOST}/parks/owls:1"
    city.add("owls.yaml", owls)
    city.save()
    assert "harbor" in home.run("preview", city, code=2).err
    home.run("secrets", "set", city, "harbor", stdin="no colon", code=2)
    home.run("secrets", "set", city, "harbor", stdin="parks:first")
    home.run("up", city, "--yes", "--only", "parks")
    assert not waiting(cluster, "owls")
    pod = cluster.get("pods", "-n", SPACE, "-l", "app.kubernetes.io/name=owls")["items"][0]["spec"]
    assert pod["imagePullSecrets"] == [{"name": PULL}]
    gardens = cluster.get("pods", "-n", SPACE, "-l", "app.kubernetes.io/name=gardens")["items"]
    assert not any("imagePullSecrets" in item["spec"] for item in gardens)
    # The same image in a pod that does not name the secret; the node asks the registry whether the pod may have it.
    pod = {key: pod[key] for key in ("containers", "securityContext", "automountServiceAccountToken")}
    container = {**pod["containers"][0], "image": f"{HOST}/parks/owls:2", "volumeMounts": [], "env": []}
    labels = {"app.kubernetes.io/name": "bare"}
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "bare", "namespace": SPACE, "labels": labels},
            "spec": {**pod, "containers": [container]},
        }
    )
    eventually(lambda: waiting(cluster, "bare") in ("ErrImagePull", "ImagePullBackOff"), 60)
    cluster.kubectl("delete", "pod", "bare", "-n", SPACE, "--wait=false")


def test_the_tenants_people_do_not_read_the_credential(cluster: Cluster) -> None:
    for who in ("ann@parks.example", "ci@parks.example"):
        told = cluster.kubectl("get", "secret", PULL, "-n", SPACE, f"--as={who}", code=1)
        assert "Forbidden" in told, told
        assert "Forbidden" in cluster.kubectl("get", "secrets", "-n", SPACE, f"--as={who}", code=1)
        for verb in ("get", "list", "watch", "patch"):
            asked = cluster.kubectl("auth", "can-i", verb, f"secrets/{PULL}", "-n", SPACE, f"--as={who}", code=None)
            assert asked.startswith("no"), (who, verb, asked)
    # The deployer goes on reading what its own apps have.
    cluster.kubectl("get", "secret", "gardens-binding-db", "-n", SPACE, "--as=ci@parks.example")


def test_a_changed_credential_is_pulled_with(
    home: Machine, city: CityFiles, cluster: Cluster, private: subprocess.Popen[str]
) -> None:
    assert private.stdin is not None and private.stdout is not None
    private.stdin.write("parks:second\n")
    private.stdin.flush()
    assert private.stdout.readline() == "changed\n"
    home.run("secrets", "set", city, "harbor", stdin="parks:second")
    city.component("owls")["image"] = f"{HOST}/parks/owls:3"
    city.save()
    done = home.run("up", city, "--yes", "--only", "parks", "-o", "json")
    assert f"update Secret {SPACE}/{PULL}" in done.changes()
    assert not waiting(cluster, "owls")
