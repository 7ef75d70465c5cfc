"""The client against a real API server."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.control_plane import ControlPlane, control_plane
from wecityctl.errors import ExitCode
from wecityctl.kube.client import KubeClient
from wecityctl.kube.config import Access, load_access
from wecityctl.kube.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    Invalid,
    KindNotFound,
    KindUnavailable,
    NotFound,
    Unauthorized,
)
from wecityctl.kube.resource import ResourceType
from wecityctl.kube.transport import HttpPool

pytestmark = pytest.mark.cluster


@pytest_asyncio.fixture
async def client(api_server: ControlPlane) -> AsyncIterator[KubeClient]:
    async with HttpPool() as pool, KubeClient(load_access(api_server.kubeconfig_text), pool) as found:
        yield found


@pytest_asyncio.fixture
async def namespace(client: KubeClient) -> str:
    name = f"t-{uuid.uuid4().hex[:8]}"
    await client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, field_manager="t")
    return name


def config_map(namespace: str, name: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": {"of": "test"}},
        "data": data,
    }


def deployment(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "none"}]},
            },
        },
    }


async def test_life_of_an_object(client: KubeClient, namespace: str) -> None:
    assert (await client.version())["gitVersion"].startswith("v1.")
    made = await client.apply(config_map(namespace, "one", a="1"), field_manager="t")
    rt = await client.resource("v1", "ConfigMap")
    assert (await client.get(rt, "one", namespace))["data"] == {"a": "1"}
    tried = await client.apply(config_map(namespace, "one", a="2"), field_manager="t", dry_run=True)
    assert tried["data"] == {"a": "2"}
    assert (await client.get(rt, "one", namespace))["data"] == {"a": "1"}
    patched = await client.patch(rt, "one", namespace, {"data": {"b": "2"}}, field_manager="u")
    assert patched["data"] == {"a": "1", "b": "2"}
    patched = await client.patch(
        rt, "one", namespace, [{"op": "remove", "path": "/data/b"}], field_manager="u", patch_type="json"
    )
    assert patched["data"] == {"a": "1"}
    with pytest.raises(Conflict) as stale:
        await client.replace(rt, "one", namespace, made, field_manager="u")
    assert stale.value.conflicts == ()
    with pytest.raises(AlreadyExists):
        await client.create(rt, namespace, config_map(namespace, "one"), field_manager="u")
    with pytest.raises(Conflict):
        await client.delete(rt, "one", namespace, uid="another")
    await client.delete(rt, "one", namespace, uid=made["metadata"]["uid"])
    with pytest.raises(NotFound):
        await client.get(rt, "one", namespace)


async def test_namespace_of_the_context_is_the_default(api_server: ControlPlane, namespace: str) -> None:
    access = replace(load_access(api_server.kubeconfig_text), namespace=namespace)
    async with HttpPool() as pool:
        made = await KubeClient(access, pool).apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}}, field_manager="t"
        )
    assert made["metadata"]["namespace"] == namespace


async def test_conflict_names_field_and_manager(api_server: ControlPlane, client: KubeClient, namespace: str) -> None:
    await client.apply(deployment(namespace), field_manager="ours")
    api_server.kubectl("scale", "deployment/web", "-n", namespace, "--replicas=5")
    with pytest.raises(Conflict) as caught:
        await client.apply(deployment(namespace), field_manager="ours")
    assert caught.value.fields == (".spec.replicas",)
    assert caught.value.managers == ("kubectl",)
    forced = await client.apply(deployment(namespace), field_manager="ours", force=True)
    assert forced["spec"]["replicas"] == 2


async def test_immutable_field(client: KubeClient, namespace: str) -> None:
    await client.apply(deployment(namespace), field_manager="t")
    changed = deployment(namespace)
    changed["spec"]["selector"] = changed["spec"]["template"]["metadata"] = None
    changed["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    changed["spec"]["template"]["metadata"] = {"labels": {"app": "other"}}
    with pytest.raises(Invalid) as caught:
        await client.apply(changed, field_manager="t", dry_run=True)
    assert caught.value.immutable_fields == ("spec.selector",)


async def test_unknown_field_and_missing_namespace(client: KubeClient, namespace: str) -> None:
    wrong = config_map(namespace, "one") | {"dta": {}}
    with pytest.raises((BadRequest, Invalid, ApiError)) as caught:
        await client.apply(wrong, field_manager="t")
    assert "dta" in caught.value.message
    with pytest.raises(NotFound) as missing:
        await client.apply(config_map("no-such-namespace", "one"), field_manager="t")
    assert (missing.value.kind, missing.value.name) == ("namespaces", "no-such-namespace")


async def test_users(api_server: ControlPlane, namespace: str, tmp_path: Path) -> None:
    access = Access(server=api_server.server, ca_data=api_server.authority.cert)
    rt = ResourceType("", "v1", "Secret", "secrets", True)
    old = api_server.authority.client("admin", ["system:masters"], begins=timedelta(days=-9), ends=timedelta(days=-1))
    async with HttpPool() as pool:
        with pytest.raises(Forbidden) as forbidden:
            await KubeClient(replace(access, token=api_server.token), pool).list(rt, namespace)
        assert 'User "plain" cannot list resource "secrets"' in forbidden.value.message
        with pytest.raises(Unauthorized) as unknown:
            await KubeClient(replace(access, token="wrong"), pool).list(rt, namespace)
        assert unknown.value.exit_code is ExitCode.AUTHENTICATION
        with pytest.raises(Unauthorized, match="client certificate expired on"):
            await KubeClient(replace(access, client_cert=old.cert, client_key=old.key), pool).version()
        root = replace(load_access(api_server.kubeconfig_text), impersonate="plain")
        with pytest.raises(Forbidden):
            await KubeClient(root, pool).list(rt, namespace)


async def test_pages_and_metadata(client: KubeClient, namespace: str) -> None:
    await asyncio.gather(*(client.apply(config_map(namespace, f"c-{i}", a="1"), field_manager="t") for i in range(25)))
    rt = await client.resource("v1", "ConfigMap")
    found = await client.list(rt, namespace, label_selector="of=test", limit=10)
    assert len(found) == 25
    assert found[0]["kind"] == "ConfigMap"
    light = await client.list(rt, namespace, label_selector="of=test", metadata_only=True)
    assert len(light) == 25
    assert "data" not in light[0]
    assert light[0]["metadata"]["uid"]


async def test_watch(client: KubeClient, namespace: str) -> None:
    rt = await client.resource("v1", "ConfigMap")
    page = await client.list_page(rt, namespace)

    async def change() -> None:
        await client.apply(config_map(namespace, "other"), field_manager="t")
        await client.apply(config_map(namespace, "one", a="1"), field_manager="t")
        await client.apply(config_map(namespace, "one", a="2"), field_manager="t")
        await client.delete(rt, "one", namespace)

    task = asyncio.create_task(change())
    seen = []
    async with contextlib.aclosing(
        client.watch(rt, namespace, name="one", resource_version=page.resource_version)  # type: ignore[type-var]
    ) as events:
        async for event in events:
            seen.append((event.type, (event.object.get("data") or {}).get("a")))
            if event.type == "DELETED":
                break
    await task
    assert seen == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]


async def test_watch_ends_quietly(client: KubeClient, namespace: str) -> None:
    rt = await client.resource("v1", "ConfigMap")
    async for event in client.watch(rt, namespace, name="none", timeout_seconds=1):
        assert event.type == "BOOKMARK"


async def test_discovery_survives_a_broken_extension(client: KubeClient, namespace: str) -> None:
    name = "v1.broken.example"
    await client.apply(
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": name},
            "spec": {
                "group": "broken.example",
                "version": "v1",
                "groupPriorityMinimum": 1000,
                "versionPriority": 10,
                "insecureSkipTLSVerify": True,
                "service": {"name": "none", "namespace": namespace},
            },
        },
        field_manager="t",
    )
    try:
        found = await client.resources(refresh=True)
        assert {"Deployment", "ConfigMap", "CustomResourceDefinition"} <= {rt.kind for rt in found}
        # Until the API server has noticed the extension it knows no such group; then it is one that does not answer.
        for _ in range(100):
            with pytest.raises((KindNotFound, KindUnavailable)) as caught:
                await client.resource("broken.example/v1", "Thing")
            if caught.type is KindUnavailable:
                break
            await asyncio.sleep(0.1)
        assert caught.type is KindUnavailable
        assert (await client.resource("apps/v1", "Deployment")).subresources >= {"scale", "status"}
    finally:
        await client.delete(await client.resource("apiregistration.k8s.io/v1", "APIService"), name)


async def test_unknown_kind(client: KubeClient) -> None:
    for api_version in ("v1", "apps/v1", "none.example/v1"):
        with pytest.raises(KindNotFound, match=f"does not serve Nothing in {api_version}"):
            await client.resource(api_version, "Nothing")


async def test_deprecation_warnings_are_heard(client: KubeClient, namespace: str) -> None:
    heard: list[str] = []
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": namespace},
        "spec": {
            "containers": [{"name": "a", "image": "a"}],
            "nodeSelector": {"beta.kubernetes.io/os": "linux"},
            "automountServiceAccountToken": False,
        },
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}}
    await client.apply(account, field_manager="t")
    await client.apply(pod, field_manager="t", dry_run=True, on_warning=heard.append)
    assert any("beta.kubernetes.io/os" in text for text in heard), heard


async def test_requests_go_on_while_the_server_restarts(tmp_path: Path) -> None:
    """A control plane of its own: it is killed in the middle of two hundred applies and a watch."""
    with control_plane(tmp_path / "plane") as plane:
        async with HttpPool() as pool, KubeClient(load_access(plane.kubeconfig_text), pool) as client:
            rt = await client.resource("v1", "ConfigMap")
            async with client.observer.follow(rt, "default") as feed:
                first = [client.apply(config_map("default", f"a-{i}"), field_manager="t") for i in range(50)]
                await asyncio.gather(*first)
                rest = [
                    asyncio.create_task(client.apply(config_map("default", f"b-{i}"), field_manager="t"))
                    for i in range(200)
                ]
                await asyncio.sleep(0.05)
                plane.stop("kube-apiserver", kill=True)
                await asyncio.sleep(0.2)
                plane.start_again("kube-apiserver")
                made = await asyncio.gather(*rest)
                assert len({m["metadata"]["uid"] for m in made}) == 200
                for _ in range(100):
                    if len([n for n in feed.objects if n[:2] in ("a-", "b-")]) == 250:
                        break
                    await asyncio.sleep(0.1)
                assert len([n for n in feed.objects if n[:2] in ("a-", "b-")]) == 250
                assert feed.error is None


async def test_logs_of_a_simulated_node_are_an_error_soon(cluster: ControlPlane) -> None:
    async with HttpPool() as pool, KubeClient(load_access(cluster.kubeconfig_text), pool) as client:
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "logs", "namespace": "default"},
            "spec": {"containers": [{"name": "a", "image": "a"}], "nodeName": "simulated-0"},
        }
        for _ in range(50):
            try:
                await client.apply(pod, field_manager="t")
                break
            except Forbidden:  # the namespace's service account is made a moment after the namespace
                await asyncio.sleep(0.1)
        with pytest.raises(ApiError):
            await client.logs("default", "logs", tail_lines=3)
        assert await client.events("default", "none") == []
