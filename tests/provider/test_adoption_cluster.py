"""Creating over, replacing and deleting objects that are there already, against a real API server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import grpc
import pytest

from tests.provider.conftest import EngineFactory
from tests.provider.objects import config_map, deployment, secret, service
from tests.provider.protocol import Engine
from tests.support.control_plane import ControlPlane
from wecityctl.model.naming import RETAINED_FOR

pytestmark = pytest.mark.cluster
HARBOUR = {"wecity.dev/city": "harbour"}


def live(cluster: ControlPlane, kind: str, name: str, namespace: str = "") -> dict[str, Any]:
    place = ["-n", namespace] if namespace else []
    found: dict[str, Any] = json.loads(
        cluster.kubectl("get", kind, name, *place, "-o", "json", "--show-managed-fields")
    )
    return found


def managers(obj: dict[str, Any]) -> list[str]:
    return [entry["manager"] for entry in obj["metadata"]["managedFields"]]


def hold(cluster: ControlPlane, kind: str, name: str, namespace: str, *, held: bool) -> None:
    """Keep an object from going when it is deleted, or let it go."""
    patch = {"metadata": {"finalizers": ["example.com/hold"] if held else None}}
    cluster.kubectl("patch", kind, name, "-n", namespace, "--type=merge", "-p", json.dumps(patch))


async def refused(engine: Engine, obj: dict[str, Any], name: str) -> str:
    """What a preview and a create of the object are refused with, which is the same."""
    inputs = await engine.check(obj, name)
    told = set()
    for preview in (True, False):
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await engine.create(inputs, name, preview=preview)
        assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        told.add(failure.value.details() or "")
    (text,) = told
    return text


async def test_what_kubectl_applied_and_a_resource_adopts_leaves_the_object_with_the_inputs(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    obj = config_map("a", namespace, x="1", y="1")
    obj["metadata"]["annotations"] = {RETAINED_FOR: engine.urn(obj, "a")}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(obj))
    inputs, _, state = await engine.make(config_map("a", namespace, x="1", y="1"), "a")
    news = await engine.check(config_map("a", namespace, x="1"), "a", inputs)
    assert (await engine.update(news, state, "a"))["data"] == {"x": "1"}


LOST: dict[str, Any] = {
    # A field that is owned as a whole, and that the API server adds defaults to.
    "ValidatingAdmissionPolicy": {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": ["none.example"],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": ["no"],
                    }
                ]
            },
            "validations": [{"expression": "true"}],
        },
    },
    # A zero that the API server does not store.
    "PriorityClass": {"apiVersion": "scheduling.k8s.io/v1", "value": 7, "globalDefault": False},
}


@pytest.mark.parametrize("kind", LOST)
async def test_what_the_api_server_writes_otherwise_is_adopted_when_the_state_is_lost(
    engine: Engine, cluster: ControlPlane, namespace: str, kind: str
) -> None:
    obj = {"kind": kind, "metadata": {"name": f"lost-{namespace}"}, **LOST[kind]}
    _, _, before = await engine.make(obj, "a")
    _, identifier, again = await engine.make(obj, "a")
    assert again["metadata"]["uid"] == before["metadata"]["uid"]
    fields = live(cluster, kind, f"lost-{namespace}")["metadata"]["managedFields"]
    # A controller of the API server applies the status, at a time of its own.
    stated = [entry for entry in fields if entry.get("subresource") != "status"]
    appliers = [entry["manager"] for entry in stated if entry["operation"] == "Apply"]
    assert appliers == [again["__fieldManager"]] != [before["__fieldManager"]]
    await engine.delete(identifier, again, "a")


@pytest.mark.parametrize("maker", ["kubectl create", "kubectl apply", "another resource"])
async def test_a_foreign_object_is_refused_and_stays_byte_identical(
    engine: Engine, cluster: ControlPlane, namespace: str, maker: str
) -> None:
    """Even where it says the very same, so that server-side apply alone would share it in silence."""
    obj = config_map("a", namespace, x="1")
    if maker == "another resource":
        await engine.make(obj, "theirs")
    else:
        options = ["--server-side"] if maker == "kubectl apply" else []
        cluster.kubectl(maker.split()[1], "-f", "-", *options, stdin=json.dumps(obj))
    before = live(cluster, "configmap", "a", namespace)
    text = await refused(engine, obj, "ours")
    assert f"ConfigMap {namespace}/a exists already and is not managed by this resource" in text
    assert managers(before)[0] in text
    assert RETAINED_FOR in text
    assert live(cluster, "configmap", "a", namespace) == before


@pytest.mark.parametrize("labels", [{}, {"wecity.dev/city": "other"}, HARBOUR])
async def test_a_label_alone_makes_no_namespace_the_citys(
    engine: Engine, cluster: ControlPlane, namespace: str, labels: dict[str, str]
) -> None:
    name = f"taken-{namespace}-{labels.get('wecity.dev/city', 'nobody')}"
    obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(obj))
    before = live(cluster, "namespace", name)
    text = await refused(engine, {**obj, "metadata": {"name": name, "labels": HARBOUR}}, name)
    assert ("belongs to the city other" in text) == (labels.get("wecity.dev/city") == "other")
    assert live(cluster, "namespace", name) == before


async def test_a_marked_object_is_adopted_and_its_former_resource_leaves_it_alone(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    obj = config_map("a", namespace, x="1", gone="2")
    _, identifier, former = await engine.make(obj, "old")
    cluster.kubectl("annotate", "configmap", "a", "-n", namespace, f"{RETAINED_FOR}={engine.urn(obj, 'new')}")
    inputs = await engine.check(config_map("a", namespace, x="3"), "new")
    _, shown = await engine.create(inputs, "new", preview=True)
    assert (shown["data"], shown["metadata"]["uid"]) == ({"x": "3"}, former["metadata"]["uid"])
    assert live(cluster, "configmap", "a", namespace)["data"] == {"x": "1", "gone": "2"}
    _, outputs = await engine.create(inputs, "new")
    adopted = live(cluster, "configmap", "a", namespace)
    assert adopted["data"] == {"x": "3"}, "what the former resource alone had said is gone"
    assert adopted["metadata"]["uid"] == former["metadata"]["uid"]
    assert managers(adopted) == [outputs["__fieldManager"]]
    assert RETAINED_FOR not in adopted["metadata"].get("annotations", {})
    await engine.delete(identifier, former, "old")
    assert live(cluster, "configmap", "a", namespace) == adopted
    assert any("another resource owns it now" in text for text in engine.messages.texts(ephemeral=False))
    await engine.delete(identifier, outputs, "new")
    assert cluster.kubectl("get", "configmap", "a", "-n", namespace, "--ignore-not-found") == ""


async def test_a_provider_may_adopt_whatever_exists(
    engines: EngineFactory, cluster: ControlPlane, namespace: str
) -> None:
    adopting = await engines("adopting", upsertExistingObjects="true")
    cluster.kubectl("create", "configmap", "a", "-n", namespace, "--from-literal=theirs=1")
    _, _, outputs = await adopting.make(config_map("a", namespace, x="1"), "a")
    assert outputs["data"] == {"theirs": "1", "x": "1"}


async def test_a_new_object_over_the_old_one_of_the_same_resource_is_not_deleted_with_it(
    engines: EngineFactory, cluster: ControlPlane, namespace: str
) -> None:
    """`--replace`, or another provider for the same cluster: the engine creates first, and then deletes the old one."""
    old, new = await engines("dev"), await engines("dev")
    inputs, identifier, before = await old.make(config_map("a", namespace, x="1"), "a")
    changed = await new.check(config_map("a", namespace, x="2"), "a")
    _, after = await new.create(changed, "a")
    await old.delete(identifier, before, "a")
    found = live(cluster, "configmap", "a", namespace)
    assert found["data"] == {"x": "2"}
    assert managers(found) == [after["__fieldManager"]] != [before["__fieldManager"]]
    # The older state again, as from a backup: it goes on under the name that the object has now.
    restored = await old.update(await old.check(config_map("a", namespace, x="3"), "a", inputs), before, "a")
    assert (restored["data"], restored["__fieldManager"]) == ({"x": "3"}, after["__fieldManager"])
    # And once more, which changes the name back.
    _, again = await new.create(changed, "a")
    await old.delete(identifier, after, "a")
    assert managers(live(cluster, "configmap", "a", namespace)) == [again["__fieldManager"]]
    await new.delete(identifier, again, "a")
    assert cluster.kubectl("get", "configmap", "a", "-n", namespace, "--ignore-not-found") == ""


async def test_an_object_on_its_way_out_is_waited_for_whatever_it_may_not_change(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    obj = {**config_map("a", namespace, x="1"), "immutable": True}
    obj["metadata"]["annotations"] = {"pulumi.com/skipAwait": "true"}
    _, identifier, state = await engine.make(obj, "a")
    hold(cluster, "configmap", "a", namespace, held=True)
    await engine.delete(identifier, state, "a")  # is not waited for, and is still there
    inputs = await engine.check({**obj, "data": {"x": "2"}}, "a")
    with pytest.raises(grpc.aio.AioRpcError, match=r"is still there[\s\S]*example\.com/hold"):
        await engine.create(inputs, "a", seconds=1)
    await engine.create(inputs, "a", preview=True)
    making = asyncio.create_task(engine.create(inputs, "a", seconds=20))
    updating = asyncio.create_task(engine.update(inputs, state, "a", seconds=20))
    await asyncio.sleep(0.5)
    assert not making.done()
    assert not updating.done()
    hold(cluster, "configmap", "a", namespace, held=False)
    _, outputs = await making
    assert outputs["metadata"]["uid"] != state["metadata"]["uid"]
    assert (await updating)["data"] == outputs["data"] == {"x": "2"}


async def test_a_drifted_object_is_never_replaced_for_that(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    inputs, identifier, state = await engine.make(
        {**service("web", namespace), "metadata": {"name": "web", "namespace": namespace, "annotations": SKIP}}, "web"
    )
    drift = '[{"op": "replace", "path": "/spec/ports/0/port", "value": 88}]'
    cluster.kubectl("patch", "service", "web", "-n", namespace, "--type=json", "-p", drift)
    before = live(cluster, "service", "web", namespace)
    wish = json.loads(json.dumps(inputs))
    wish["spec"]["ports"][0]["targetPort"] = 9090
    for old, recorded in ((inputs, state), await _refreshed(engine, identifier, state, inputs)):
        detailed, answer = await engine.diff(old, recorded, wish, "web")
        assert detailed
        assert not any(kind.endswith("replace") for kind in detailed.values()), detailed
        assert not answer.replaces
        with pytest.raises(grpc.aio.AioRpcError, match=r"spec\.ports"):
            await engine.update(wish, recorded, "web")
    assert live(cluster, "service", "web", namespace) == before


SKIP = {"pulumi.com/skipAwait": "true"}


async def _refreshed(
    engine: Engine, identifier: str, state: dict[str, Any], inputs: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    _, outputs, taken = await engine.read(inputs, "web", identifier, state, inputs)
    return taken, outputs


async def test_destroy_may_drop_what_is_on_a_cluster_that_is_gone(engine: Engine, cluster: ControlPlane) -> None:
    nowhere = json.loads(cluster.kubeconfig_text)
    nowhere["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    state = {**config_map("a", "default"), "__inputs": config_map("a", "default")}
    await engine.configure(json.dumps(nowhere))
    with pytest.raises(grpc.aio.AioRpcError, match="PULUMI_K8S_DELETE_UNREACHABLE=true"):
        await engine.delete("default/a", state, "a")
    await engine.configure(json.dumps(nowhere), deleteUnreachable="true")
    await engine.delete("default/a", state, "a")
    assert any("without being deleted" in text for text in engine.messages.texts(ephemeral=False))


async def test_of_two_that_create_one_name_at_once_one_is_refused(
    engines: EngineFactory, cluster: ControlPlane, namespace: str
) -> None:
    first, second = await engines("one"), await engines("two")
    for number in range(6):
        ours = config_map(f"race{number}", namespace, who="one")
        theirs = config_map(f"race{number}", namespace, who="one", more="2")
        done = await asyncio.gather(first.make(ours, "a"), second.make(theirs, "a"), return_exceptions=True)
        won = [isinstance(item, BaseException) for item in done].index(False)
        lost = done[1 - won]
        assert isinstance(lost, grpc.aio.AioRpcError)
        assert lost.code() is grpc.StatusCode.INVALID_ARGUMENT
        found = live(cluster, "configmap", f"race{number}", namespace)
        assert found["data"] == (theirs if won else ours)["data"]
        assert len(set(managers(found))) == 1


async def test_an_update_refuses_what_somebody_else_has_made_in_the_objects_place(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    inputs, identifier, state = await engine.make(config_map("again", namespace, a="1"), "again")
    cluster.kubectl("delete", "configmap", "again", "-n", namespace)
    cluster.kubectl("create", "configmap", "again", "-n", namespace, "--from-literal=mine=1")
    before = live(cluster, "configmap", "again", namespace)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await engine.update({**inputs, "data": {"a": "2"}}, state, "again")
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    await engine.delete(identifier, state, "again")
    assert live(cluster, "configmap", "again", namespace) == before


WIDGETS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.away.example.com}
spec:
  group: away.example.com
  names: {plural: widgets, singular: widget, kind: Widget}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""
AWAY = """
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.away.example.com, labels: {kube-aggregator.kubernetes.io/automanaged: "false"}}
spec:
  group: away.example.com
  version: v1
  groupPriorityMinimum: 1000
  versionPriority: 15
  insecureSkipTLSVerify: true
  service: {name: nobody, namespace: default}
