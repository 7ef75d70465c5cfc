"""The client against a real API server."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.control_plane import ControlPlane
from wecityctl.kube.client import KubeClient
from wecityctl.kube.config import load_access
from wecityctl.kube.transport import HttpPool

pytestmark = pytest.mark.cluster


async def test_apply_get_list_delete(api_server: ControlPlane) -> None:
    async with HttpPool() as pool:
        client = KubeClient(load_access(api_server.kubeconfig_text), pool)
        assert (await client.version())["major"] == "1"
        made = await client.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"a": "1"}},
            field_manager="t",
        )
        assert made["metadata"]["namespace"] == "default"
        rt = await client.resource("v1", "ConfigMap")
        assert (await client.get(rt, "one"))["data"] == {"a": "1"}
        await client.delete(rt, "one", uid=made["metadata"]["uid"])


async def test_deployment_on_simulated_node(cluster: ControlPlane) -> None:
    async with HttpPool() as pool:
        client = KubeClient(load_access(cluster.kubeconfig_text), pool)
        rt = await client.resource("apps/v1", "Deployment")
        await client.apply(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "web", "namespace": "default"},
                "spec": {
                    "replicas": 2,
                    "selector": {"matchLabels": {"app": "web"}},
                    "template": {
                        "metadata": {"labels": {"app": "web"}},
                        "spec": {"containers": [{"name": "web", "image": "none"}]},
                    },
                },
            },
            field_manager="t",
        )
        for _ in range(100):
            found = await client.get(rt, "web", "default")
            if found["status"].get("readyReplicas") == 2:
                break
            await asyncio.sleep(0.2)
        assert found["status"].get("readyReplicas") == 2, cluster.kubectl("get", "pods,nodes", "-o", "wide")
