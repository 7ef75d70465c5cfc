"""Waiting for readiness and deletion on a real control plane with a simulated node."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.control_plane import ControlPlane
from wecityctl.errors import ExitCode
from wecityctl.kube.client import KubeClient
from wecityctl.kube.config import Access, load_access
from wecityctl.kube.errors import NotFound
from wecityctl.kube.readiness import NotReady, gone_at_once, wait_deleted, wait_plan, wait_ready
from wecityctl.kube.transport import HttpPool

pytestmark = pytest.mark.cluster


@pytest_asyncio.fixture
async def client(cluster: ControlPlane) -> AsyncIterator[KubeClient]:
    async with HttpPool() as pool, KubeClient(load_access(cluster.kubeconfig_text), pool) as found:
        yield found


@pytest_asyncio.fixture
async def namespace(client: KubeClient) -> str:
    name = f"t-{uuid.uuid4().hex[:8]}"
    await client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, field_manager="t")
    return name


def pod_spec(behave: str = "", **spec: Any) -> dict[str, Any]:
    labels = {"app": "web"} | ({"behave": behave} if behave else {})
    return {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "none/web:1"}], **spec}}


def deployment(namespace: str, replicas: int = 2, **pod: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": pod_spec(**pod)},
    }


async def apply(client: KubeClient, obj: dict[str, Any], seconds: float = 20.0) -> tuple[dict[str, Any], list[str]]:
    said: list[str] = []
    made = await client.apply(obj, field_manager="t", force=True)
    return await wait_ready(client, made, timeout=seconds, report=said.append), said


async def test_deployment_becomes_ready_and_rolls(client: KubeClient, namespace: str) -> None:
    live, _ = await apply(client, deployment(namespace))
    assert live["status"]["availableReplicas"] == 2
    changed = deployment(namespace, replicas=3)
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "none/web:2"
    live, _ = await apply(client, changed)
    assert live["status"]["updatedReplicas"] == live["status"]["replicas"] == 3


async def test_ready_answer_asks_nothing(client: KubeClient, namespace: str) -> None:
    made = await client.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": namespace}}, field_manager="t"
    )
    began = time.perf_counter()
    assert await wait_ready(client, made, timeout=5, report=pytest.fail) is made
    assert time.perf_counter() - began < 0.01


@pytest.mark.parametrize(
    ("behave", "expected"),
    [
        ("pull", 'image pull: Back-off pulling image "none/web:1": ErrImagePull: rpc error: code = Unavailable'),
        ("crash", "crash loop: container web ended with exit code 7"),
    ],
)
async def test_reason_of_the_pods_is_told(client: KubeClient, namespace: str, behave: str, expected: str) -> None:
    said: list[str] = []
    made = await client.apply(deployment(namespace, behave=behave), field_manager="t")
    with pytest.raises(NotReady) as caught:
        await wait_ready(client, made, timeout=4, report=said.append)
    assert any(expected in line and line.startswith("waiting for 2 of 2 pods: web-") for line in said), said
    assert len(said) == len(set(said))
    assert caught.value.timed_out
    assert caught.value.exit_code is ExitCode.TIMEOUT
    assert expected in caught.value.details
    assert caught.value.obj["status"]["replicas"] == 2


async def test_unschedulable_is_told(client: KubeClient, namespace: str) -> None:
    said: list[str] = []
    made = await client.apply(deployment(namespace, nodeSelector={"none": "such"}), field_manager="t")
    with pytest.raises(NotReady):
        await wait_ready(client, made, timeout=3, report=said.append)
    assert any("unschedulable: 0/1 nodes are available" in line for line in said), said


async def test_pods_refused_by_quota_are_told(client: KubeClient, namespace: str) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "q", "namespace": namespace},
        "spec": {"hard": {"pods": "0"}},
    }
    live, _ = await apply(client, quota)
    assert live["status"]["hard"] == {"pods": "0"}
    said: list[str] = []
    made = await client.apply(deployment(namespace), field_manager="t")
    with pytest.raises(NotReady):
        await wait_ready(client, made, timeout=3, report=said.append)
    assert any("exceeded quota" in line for line in said), said


async def fails(client: KubeClient, obj: dict[str, Any]) -> str:
    """Why an object fails for certain, long before its time is up."""
    began = time.monotonic()
    with pytest.raises(NotReady) as caught:
        await apply(client, obj, seconds=60)
    assert not caught.value.timed_out
    assert caught.value.exit_code is ExitCode.DEPLOYMENT
    assert time.monotonic() - began < 20
    return caught.value.reasons[0]


def stateful_set(namespace: str, **pod: Any) -> dict[str, Any]:
    made = deployment(namespace, 1, **pod)
    return {**made, "kind": "StatefulSet", "spec": {**made["spec"], "serviceName": "web"}}


async def test_a_workload_without_its_image_fails_at_once_and_its_service_with_it(
    client: KubeClient, namespace: str
) -> None:
    behind, web = await asyncio.gather(
        fails(client, service(namespace)), fails(client, deployment(namespace, behave="noimage"))
    )
    assert "container web: there is no image none/web:1: " in web
    assert behind == f"Deployment web behind it cannot start: {behind.partition(' start: ')[2]}"
    assert "there is no image none/web:1" in behind
    # The next template is judged by its own pods, while those of the former are still there.
    mended = deployment(namespace)
    mended["spec"]["template"]["spec"]["containers"][0]["image"] = "none/web:2"
    live, _ = await apply(client, mended)
    assert live["status"]["availableReplicas"] == 2


async def test_pods_that_are_refused_for_good_fail_at_once(client: KubeClient, namespace: str) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": namespace, "labels": labels}
    await client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}, field_manager="t")
    found = await asyncio.gather(fails(client, deployment(namespace)), fails(client, stateful_set(namespace)))
    assert all('violates PodSecurity "restricted:latest"' in reason for reason in found), found


async def test_pods_that_can_never_fit_their_quota_fail_at_once(client: KubeClient, namespace: str) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "q", "namespace": namespace},
        "spec": {"hard": {"requests.cpu": "1"}},
    }
    await apply(client, quota)
    large = deployment(namespace)
    large["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "600m"}}
    reason = await fails(client, large)
    told = "2 pods with requests.cpu=600m each can never fit the quota q, which allows requests.cpu=1"
    assert reason == f"its pods are refused: {told}"


async def test_a_service_is_ready_when_its_workloads_are_scaled_to_zero(client: KubeClient, namespace: str) -> None:
    await asyncio.gather(
        apply(client, service(namespace), seconds=10), apply(client, deployment(namespace, 0), seconds=10)
    )


async def test_a_service_of_a_paused_deployment_is_not_waited_for(client: KubeClient, namespace: str) -> None:
    paused = deployment(namespace, 2)
    paused["spec"]["paused"] = True
    await asyncio.gather(apply(client, service(namespace), seconds=30), apply(client, paused, seconds=30))


async def test_a_deployment_that_somebody_paused_fails_while_old_pods_run(client: KubeClient, namespace: str) -> None:
    """Its pods are ready, and are not those that were asked for. Whoever states the pause asks for just that."""
    live, _ = await apply(client, deployment(namespace))
    rt = await client.resource("apps/v1", "Deployment")
    name, pause = live["metadata"]["name"], {"spec": {"paused": True}}
    await client.patch(rt, name, namespace, pause, field_manager="kubectl-rollout", patch_type="merge")
    changed = deployment(namespace)
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "none/web:2"
    assert (
        await fails(client, changed) == "somebody has paused it: 0 of 2 pods are updated until `kubectl rollout resume`"
    )
    stated = {**changed, "spec": {**changed["spec"], **pause["spec"]}}
    await apply(client, stated, seconds=30)


def service(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }


async def test_service_waits_for_a_ready_pod(client: KubeClient, namespace: str) -> None:
    said: list[str] = []
    made = await client.apply(service(namespace), field_manager="t")
    waiter = asyncio.create_task(wait_ready(client, made, timeout=30, report=said.append))
    async with asyncio.timeout(10):
        while "no pod matches its selector app=web" not in said:
            assert not waiter.done()
            await asyncio.sleep(0.1)
    await client.apply(deployment(namespace), field_manager="t")
    live = await waiter
    assert live["spec"]["clusterIP"]


async def test_headless_service_is_ready_at_once(client: KubeClient, namespace: str) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}], "clusterIP": "None"},
    }
    _, said = await apply(client, service)
    assert said == []


async def test_stateful_set_daemon_set_pod_and_job(client: KubeClient, namespace: str) -> None:
    selector = {"matchLabels": {"app": "web"}}
    base = {"metadata": {"name": "web", "namespace": namespace}}
    stateful = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        **base,
        "spec": {"replicas": 2, "serviceName": "web", "selector": selector, "template": pod_spec()},
    }
    daemon = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        **base,
        "spec": {"selector": selector, "template": pod_spec()},
    }
    pod = {"apiVersion": "v1", "kind": "Pod", **base, "spec": pod_spec()["spec"]}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        **base,
        "spec": {"template": pod_spec(restartPolicy="Never")},
    }
    results = await asyncio.gather(*(apply(client, o) for o in (stateful, daemon, pod, job)))
    lives = [live for live, _ in results]
    assert lives[0]["status"]["readyReplicas"] == 2
    assert lives[1]["status"]["numberReady"] == 1
    assert lives[2]["status"]["phase"] == "Running"
    assert lives[3]["status"]["succeeded"] == 1


async def test_failed_job_fails_at_once(client: KubeClient, namespace: str) -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "j", "namespace": namespace},
        "spec": {"backoffLimit": 0, "template": pod_spec(behave="fail", restartPolicy="Never")},
    }
    made = await client.apply(job, field_manager="t")
    began = time.monotonic()
    with pytest.raises(NotReady) as caught:
        await wait_ready(client, made, timeout=60, report=lambda _: None)
    assert time.monotonic() - began < 30
    assert not caught.value.timed_out
    assert "BackoffLimitExceeded" in caught.value.reasons[0]
    assert any("container web ended with exit code 3" in r for r in caught.value.reasons)


async def test_claims(client: KubeClient, namespace: str) -> None:
    for name, mode in (("late", "WaitForFirstConsumer"), ("now", "Immediate")):
        await client.apply(
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": {"name": f"{name}-{namespace}"},
                "provisioner": "none.example/none",
                "volumeBindingMode": mode,
            },
            field_manager="t",
        )

    def claim(name: str) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "storageClassName": f"{name}-{namespace}",
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }

    live, _ = await apply(client, claim("late"))
    assert live["status"]["phase"] == "Pending"
    with pytest.raises(NotReady) as caught:
        await apply(client, claim("now"), seconds=2)
    assert caught.value.reasons[0] == f"not bound to a volume (storage class 'now-{namespace}')"


async def test_custom_resources(client: KubeClient, namespace: str) -> None:
    group = f"{namespace}.example"
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"things.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                }
            ],
        },
    }
    await apply(client, definition)
    # At once, with no pause between the definition and its first object.
    thing = {
        "apiVersion": f"{group}/v1",
        "kind": "Thing",
        "metadata": {"name": "one", "namespace": namespace},
        "spec": {"size": 1},
    }
    await apply(client, thing)
    rt = await client.resource(f"{group}/v1", "Thing")
    status = {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "False", "message": "being made"}]}
    unready = await client.patch(rt, "one", namespace, {"status": status}, field_manager="t", subresource="status")
    said: list[str] = []
    waiter = asyncio.create_task(wait_ready(client, unready, timeout=20, report=said.append))
    await asyncio.sleep(1)
    assert said == ["not ready: being made"]
    status["conditions"][0]["status"] = "True"  # type: ignore[index]
    began = time.monotonic()
    await client.patch(rt, "one", namespace, {"status": status}, field_manager="t", subresource="status")
    await waiter
    assert time.monotonic() - began < 1
    await client.delete(await client.resource("apiextensions.k8s.io/v1", "CustomResourceDefinition"), f"things.{group}")


async def test_wait_for_annotation(client: KubeClient, namespace: str) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "c",
            "namespace": namespace,
            "annotations": {"pulumi.com/waitFor": "jsonpath={.data.state}=done", "pulumi.com/timeoutSeconds": "20"},
        },
        "data": {"state": "begun"},
    }
    plan = wait_plan(config)
    made = await client.apply(config, field_manager="t")
    said: list[str] = []
    waiter = asyncio.create_task(
        wait_ready(client, made, timeout=plan.timeout, report=said.append, wait_for=plan.wait_for)
    )
    await asyncio.sleep(1)
    assert said == ["waiting for jsonpath={.data.state}=done, it is begun"]
    rt = await client.resource("v1", "ConfigMap")
    await client.patch(rt, "c", namespace, {"data": {"state": "done"}}, field_manager="x")
    assert (await waiter)["data"] == {"state": "done"}


async def test_deleted_while_waiting(client: KubeClient, namespace: str) -> None:
    made = await client.apply(deployment(namespace, behave="never"), field_manager="t")
    waiter = asyncio.create_task(wait_ready(client, made, timeout=30, report=lambda _: None))
    await asyncio.sleep(0.5)
    await client.delete(await client.resource("apps/v1", "Deployment"), "web", namespace)
    with pytest.raises(NotReady, match="is gone"):
        await waiter


async def test_delete_waits_for_finalizers(client: KubeClient, namespace: str) -> None:
    rt = await client.resource("v1", "ConfigMap")
    made = await client.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "held", "namespace": namespace, "finalizers": ["example.com/hold"]},
        },
        field_manager="t",
    )
    uid = made["metadata"]["uid"]
    assert not gone_at_once(await client.delete(rt, "held", namespace, uid=uid))
    said: list[str] = []
    with pytest.raises(NotReady) as caught:
        await wait_deleted(client, rt, "held", namespace, uid, timeout=0.5, report=said.append)
    assert caught.value.reasons == ("held by finalizer example.com/hold",)
    waiter = asyncio.create_task(wait_deleted(client, rt, "held", namespace, uid, timeout=20, report=said.append))
    await asyncio.sleep(0.3)
    began = time.monotonic()
    await client.patch(rt, "held", namespace, {"metadata": {"finalizers": None}}, field_manager="t")
    await waiter
    assert time.monotonic() - began < 1
    with pytest.raises(NotFound):
        await client.get(rt, "held", namespace)


async def test_delete_that_is_done_at_once(client: KubeClient, namespace: str) -> None:
    rt = await client.resource("v1", "ConfigMap")
    made = await client.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": namespace}}, field_manager="t"
    )
    assert gone_at_once(await client.delete(rt, "c", namespace, uid=made["metadata"]["uid"]))


async def test_namespace_deletion_is_waited_for(client: KubeClient, namespace: str) -> None:
    await apply(client, deployment(namespace))
    rt = await client.resource("v1", "Namespace")
    live = await client.get(rt, namespace)
    await client.delete(rt, namespace, uid=live["metadata"]["uid"])
    said: list[str] = []
    await wait_deleted(client, rt, namespace, None, live["metadata"]["uid"], timeout=60, report=said.append)
    with pytest.raises(NotFound):
        await client.get(rt, namespace)


async def test_without_permission_to_watch(cluster: ControlPlane, client: KubeClient, namespace: str) -> None:
    """A user who may only apply and get still waits, by asking now and then."""
    rules = [
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch", "create"]},
    ]
    base = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "few", "namespace": namespace}}
    await client.apply({**base, "kind": "Role", "rules": rules}, field_manager="t")
    await client.apply(
        {
            **base,
            "kind": "RoleBinding",
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "few"},
            "subjects": [{"kind": "User", "name": "plain", "apiGroup": "rbac.authorization.k8s.io"}],
        },
        field_manager="t",
    )
    access = Access(server=cluster.server, ca_data=cluster.authority.cert, token=cluster.token)
    async with HttpPool() as pool, KubeClient(access, pool) as plain:
        live, _ = await apply(plain, deployment(namespace), seconds=30)
    assert live["status"]["readyReplicas"] == 2
