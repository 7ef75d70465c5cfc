"""What counts as a change, against a real API server: ignored properties, schemas, drift, imports, replacements."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest

from tests.provider.objects import config_map, definition, deployment, service
from tests.provider.protocol import Engine
from tests.support.control_plane import ControlPlane
from wecityctl.kube.client import KubeClient
from wecityctl.kube.openapi import Schema

pytestmark = pytest.mark.cluster
SKIP = {"pulumi.com/skipAwait": "true"}


def with_spec(obj: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {**obj, "spec": {**obj.get("spec", {}), **spec}, "metadata": {**obj["metadata"], "annotations": SKIP}}


def live(cluster: ControlPlane, kind: str, name: str, namespace: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        cluster.kubectl("get", kind, name, "-n", namespace, "-o", "json", "--show-managed-fields")
    )
    return found


def owners(obj: dict[str, Any], *path: str) -> set[str]:
    """Who owns the field at that path of FieldsV1 keys."""
    found = set()
    for entry in obj["metadata"]["managedFields"]:
        fields: Any = entry["fieldsV1"]
        for step in path:
            fields = fields.get(step) if fields is not None else None
        if fields is not None:
            found.add(entry["manager"])
    return found


async def test_ignored_changes_stay_as_they_are_on_the_cluster(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    before = with_spec(deployment("web", namespace, replicas=0))
    inputs, _, state = await engine.make(before, "web")
    cluster.kubectl("scale", "deployment/web", "-n", namespace, "--replicas=2")
    cluster.kubectl("set", "image", "deployment/web", "-n", namespace, "app=registry.example/other:2")
    cluster.kubectl("annotate", "deployment/web", "-n", namespace, "note=theirs")
    ignored = ["spec.replicas", "spec.template.spec.containers[*].image", 'metadata.annotations["note"]']
    news = await engine.check({**before, "spec": {**before["spec"], "revisionHistoryLimit": 3}}, "web", inputs)

    shown = await engine.update(news, state, "web", preview=True, ignored=ignored)
    state = await engine.update(news, state, "web", ignored=ignored)

    for found in (shown, state, live(cluster, "deployment", "web", namespace)):
        assert found["spec"]["replicas"] == 2
        assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example/other:2"
        assert found["spec"]["revisionHistoryLimit"] == 3
    assert owners(live(cluster, "deployment", "web", namespace), "f:spec", "f:replicas") == {"kubectl"}
    assert state["__inputs"]["spec"]["replicas"] == 0
    with pytest.raises(grpc.aio.AioRpcError, match="replicas is owned by 'kubectl'"):
        await engine.update(news, state, "web", ignored=ignored[1:])


async def test_an_ignored_change_of_an_object_that_is_gone(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    inputs, _, state = await engine.make(config_map("a", namespace, x="1", y="1"), "a")
    cluster.kubectl("delete", "configmap", "a", "-n", namespace)
    news = await engine.check(config_map("a", namespace, x="1", y="2"), "a", inputs)
    assert (await engine.update(news, state, "a", ignored=["data.x"]))["data"] == {"x": "1", "y": "2"}


async def test_quantities_are_those_of_the_schema(engine: Engine, cluster: ControlPlane, namespace: str) -> None:
    metadata = {"name": "a", "namespace": namespace}

    def quota(cpu: Any) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": {"cpu": cpu}}}

    assert (await engine.diff(quota("1000m"), {}, quota("1"), "a"))[0] == {}
    assert (await engine.diff(quota("1000m"), {}, quota("2"), "a"))[0] == {"spec.hard.cpu": "update"}
    old, new = config_map("a", namespace, sizeLimit="1024Mi"), config_map("a", namespace, sizeLimit="1Gi")
    assert (await engine.diff(old, {}, new, "a"))[0] == {"data.sizeLimit": "update"}
    group = f"{namespace}.example"
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(definition(group, "Thing")))
    cluster.kubectl("wait", "--for=condition=Established", f"crd/things.{group}")

    def thing(**spec: Any) -> dict[str, Any]:
        return {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": metadata, "spec": spec}

    inputs, _, state = await engine.make(thing(version="1.10", on=1, limits={"cpu": "1000m"}), "a")
    news = thing(version="1.1", on=True, limits={"cpu": "1"})
    assert set((await engine.diff(inputs, state, news, "a"))[0]) == {"spec.version", "spec.on", "spec.limits.cpu"}


async def test_an_empty_list_that_the_server_gives_back_as_null_has_not_drifted(engine: Engine, namespace: str) -> None:
    metadata = {"name": "a", "namespace": namespace}
    for obj in (
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": []},
        {"apiVersion": "v1", "kind": "LimitRange", "metadata": metadata, "spec": {"limits": []}},
    ):
        inputs, identifier, state = await engine.make(obj, "a")
        _, outputs, refreshed = await engine.read(obj, "a", identifier, state, inputs)
        assert refreshed == inputs
        assert (await engine.diff(refreshed, outputs, await engine.check(obj, "a", refreshed), "a"))[0] == {}


async def test_refresh_finds_elements_by_the_keys_of_the_schema(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    mounts = [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/b"}]
    obj = with_spec(deployment("web", namespace, replicas=0, volumes=[{"name": "v", "emptyDir": {}}]))
    obj["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = mounts
    inputs, identifier, state = await engine.make(obj, "web")
    place = "/spec/template/spec/containers/0/volumeMounts"
    patch = [
        {"op": "replace", "path": f"{place}/1/mountPath", "value": "/c"},
        {"op": "add", "path": f"{place}/0", "value": {"name": "v", "mountPath": "/d", "subPath": "s"}},
    ]
    cluster.kubectl("patch", "deployment", "web", "-n", namespace, "--type=json", "-p", json.dumps(patch))
    _, _, refreshed = await engine.read(obj, "web", identifier, state, inputs)
    expected = json.loads(json.dumps(inputs))
    expected["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = mounts[:1]
    assert refreshed == expected


async def test_rules_that_others_add_to_ours_are_drift(engine: Engine, cluster: ControlPlane, namespace: str) -> None:
    obj = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "np", "namespace": namespace},
        "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]},
    }
    inputs, identifier, state = await engine.make(obj, "np")
    patch = [{"op": "add", "path": "/spec/ingress/0/from", "value": [{"namespaceSelector": {}}]}]
    cluster.kubectl("patch", "netpol", "np", "-n", namespace, "--type=json", "-p", json.dumps(patch))
    _, _, refreshed = await engine.read(obj, "np", identifier, state, inputs)
    assert refreshed["spec"]["ingress"] == [{"ports": [{"port": 80}], "from": [{"namespaceSelector": {}}]}]


async def test_import_takes_no_fields_that_the_server_set(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    cluster.kubectl("create", "service", "nodeport", "web", "--tcp=80:8080", "-n", namespace)
    _, _, inputs = await engine.read(service("web", namespace), "web", f"{namespace}/web", {}, {})
    assert inputs["spec"]["ports"] == [{"name": "80-8080", "port": 80, "protocol": "TCP", "targetPort": 8080}]
    assert inputs["spec"]["selector"] == {"app": "web"}
    assert inputs["spec"].keys().isdisjoint({"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"})
    cluster.kubectl("create", "service", "clusterip", "alone", "--clusterip=None", "-n", namespace)
    _, _, inputs = await engine.read(service("alone", namespace), "alone", f"{namespace}/alone", {}, {})
    assert inputs["spec"]["clusterIP"] == "None"
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    _, _, inputs = await engine.read(space, "ns", namespace, {}, {})
    assert inputs == space


async def test_a_service_with_a_fixed_node_port_is_replaced(engine: Engine, namespace: str) -> None:
    def balanced(name: str) -> dict[str, Any]:
        ports = [{"port": 80, "nodePort": 30080}]
        return with_spec(service("lb", namespace), type="LoadBalancer", loadBalancerClass=name, ports=ports)

    inputs, _, state = await engine.make(balanced("example.dev/a"), "lb")
    news = await engine.check(balanced("example.dev/b"), "lb", inputs)
    detailed, answer = await engine.diff(inputs, state, news, "lb")
    assert detailed == {"spec.loadBalancerClass": "update-replace"}
    assert answer.deleteBeforeReplace
    _, shown = await engine.create(news, "lb", preview=True)
    assert shown["spec"]["ports"][0]["nodePort"] == 30080
    assert shown["spec"]["loadBalancerClass"] == "example.dev/b"


async def test_no_schema_is_asked_for_without_need(
    engine: Engine, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(self: KubeClient, api_version: str, kind: str) -> Schema:
        raise AssertionError(f"the schema of {kind} was asked for")

    monkeypatch.setattr(KubeClient, "schema", never)
    obj = with_spec(deployment("web", namespace, replicas=0))
    inputs, identifier, state = await engine.make(obj, "web")
    _, outputs, refreshed = await engine.read(obj, "web", identifier, state, inputs)
    assert refreshed == inputs
    news = await engine.check(with_spec(obj, paused=True), "web", inputs)
    assert (await engine.diff(inputs, outputs, news, "web"))[0] == {"spec.paused": "add"}
    await engine.update(news, outputs, "web")
