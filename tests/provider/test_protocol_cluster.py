"""The provider's operations against a real API server with controllers and a simulated node."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import grpc
import pytest

from tests.provider.conftest import EngineFactory
from tests.provider.objects import config_map, definition, deployment, secret, service
from tests.provider.protocol import Engine, Partial
from tests.support.control_plane import ControlPlane
from wecityctl.provider.properties import UNKNOWN, Secret, contains
from wecityctl.provider.server import ProviderServer

pytestmark = pytest.mark.cluster


def live(cluster: ControlPlane, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
    place = ["-n", namespace] if namespace else []
    found: dict[str, Any] = json.loads(
        cluster.kubectl("get", kind, name, *place, "-o", "json", "--show-managed-fields")
    )
    return found


async def test_create_writes_the_official_state(engine: Engine, cluster: ControlPlane, namespace: str) -> None:
    inputs, identifier, outputs = await engine.make(config_map("a", namespace, x="1"), "a")
    assert identifier == f"{namespace}/a"
    found = live(cluster, "configmap", "a", namespace)
    manager = outputs.pop("__fieldManager")
    (entry,) = found["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == (manager, "Apply")
    del entry["fieldsV1"], entry["fieldsType"]
    assert outputs == {**found, "__inputs": inputs, "__initialApiVersion": "v1"}, "all but the fields it owns alone"


async def test_update_changes_and_drops_fields(engine: Engine, cluster: ControlPlane, namespace: str) -> None:
    inputs, _, state = await engine.make(config_map("a", namespace, x="1", gone="2"), "a")
    news = await engine.check(config_map("a", namespace, x="3", new="4"), "a", inputs)
    detailed, answer = await engine.diff(inputs, state, news, "a")
    assert detailed == {"data.x": "update", "data.gone": "delete", "data.new": "add"}
    assert list(answer.diffs) == ["data"]
    outputs = await engine.update(news, state, "a")
    assert outputs["data"] == live(cluster, "configmap", "a", namespace)["data"] == {"x": "3", "new": "4"}
    assert outputs["__fieldManager"] == state["__fieldManager"]


async def test_an_unchanged_diff_asks_nothing(engines: EngineFactory, namespace: str) -> None:
    away = await engines("away", clusterIdentifier="x")
    await away.configure(
        json.dumps(
            {
                "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:1"}}],
                "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
                "users": [{"name": "a", "user": {}}],
                "current-context": "a",
            }
        )
    )
    obj = deployment("a", namespace)
    began = time.monotonic()
    detailed, answer = await away.diff(obj, {}, obj, "a")
    assert detailed == {}
    assert answer.changes == answer.DIFF_NONE
    assert time.monotonic() - began < 1


async def test_workloads_are_waited_for(engine: Engine, namespace: str) -> None:
    _, _, outputs = await engine.make(deployment("web", namespace, replicas=2), "web")
    assert outputs["status"]["availableReplicas"] == 2
    _, _, found = await engine.make(service("web", namespace), "web")
    assert found["spec"]["clusterIP"]


async def test_a_workload_that_does_not_come_up_is_kept_with_its_reasons(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    obj = deployment("web", namespace, nodeSelector={"no": "such-node"})
    with pytest.raises(Partial) as failure:
        await engine.make(obj, "web", seconds=4)
    partial = failure.value
    assert partial.id == f"{namespace}/web"
    assert "not ready" in partial.reasons[0]
    assert any("node" in reason for reason in partial.reasons), partial.reasons
    assert any("node" in text for text in engine.messages.texts(ephemeral=True)), "said while it waited"
    assert partial.outputs["metadata"]["uid"] == live(cluster, "deployment", "web", namespace)["metadata"]["uid"]
    mended = await engine.check(deployment("web", namespace), "web", partial.outputs["__inputs"])
    outputs = await engine.update(mended, partial.outputs, "web")
    assert outputs["status"]["availableReplicas"] == 1
    assert outputs["__fieldManager"] == partial.outputs["__fieldManager"]


async def test_annotations_steer_the_wait(engine: Engine, namespace: str) -> None:
    impossible = deployment("skip", namespace, nodeSelector={"no": "such-node"})
    impossible["metadata"]["annotations"] = {"pulumi.com/skipAwait": "true"}
    await engine.make(impossible, "skip", seconds=3)
    wished = config_map("wish", namespace, phase="off")
    wished["metadata"]["annotations"] = {
        "pulumi.com/waitFor": "jsonpath={.data.phase}=on",
        "pulumi.com/timeoutSeconds": "2",
    }
    with pytest.raises(Partial):
        await engine.make(wished, "wish")


async def test_a_conflict_names_object_fields_and_owner(engine: Engine, cluster: ControlPlane, namespace: str) -> None:
    inputs, _, state = await engine.make(deployment("web", namespace), "web")
    cluster.kubectl("scale", "deployment/web", "-n", namespace, "--replicas=3")
    news = await engine.check(deployment("web", namespace, replicas=2), "web", inputs)
    for preview in (True, False):
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await engine.update(news, state, "web", preview=preview)
        text = failure.value.details() or ""
        assert "server-side apply field conflict detected" in text
        assert f"Deployment {namespace}/web" in text
        assert ".spec.replicas" in text
        assert "kubectl" in text
    assert live(cluster, "deployment", "web", namespace)["spec"]["replicas"] == 3
    forced = {**news, "metadata": {**news["metadata"], "annotations": {"pulumi.com/patchForce": "true"}}}
    outputs = await engine.update(forced, state, "web")
    assert outputs["spec"]["replicas"] == 2


async def test_a_provider_may_force_everything(engines: EngineFactory, cluster: ControlPlane, namespace: str) -> None:
    forcing = await engines("forcing", enablePatchForce="true")
    inputs, _, state = await forcing.make(config_map("a", namespace, x="1"), "a")
    cluster.kubectl("patch", "configmap", "a", "-n", namespace, "--type=merge", "-p", '{"data":{"x":"hand"}}')
    news = await forcing.check(config_map("a", namespace, x="2"), "a", inputs)
    assert (await forcing.update(news, state, "a"))["data"] == {"x": "2"}


async def test_a_lost_answer_is_owned_by_the_retry(
    engines: EngineFactory, cluster: ControlPlane, namespace: str
) -> None:
    first = await engines()
    inputs, _, _ = await first.make(config_map("a", namespace, x="1"), "a")
    second = await engines()  # a new run, which knows nothing of the first
    identifier, outputs = await second.create(inputs, "a")
    assert identifier == f"{namespace}/a"
    managers = [e["manager"] for e in live(cluster, "configmap", "a", namespace)["metadata"]["managedFields"]]
    assert managers == [outputs["__fieldManager"]]


async def test_preview_of_a_create_shows_defaults_and_makes_nothing(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    inputs = await engine.check(service("web", namespace), "web")
    identifier, outputs = await engine.create(inputs, "web", preview=True)
    assert identifier == ""
    assert outputs["spec"]["type"] == "ClusterIP"
    assert outputs["spec"]["clusterIP"] == UNKNOWN
    assert outputs["metadata"]["uid"] == UNKNOWN
    assert outputs["metadata"]["name"] == "web"
    assert "status" not in outputs
    assert cluster.kubectl("get", "services", "-n", namespace, "-o", "name") == ""


async def test_preview_in_a_missing_namespace_and_of_a_missing_kind(engine: Engine) -> None:
    objects = [config_map(f"c{i}", "not-there-yet", x="1") for i in range(20)]
    custom = {"apiVersion": "example.com/v1", "kind": "NotYet", "metadata": {"name": "a", "namespace": "default"}}
    for obj in [*objects, custom]:
        inputs = await engine.check(obj, obj["metadata"]["name"])
        _, outputs = await engine.create(inputs, obj["metadata"]["name"], preview=True)
        assert outputs == inputs
    said = engine.messages.texts(ephemeral=False)
    assert len([text for text in said if "namespace not-there-yet does not exist yet" in text]) == 1
    assert len([text for text in said if "does not serve NotYet" in text]) == 1


async def test_preview_with_values_not_known_yet(engine: Engine, namespace: str) -> None:
    inputs = await engine.check({**config_map("a", namespace), "data": {"x": UNKNOWN, "y": Secret(UNKNOWN)}}, "a")
    _, outputs = await engine.create(inputs, "a", preview=True)
    assert outputs["data"] == {"x": UNKNOWN, "y": Secret(UNKNOWN)}


async def test_preview_of_an_invalid_object_fails(engine: Engine, namespace: str) -> None:
    inputs = await engine.check({**config_map("a", namespace), "dota": {"x": "1"}}, "a")
    with pytest.raises(grpc.aio.AioRpcError, match="dota"):
        await engine.create(inputs, "a", preview=True)


async def test_replacing_what_cannot_change(engine: Engine, namespace: str) -> None:
    inputs, identifier, state = await engine.make(deployment("web", namespace), "web")
    news = await engine.check(deployment("web", namespace, app="other"), "web", inputs)
    detailed, answer = await engine.diff(inputs, state, news, "web")
    assert detailed["spec.selector.matchLabels.app"] == "update-replace"
    assert answer.deleteBeforeReplace
    _, shown = await engine.create(news, "web", preview=True)
    assert shown["metadata"]["name"] == "web"
    assert shown["spec"]["selector"]["matchLabels"] == {"app": "other"}
    await engine.delete(identifier, state, "web")
    _, outputs = await engine.create(news, "web")
    assert outputs["metadata"]["uid"] != state["metadata"]["uid"]


async def test_a_volume_that_is_asked_to_shrink_is_not_replaced(engine: Engine, namespace: str) -> None:
    def claim(size: str) -> dict[str, Any]:
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "a", "namespace": namespace, "annotations": {"pulumi.com/skipAwait": "true"}},
            "spec": {**spec, "storageClassName": "none", "volumeName": "some"},
        }

    inputs, _, state = await engine.make(claim("2Gi"), "a")
    news = await engine.check(claim("1Gi"), "a", inputs)
    detailed, answer = await engine.diff(inputs, state, news, "a")
    assert detailed == {"spec.resources.requests.storage": "update"}
    assert not answer.replaces
    with pytest.raises(grpc.aio.AioRpcError, match="spec: Forbidden"):
        await engine.update(news, state, "a")


async def test_immutable_fields_learnt_from_the_api_server(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    _, crd_id, crd = await engine.make(definition("learn.example.com", "Learner"), "crd")
    custom = {
        "apiVersion": "learn.example.com/v1",
        "kind": "Learner",
        "metadata": {"name": "a", "namespace": namespace},
        "fixed": "one",
        "spec": {"n": 1},
    }
    inputs, _, state = await engine.make(custom, "a")
    changed = await engine.check({**custom, "fixed": "two", "spec": {"n": 2}}, "a", inputs)
    detailed, _ = await engine.diff(inputs, state, changed, "a")
    assert detailed == {"fixed": "update-replace", "spec.n": "update"}
    in_place = await engine.check({**custom, "spec": {"n": 2}}, "a", inputs)
    detailed, _ = await engine.diff(inputs, state, in_place, "a")
    assert detailed == {"spec.n": "update"}
    await engine.delete(crd_id, crd, "crd")


async def test_a_definition_and_its_resource_in_one_run(engines: EngineFactory, namespace: str) -> None:
    one, other = await engines("one"), await engines("other")
    custom = {"apiVersion": "run.example.com/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": {"n": 1}}
    inputs = await other.check(custom, "a")
    assert inputs["metadata"]["namespace"] == "default"
    waiting = asyncio.create_task(other.create(inputs, "a"))  # before its kind is there
    await asyncio.sleep(0.5)
    crd_inputs, crd_id, crd = await one.make(definition("run.example.com", "Widget"), "crd")
    identifier, outputs = await waiting
    assert identifier == "default/a"
    assert outputs["spec"] == {"n": 1}
    detailed, _ = await one.diff(crd_inputs, crd, crd_inputs, "crd")
    assert detailed == {}
    await one.delete(crd_id, crd, "crd")
    gone, _, _ = await other.read(custom, "a", identifier, outputs, inputs)
    assert gone == ""
    await other.delete(identifier, outputs, "a")


async def test_secrets_stay_secret_on_every_way(engine: Engine, cluster: ControlPlane, namespace: str) -> None:
    inputs, identifier, outputs = await engine.make(secret("s", namespace, password="hunter2"), "s")
    assert inputs["data"] == Secret({"password": "aHVudGVyMg=="})
    assert outputs["data"] == Secret({"password": "aHVudGVyMg=="})
    assert outputs["__inputs"]["data"] == Secret({"password": "aHVudGVyMg=="})
    for value in (inputs, outputs):
        assert "hunter2" not in repr(value)
        assert "aHVudGVyMg" not in repr(value)
    _, read, read_inputs = await engine.read(outputs, "s", identifier, outputs, inputs)
    assert contains(read["data"], Secret)
    assert contains(read_inputs["data"], Secret)
    _, imported, imported_inputs = await engine.read(outputs, "s", identifier, {}, {})
    assert imported_inputs["data"] == Secret({"password": "aHVudGVyMg=="})
    assert contains(imported["data"], Secret)


async def test_an_error_never_quotes_a_secret(engine: Engine, namespace: str) -> None:
    pod = deployment("web", namespace)
    container = pod["spec"]["template"]["spec"]["containers"][0]
    container["imagePullPolicy"] = Secret("Tell-Nobody")
    inputs = await engine.check(pod, "web")
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await engine.create(inputs, "web")
    assert "Tell-Nobody" not in (failure.value.details() or "")
    assert "[secret]" in (failure.value.details() or "")


async def test_refresh_takes_over_drift_and_drops_what_is_gone(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    inputs, identifier, state = await engine.make(deployment("web", namespace), "web")
    _, _, same = await engine.read(inputs, "web", identifier, state, inputs)
    assert same == inputs  # cpu "0.1" is "100m" on the server: no drift
    cluster.kubectl("scale", "deployment/web", "-n", namespace, "--replicas=2")
    _, outputs, taken = await engine.read(inputs, "web", identifier, state, inputs)
    assert taken["spec"]["replicas"] == 2
    assert taken["spec"]["template"] == inputs["spec"]["template"]
    assert outputs["__inputs"] == taken
    cluster.kubectl("delete", "deployment/web", "-n", namespace)
    gone, _, _ = await engine.read(inputs, "web", identifier, state, inputs)
    assert gone == ""


async def test_import_by_id(engine: Engine, cluster: ControlPlane, namespace: str) -> None:
    manifest = deployment("web", namespace)
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))
    identifier, outputs, inputs = await engine.read(manifest, "web", f"{namespace}/web", {}, {})
    assert identifier == f"{namespace}/web"
    detailed, _ = await engine.diff(inputs, outputs, await engine.check(manifest, "web"), "web")
    assert detailed == {}
    outputs = await engine.update(inputs, outputs, "web")
    assert outputs["spec"]["replicas"] == 1


async def test_what_kubectl_applied_is_the_programs_once_it_is_imported(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    """What leaves the program leaves the object, and what it changes meets no conflict with `kubectl apply`."""
    manifest = config_map("a", namespace, x="1", y="1", z="1")
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    cluster.kubectl("label", "configmap", "a", "-n", namespace, "theirs=kept")
    identifier, state, inputs = await engine.read(manifest, "a", f"{namespace}/a", {}, {})
    assert (identifier, inputs["data"]) == (f"{namespace}/a", {"x": "1", "y": "1", "z": "1"})
    assert state["metadata"]["managedFields"], "the next update has to know that it takes over"
    before = cluster.kubectl("get", "configmap", "a", "-n", namespace, "-o", "yaml", "--show-managed-fields")
    news = await engine.check(config_map("a", namespace, x="2", y="1"), "a", inputs)
    shown = await engine.update(news, state, "a", preview=True)
    assert shown["data"]["x"] == "2"
    bad = await engine.check({**config_map("a", namespace, x="2"), "binaryData": {"x": "MQ=="}}, "a", inputs)
    with pytest.raises(grpc.aio.AioRpcError):
        await engine.update(bad, state, "a")
    after = cluster.kubectl("get", "configmap", "a", "-n", namespace, "-o", "yaml", "--show-managed-fields")
    assert after == before, "a refused change leaves even the owners as they were"
    state = await engine.update(news, state, "a")
    assert state["data"] == {"x": "2", "y": "1"}
    assert state["metadata"]["labels"]["theirs"] == "kept"
    news = await engine.check(config_map("a", namespace, x="2"), "a", news)
    assert (await engine.update(news, state, "a"))["data"] == {"x": "2"}


async def test_gone_behind_our_back_is_made_again(engine: Engine, cluster: ControlPlane, namespace: str) -> None:
    inputs, _, state = await engine.make(config_map("a", namespace, x="1"), "a")
    cluster.kubectl("delete", "configmap", "a", "-n", namespace)
    news = await engine.check(config_map("a", namespace, x="2"), "a", inputs)
    shown = await engine.update(news, state, "a", preview=True)
    assert shown["metadata"]["uid"] == UNKNOWN
    outputs = await engine.update(news, state, "a")
    assert outputs["metadata"]["uid"] != state["metadata"]["uid"]
    said = engine.messages.texts(ephemeral=False)
    assert any("will be made again" in text for text in said)
    assert any("was made again" in text for text in said)


async def test_delete_waits_names_finalizers_and_forgives(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    held = config_map("held", namespace, x="1")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    _, identifier, state = await engine.make(held, "held")
    with pytest.raises(grpc.aio.AioRpcError, match=r"example\.com/hold"):
        await engine.delete(identifier, state, "held", seconds=2)
    cluster.kubectl(
        "patch", "configmap", "held", "-n", namespace, "--type=merge", "-p", '{"metadata":{"finalizers":null}}'
    )
    await engine.delete(identifier, state, "held", seconds=20)
    await engine.delete(identifier, state, "held", seconds=20)  # gone already: success


async def test_delete_leaves_alone_what_is_not_ours_any_more(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    _, identifier, state = await engine.make(config_map("a", namespace, x="1"), "a")
    cluster.kubectl("delete", "configmap", "a", "-n", namespace)
    cluster.kubectl("create", "configmap", "a", "-n", namespace, "--from-literal=x=theirs")
    await engine.delete(identifier, state, "a")
    assert live(cluster, "configmap", "a", namespace)["data"] == {"x": "theirs"}
    assert any("left alone" in text for text in engine.messages.texts(ephemeral=False))


async def test_create_waits_for_an_older_object_on_its_way_out(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    _, _, state = await engine.make(config_map("a", namespace, x="1"), "a")
    hold = '{"metadata":{"finalizers":["example.com/hold"]}}'
    cluster.kubectl("patch", "configmap", "a", "-n", namespace, "--type=merge", "-p", hold)
    cluster.kubectl("delete", "configmap", "a", "-n", namespace, "--wait=false")
    inputs = await engine.check(config_map("a", namespace, x="2"), "b")
    making = asyncio.create_task(engine.create(inputs, "a", seconds=20))
    await asyncio.sleep(0.7)
    assert not making.done()
    cluster.kubectl(
        "patch", "configmap", "a", "-n", namespace, "--type=merge", "-p", '{"metadata":{"finalizers":null}}'
    )
    _, outputs = await making
    assert outputs["metadata"]["uid"] != state["metadata"]["uid"]
    assert outputs["data"] == {"x": "2"}


async def test_a_namespace_goes_with_what_is_in_it(engine: Engine) -> None:
    obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "going-away"}}
    inputs, identifier, state = await engine.make(obj, "ns")
    await engine.make(deployment("web", "going-away"), "web")
    await engine.delete(identifier, state, "ns", seconds=60)
    gone, _, _ = await engine.read(inputs, "ns", identifier, state, inputs)
    assert gone == ""


async def test_cancelling_one_of_two_stacks(engines: EngineFactory, cluster: ControlPlane, namespace: str) -> None:
    one, other = await engines("one"), await engines("other")
    stuck = {"nodeSelector": {"late": "yes"}}
    first = asyncio.create_task(one.make(deployment("first", namespace, app="a", **stuck), "first", seconds=60))
    second = asyncio.create_task(other.make(deployment("second", namespace, app="b", **stuck), "second", seconds=60))
    await asyncio.sleep(1.5)
    began = time.monotonic()
    await one.cancel()
    with pytest.raises(Partial) as failure:
        await first
    assert time.monotonic() - began < 2
    assert failure.value.id == f"{namespace}/first"
    assert "cancelled" in failure.value.reasons[0]
    assert failure.value.outputs["metadata"]["uid"]
    with pytest.raises(grpc.aio.AioRpcError, match="cancelled"):
        await one.make(config_map("late", namespace), "late")
    assert not second.done()
    cluster.kubectl("label", "node", "simulated-0", "late=yes", "--overwrite")
    try:
        _, _, outputs = await second
    finally:
        cluster.kubectl("label", "node", "simulated-0", "late-")
    assert outputs["status"]["availableReplicas"] == 1


async def test_two_providers_of_one_stack_share_a_port(
    engines: EngineFactory, cluster: ControlPlane, namespace: str
) -> None:
    one = await engines("shared", namespace=namespace)
    async with Engine(one.port, "shared") as two:
        await two.configure(cluster.kubeconfig_text, namespace="default")
        obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
        assert (await one.check(obj, "a"))["metadata"]["namespace"] == namespace
        assert (await two.check(obj, "b"))["metadata"]["namespace"] == "default"


@pytest.mark.parametrize("base", ["gen-", "g" * 61])
async def test_generated_names(engine: Engine, namespace: str, base: str) -> None:
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": base, "namespace": namespace}}
    inputs, identifier, state = await engine.make({**obj, "data": {"x": "1"}}, "a")
    assert identifier.startswith(f"{namespace}/{base[:58]}")
    assert len(identifier) <= len(f"{namespace}/") + 63
    news = await engine.check({**obj, "data": {"x": "2"}}, "a", inputs)
    detailed, _ = await engine.diff(inputs, state, news, "a")
    assert detailed == {"data.x": "update"}
    outputs = await engine.update(news, state, "a")
    assert (outputs["metadata"]["uid"], outputs["data"]) == (state["metadata"]["uid"], {"x": "2"})


async def test_another_field_manager_takes_over_from_the_former(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    inputs, _, state = await engine.make(config_map("a", namespace, x="1"), "a")
    wish = config_map("a", namespace, x="1")
    wish["metadata"]["annotations"] = {"pulumi.com/patchFieldManager": "city"}
    outputs = await engine.update(await engine.check(wish, "a", inputs), state, "a")
    assert outputs["__fieldManager"] == "city"
    managers = [e["manager"] for e in live(cluster, "configmap", "a", namespace)["metadata"]["managedFields"]]
    assert managers == ["city"]


async def test_deprecated_versions_are_warned_of_unless_suppressed(engines: EngineFactory, namespace: str) -> None:
    endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "old", "namespace": namespace}}
    loud, quiet = await engines("loud"), await engines("quiet", suppressDeprecationWarnings="true")
    await loud.make(endpoints, "a")
    await quiet.make({**endpoints, "metadata": {"name": "older", "namespace": namespace}}, "b")
    assert any("deprecated" in text for text in loud.messages.texts(ephemeral=False))
    assert not quiet.messages.texts(ephemeral=False)


async def test_a_large_object_comes_back_in_a_partial_failure(engine: Engine, namespace: str) -> None:
    obj = deployment("big", namespace, nodeSelector={"no": "such-node"})
    obj["metadata"]["annotations"] = {f"example.com/note-{i}": "x" * 200 for i in range(300)}
    with pytest.raises(Partial) as failure:
        await engine.make(obj, "big", seconds=2)
    assert len(failure.value.outputs["metadata"]["annotations"]) >= 300


async def test_taking_over_a_state_of_the_official_plugin(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    """Its state has a random manager, which owns the fields on the server: nothing to change, and it stays."""
    manifest = deployment("web", namespace)
    manager = "pulumi-kubernetes-12ab34cd"
    cluster.kubectl("apply", "--server-side", f"--field-manager={manager}", "-f", "-", stdin=json.dumps(manifest))
    recorded = live(cluster, "deployment", "web", namespace)
    state = {**recorded, "__inputs": manifest, "__initialApiVersion": "apps/v1", "__fieldManager": manager}
    inputs = await engine.check(manifest, "web", manifest)
    assert inputs == manifest
    detailed, _ = await engine.diff(manifest, state, inputs, "web")
    assert detailed == {}
    news = await engine.check(deployment("web", namespace, replicas=2), "web", manifest)
    outputs = await engine.update(news, state, "web")
    assert outputs["__fieldManager"] == manager
    assert outputs["metadata"]["uid"] == recorded["metadata"]["uid"]
    assert not any("fieldsV1" in entry for entry in outputs["metadata"]["managedFields"])
    entries = live(cluster, "deployment", "web", namespace)["metadata"]["managedFields"]
    assert [e["manager"] for e in entries if e["operation"] == "Apply"] == [manager]


async def test_taking_over_what_a_newer_official_plugin_created(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    """From 4.29 on it creates with POST: its fields are owned by "Update", under the name of its program."""
    manifest = config_map("a", namespace, x="1", gone="2")
    creator = "--field-manager=pulumi-resource-kubernetes"
    cluster.kubectl("create", creator, "-f", "-", stdin=json.dumps(manifest))
    manager = "pulumi-kubernetes-12ab34cd"
    recorded = live(cluster, "configmap", "a", namespace)
    state = {**recorded, "__inputs": manifest, "__initialApiVersion": "v1", "__fieldManager": manager}
    news = await engine.check(config_map("a", namespace, x="3"), "a", manifest)
    shown = await engine.update(news, state, "a", preview=True)
    assert shown["data"]["x"] == "3"
    assert live(cluster, "configmap", "a", namespace) == recorded
    outputs = await engine.update(news, state, "a")
    assert outputs["data"] == {"x": "3"}, "what has left the inputs is gone"
    assert not any("fieldsV1" in entry for entry in outputs["metadata"]["managedFields"])
    entries = live(cluster, "configmap", "a", namespace)["metadata"]["managedFields"]
    assert [(e["manager"], e["operation"]) for e in entries] == [(manager, "Apply")]
    await engine.delete(f"{namespace}/a", outputs, "a")


async def test_the_kubeconfigs_cluster_can_be_overridden(
    server: ProviderServer, cluster: ControlPlane, namespace: str
) -> None:
    config = json.loads(cluster.kubeconfig_text)
    config["clusters"].append({"name": "elsewhere", "cluster": {"server": "https://127.0.0.1:1"}})
    config["contexts"][0]["context"]["cluster"] = "elsewhere"
    async with Engine(await server.open("override")) as engine:
        await engine.configure(json.dumps(config), cluster="test")
        _, identifier, _ = await engine.make(config_map("a", namespace, x="1"), "a")
        assert identifier == f"{namespace}/a"


async def test_a_cluster_out_of_reach(server: ProviderServer, cluster: ControlPlane, namespace: str) -> None:
    nowhere = json.loads(cluster.kubeconfig_text)
    nowhere["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    obj = config_map("a", namespace, x="1")
    async with Engine(await server.open("away")) as engine:
        await engine.configure(json.dumps(nowhere))
        inputs = await engine.check(obj, "a")
        _, outputs = await engine.create(inputs, "a", preview=True)
        assert outputs == inputs
        assert any("cannot be used" in text for text in engine.messages.texts(ephemeral=False))
        with pytest.raises(grpc.aio.AioRpcError, match="refuses connections"):
            await engine.create(inputs, "a")
        with pytest.raises(grpc.aio.AioRpcError, match="refuses connections"):
            await engine.read(obj, "a", f"{namespace}/a", obj, inputs)
        await engine.configure(json.dumps(nowhere), deleteUnreachable="true")
        assert (await engine.read(obj, "a", f"{namespace}/a", obj, inputs))[0] == ""
        await engine.configure(json.dumps(nowhere), skipUpdateUnreachable="true")
        assert await engine.read(obj, "a", f"{namespace}/a", obj, inputs) == (f"{namespace}/a", obj, inputs)
        await engine.configure("{not a kubeconfig")
        with pytest.raises(grpc.aio.AioRpcError, match="kubeconfig"):
            await engine.create(inputs, "a")


async def test_a_custom_kind_of_the_cluster_checked_before_it_is_served(engine: Engine) -> None:
    custom = {"apiVersion": "wide.example.com/v1", "kind": "Realm", "metadata": {"name": "a"}, "spec": {"n": 1}}
    inputs = await engine.check(custom, "a")
    assert inputs["metadata"]["namespace"] == "default"  # all that can be known so far
    _, crd_id, crd = await engine.make(definition("wide.example.com", "Realm", "Cluster"), "crd")
    _, shown = await engine.create(inputs, "a", preview=True)
    assert shown["spec"] == {"n": 1}
    identifier, state = await engine.create(inputs, "a")
    assert identifier == "a"
    later = await engine.check(custom, "a", inputs)
    assert "namespace" not in later["metadata"]
    detailed, _ = await engine.diff(inputs, state, later, "a")
    assert detailed == {}
    await engine.delete(identifier, state, "a")
    await engine.delete(crd_id, crd, "crd")
