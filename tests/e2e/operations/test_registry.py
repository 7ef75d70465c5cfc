"""The registry on a real node: images are pushed, and pods run what the node pulls with their tenant's account."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import tarfile
import uuid
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.files import CityFiles
from tests.e2e.machine import Cluster, Machine, eventually
from tests.e2e.pages import follow
from wecityctl import inputs, oci
from wecityctl.event_loops import run_async
from wecityctl.model.registries import docker_config
from wecityctl.oci.layout import Layer, read_layers, write_archive
from wecityctl.oci.push import PushedImage, Registry, Uploads
from wecityctl.operations.app_targets import client_of
from wecityctl.operations.capability_servers import connected, servers_on
from wecityctl.session import open_session

pytestmark = [pytest.mark.node, pytest.mark.timeout(1500)]


def bound(cluster: Cluster, tenant: str) -> dict[str, str]:
    """The entries of the binding of a tenant's app."""
    found = cluster.kubectl("get", "secret", "-n", f"{tenant}-internet", f"{tenant}-app-binding-images", "-o", "json")
    return {key: base64.b64decode(value).decode() for key, value in json.loads(found)["data"].items()}


def push_as(city: CityFiles, cluster: Cluster, tenant: str, image: oci.BuiltImage, repository: str) -> PushedImage:
    """Push an image with the account of a tenant's app, over the way of operators."""
    session, entries = open_session(Path(city)), bound(cluster, tenant)
    (server,) = servers_on(session.city, session.catalogue, session.plan.placement, "main", "registry")
    reached = inputs.Cluster("main", cluster.kubeconfig.read_text(), "", "")
    both = base64.b64encode(f"{entries['username']}:{entries['password']}".encode()).decode()

    async def pushed() -> PushedImage:
        async with client_of(reached) as client, connected(client, server) as (connection, _):
            registry = Registry(connection, f"Basic {both}", Uploads())
            push = partial(registry.push, dry_run=False)
            return await asyncio.to_thread(push, image, repository, "1", lambda progress: None)

    return run_async(pushed())


def variant(image: oci.BuiltImage, place: Path) -> oci.BuiltImage:
    """The image with a layer of its own on top, which no node has."""
    with tarfile.open(image.archive) as archive:
        manifest = json.load(archive.extractfile(f"blobs/{image.digest.replace(':', '/')}"))  # type: ignore[arg-type]
        name = f"blobs/{manifest['config']['digest'].replace(':', '/')}"
        config = json.load(archive.extractfile(name))  # type: ignore[arg-type]
    layers, _ = read_layers(image.archive, place)
    with tarfile.open(place / "top.tar", "w") as tar:
        content = f"made for {uuid.uuid4()}".encode()
        info = tarfile.TarInfo("opt/of-parks")
        info.size, info.mode = len(content), 0o644
        tar.addfile(info, io.BytesIO(content))
    layers.append(Layer.of(place / "top.tar"))
    config["rootfs"]["diff_ids"] = [layer.digest for layer in layers]
    config["history"] = [{"created_by": "a test"} for _ in layers]
    digest = write_archive(place / "image.tar", "parks/web:1", config, layers)
    return replace(image, name="web", digest=digest, archive=place / "image.tar")


OF_PARKS = "print(open('/opt/of-parks').read())"