"""


async def test_a_kind_whose_server_is_away_is_neither_gone_nor_deleted(
    engines: EngineFactory, cluster: ControlPlane, namespace: str
) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=WIDGETS)
    cluster.kubectl("wait", "--for=condition=Established", "crd/widgets.away.example.com", "--timeout=30s")
    widget = {"apiVersion": "away.example.com/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": namespace}}
    inputs, identifier, state = await (await engines()).make(widget, "w")
    cluster.kubectl("delete", "apiservice", "v1.away.example.com")
    cluster.kubectl("apply", "-f", "-", stdin=AWAY)
    try:
        cluster.kubectl("wait", "--for=condition=Available=False", "apiservice/v1.away.example.com", "--timeout=30s")
        fresh = await engines(namespace="other")
        for call in (
            fresh.read(widget, "w", identifier, state, inputs),
            fresh.delete(identifier, state, "w", seconds=5),
        ):
            with pytest.raises(grpc.aio.AioRpcError, match="does not answer"):
                await call
    finally:
        cluster.kubectl("delete", "apiservice", "v1.away.example.com")
    cluster.kubectl("wait", "--for=create", "apiservice/v1.away.example.com", "--timeout=30s")
    cluster.kubectl("wait", "--for=condition=Available", "apiservice/v1.away.example.com", "--timeout=30s")
    assert live(cluster, "widget", "w", namespace)["metadata"]["uid"] == state["metadata"]["uid"]
    cluster.kubectl("delete", "crd", "widgets.away.example.com")


@pytest.mark.parametrize("data", [{"x": "1"}, {"x": "2"}, {"theirs": "1"}])
async def test_in_a_namespace_of_this_run_what_somebody_else_made_meanwhile_is_refused(
    engine: Engine, cluster: ControlPlane, namespace: str, data: dict[str, str]
) -> None:
    """Nothing is looked for there before it is made, since nothing can be older."""
    made = f"{namespace}-made"
    await engine.make({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": made}}, made)
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(config_map("a", made, **data)))
    before = live(cluster, "configmap", "a", made)
    inputs = await engine.check(config_map("a", made, x="1"), "ours")
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await engine.create(inputs, "ours")
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert f"ConfigMap {made}/a exists already and is not managed" in (failure.value.details() or "")
    after = live(cluster, "configmap", "a", made)
    assert (after["data"], managers(after)) == (before["data"], managers(before))


async def test_what_kubernetes_makes_in_each_namespace_is_nobodys_new_object(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    made = f"{namespace}-made"
    await engine.make({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": made}}, made)
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", "-n", made)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": made}}
    assert "ServiceAccount" in await refused(engine, account, "default")


async def test_a_pull_secret_is_made_where_no_workload_reads_it(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    """A pod that named it before it was there would be given its content; one that pulls with it is the kubelet's."""
    name = "pull.registry.example"
    mounting = [{"name": "v", "secret": {"secretName": name, "optional": True}}]
    made = [deployment("early", namespace, volumes=mounting), deployment("web", namespace, app="b")]
    made[1]["spec"]["template"]["spec"]["imagePullSecrets"] = [{"name": name}]
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": made}))
    obj = {**secret(name, namespace, **{".dockerconfigjson": "{}"}), "type": "kubernetes.io/dockerconfigjson"}
    inputs = await engine.check(obj, name)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await engine.create(inputs, name)
    told = failure.value.details() or ""
    assert "workloads there would read the registry's credential" in told
    assert "Deployment early" in told and "Deployment web" not in told
    assert cluster.kubectl("get", "secrets", "-n", namespace, "-o", "name") == ""
    cluster.kubectl("delete", "deployment", "early", "-n", namespace, "--cascade=foreground")
    inputs, _, state = await engine.make(obj, name)
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(made[0]))
    changed = {**obj, "stringData": {".dockerconfigjson": '{"auths": {}}'}}
    with pytest.raises(grpc.aio.AioRpcError, match="Deployment early"):
        await engine.update(await engine.check(changed, name, inputs), state, name)


async def test_a_claim_that_another_app_left_is_not_taken_over(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    """Both have the same URN, and so the same field manager."""

    def claim(app: str) -> dict[str, Any]:
        labels = {"component": "app", "part-of": "transport", "name": app}
        named = {f"app.kubernetes.io/{key}": value for key, value in labels.items()}
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        metadata = {"name": "a-b-c-d", "namespace": namespace, "labels": named}
        metadata["annotations"] = {"pulumi.com/skipAwait": "true"}
        return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}

    _, _, before = await engine.make(claim("a"), "a-b-c-d")
    text = await refused(engine, claim("a-b"), "a-b-c-d")
    assert "has the files of app transport/a; it is left as it is" in text
    _, _, again = await engine.make(claim("a"), "a-b-c-d")
    assert again["metadata"]["uid"] == before["metadata"]["uid"]