def run_pod(
    cluster: Cluster,
    tenant: str,
    name: str,
    image: str,
    *pull_secrets: str,
    code: str = OF_PARKS,
    policy: str = "Always",
) -> None:
    """Start a pod of the tenant's app with an image to be asked for, with these pull secrets or the app's."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
    container: dict[str, Any] = {
        "name": "main",
        "image": image,
        "imagePullPolicy": policy,
        "command": ["python3", "-c", code],
        "securityContext": security,
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}},
    }
    spec = {
        "serviceAccountName": f"{tenant}-app",
        "automountServiceAccountToken": False,
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        **({"imagePullSecrets": [{"name": item} for item in pull_secrets]} if pull_secrets else {}),
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": f"{tenant}-internet"},
        "spec": spec,
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(pod))


def state_of(cluster: Cluster, tenant: str, name: str) -> tuple[str, str]:
    """The phase of a pod, and why its container waits."""
    status = json.loads(cluster.kubectl("get", "pod", "-n", f"{tenant}-internet", name, "-o", "json"))["status"]
    waiting = [item["state"].get("waiting", {}) for item in status.get("containerStatuses", ())]
    return status["phase"], " ".join(f"{item.get('reason')}: {item.get('message')}" for item in waiting if item)


def test_images_are_pushed_once(home: Machine, city: CityFiles) -> None:
    def push(*words: str) -> dict[str, Any]:
        found = home.run("images", "push", city, "--image", "sample-app", *words, "-o", "json").json()
        (registry,) = found["registries"]
        (image,) = registry["images"]
        assert image["reference"].startswith("registry.platform-operations.svc.cluster.local:5000/city/sample-app:")
        return dict(image)

    planned = push("--dry-run")
    assert (planned["state"], planned["sent"] > 2**20) == ("missing", True)
    assert follow(home, city, "use-the-registry.md", "operations") == 2
    assert (push()["state"], push("--dry-run")["state"]) == ("present", "present")


@pytest.mark.proves("registry", "ran", "used")
def test_pods_run_what_their_tenant_has_pushed(city: CityFiles, cluster: Cluster, tmp_path: Path) -> None:
    (known,) = [item for item in oci.stored() if item.reference == oci.reference("sample-app", source="built")]
    image = variant(known, tmp_path)
    repository = bound(cluster, "parks")["repository"]
    assert repository.endswith(":5000/parks")
    assert push_as(city, cluster, "parks", image, "parks/web").state == "pushed"
    with pytest.raises(Exception, match="403"):
        push_as(city, cluster, "roads", image, "parks/web")
    run_pod(cluster, "parks", "pulls-its-own", f"{repository}/web:1")
    run_pod(cluster, "roads", "pulls-of-others", f"{repository}/web:1")

    def succeeded() -> bool:
        phase, why = state_of(cluster, "parks", "pulls-its-own")
        assert "ImagePull" not in why, why
        return phase == "Succeeded"

    try:
        eventually(succeeded, seconds=120)
        assert "made for" in cluster.kubectl("logs", "-n", "parks-internet", "pulls-its-own")
        eventually(lambda: "ImagePull" in state_of(cluster, "roads", "pulls-of-others")[1], seconds=60)
        assert "403" in state_of(cluster, "roads", "pulls-of-others")[1]
    finally:
        for tenant, name in (("parks", "pulls-its-own"), ("roads", "pulls-of-others")):
            cluster.kubectl("delete", "pod", "-n", f"{tenant}-internet", name, "--ignore-not-found", "--wait=false")


def test_nodes_pull_the_city_s_own_images(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    """With the account `node`, which reads nothing of tenants."""
    found = home.run("images", "push", city, "--image", "sample-app", "-o", "json").json()
    reference = found["registries"][0]["images"][0]["reference"]
    host = reference.partition("/")[0]
    secret = json.loads(cluster.kubectl("get", "secret", "-n", "platform-operations", "registry-admin", "-o", "json"))[
        "data"
    ]
    configuration = docker_config(host, f"node:{base64.b64decode(secret['node']).decode()}")
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "node-pulls", "namespace": "parks-internet"},
            "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": configuration},
        }
    )
    try:
        run_pod(cluster, "parks", "of-the-city", reference, "node-pulls", code="print('it runs')")
        run_pod(cluster, "parks", "of-parks-as-node", f"{host}/parks/web:1", "node-pulls")
        eventually(lambda: state_of(cluster, "parks", "of-the-city")[0] == "Succeeded", seconds=120)
        eventually(lambda: "403" in state_of(cluster, "parks", "of-parks-as-node")[1], seconds=60)
        # The same image by the name by which it was imported, which no registry serves, needs no credentials.
        built = oci.reference("sample-app", source="built")
        run_pod(cluster, "roads", "of-the-machine", built, code="print('it runs')", policy="IfNotPresent")
        eventually(lambda: state_of(cluster, "roads", "of-the-machine")[0] == "Succeeded", seconds=60)
        # What was pulled with credentials still needs them.
        run_pod(cluster, "roads", "of-the-city-by-roads", reference, code="print('it runs')", policy="IfNotPresent")
        eventually(lambda: "403" in state_of(cluster, "roads", "of-the-city-by-roads")[1], seconds=60)
    finally:
        for name in ("of-the-machine", "of-the-city-by-roads"):
            cluster.kubectl("delete", "pod", "-n", "roads-internet", name, "--ignore-not-found", "--wait=false")
        for name in ("of-the-city", "of-parks-as-node"):
            cluster.kubectl("delete", "pod", "-n", "parks-internet", name, "--ignore-not-found", "--wait=false")
        cluster.kubectl("delete", "secret", "-n", "parks-internet", "node-pulls", "--ignore-not-found")
