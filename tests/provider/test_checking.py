"""Check: names, namespaces, Secrets, refusals; the field manager; ids and types."""

from __future__ import annotations

import re
from typing import Any

import pytest

from wecityctl.provider import fieldmanager, kinds, state
from wecityctl.provider.annotations import propagation
from wecityctl.provider.checking import Checked, Naming, check
from wecityctl.provider.properties import UNKNOWN, Secret
from wecityctl.provider.state import wire

TOKEN = "kubernetes:core/v1:ConfigMap"


async def checked(
    news: dict[str, Any],
    olds: dict[str, Any] | None = None,
    *,
    token: str = TOKEN,
    namespace: str = "",
    naming: Naming | None = None,
) -> Checked:
    async def namespaced(kind: kinds.Kind) -> bool:
        return kind.known_scope is not False

    return await check(
        token, "web", news, olds or {}, namespace=namespace, namespaced=namespaced, naming=naming or Naming()
    )


async def test_an_object_without_a_name_gets_one_and_keeps_it() -> None:
    first = (await checked({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"labels": {"a": "b"}}})).inputs
    assert re.fullmatch(r"web-[0-9a-f]{8}", first["metadata"]["name"])
    assert first["metadata"]["annotations"] == {"pulumi.com/autonamed": "true"}
    again = (await checked({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"labels": {"a": "c"}}}, first)).inputs
    assert again["metadata"]["name"] == first["metadata"]["name"]
    assert again["metadata"]["annotations"] == {"pulumi.com/autonamed": "true"}


async def test_the_engines_seed_makes_a_name_repeatable_and_its_wishes_count() -> None:
    one = (await checked({}, naming=Naming(seed=b"x"))).inputs["metadata"]["name"]
    two = (await checked({}, naming=Naming(seed=b"x"))).inputs["metadata"]["name"]
    assert one == two
    assert (await checked({}, naming=Naming("enforce", "exactly"))).inputs["metadata"]["name"] == "exactly"
    assert (await checked({}, naming=Naming("disable"))).failures


@pytest.mark.parametrize("name", ["fixed", UNKNOWN, Secret("hidden")])
async def test_a_given_name_is_left_alone(name: Any) -> None:
    found = (await checked({"metadata": {"name": name}})).inputs
    assert found["metadata"] == {"name": name}


async def test_generated_names_are_the_servers() -> None:
    assert (await checked({"metadata": {"generateName": "web-"}})).inputs["metadata"] == {"generateName": "web-"}


async def test_the_providers_namespace_is_the_default_of_objects_that_have_one() -> None:
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    assert (await checked(config_map, namespace="shop")).inputs["metadata"] == {"name": "a", "namespace": "shop"}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "a"}}
    assert (await checked(role, namespace="shop")).inputs["metadata"] == {"name": "a"}
    own = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": UNKNOWN}}
    assert (await checked(own, namespace="shop")).inputs["metadata"]["namespace"] == UNKNOWN


async def test_string_data_becomes_secret_data() -> None:
    news = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "a"},
        "data": {"a": "MQ==", "b": "Mg=="},
        "stringData": {"b": "text", "c": Secret("pw"), "d": UNKNOWN},
    }
    found = (await checked(news, token="kubernetes:core/v1:Secret")).inputs
    assert found["data"] == Secret({"a": "MQ==", "b": "dGV4dA==", "c": "cHc=", "d": UNKNOWN})
    assert "stringData" not in found
    assert "pw" not in repr(found)


async def test_secret_string_data_as_a_whole_and_not_known_yet() -> None:
    secret = {"kind": "Secret", "metadata": {"name": "a"}, "stringData": Secret({"a": "x"})}
    assert (await checked(secret)).inputs["data"] == Secret({"a": "eA=="})
    unknown = {"kind": "Secret", "metadata": {"name": "a"}, "stringData": UNKNOWN}
    assert (await checked(unknown)).inputs["data"] == Secret(UNKNOWN)


async def test_what_only_the_server_sets_is_dropped() -> None:
    news = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "uid": "u", "managedFields": []}}
    assert (await checked(news)).inputs["metadata"] == {"name": "a"}


@pytest.mark.parametrize(
    ("token", "word"),
    [
        ("kubernetes:helm.sh/v3:Release", "Helm"),
        ("kubernetes:kustomize/v2:Directory", "Kustomize"),
        ("kubernetes:yaml/v2:ConfigFile", "YAML"),
        ("kubernetes:apps/v1:DeploymentPatch", "DeploymentPatch"),
        ("kubernetes:core/v1:ConfigMapList", "ConfigMapList"),
    ],
)
async def test_what_is_not_served_names_the_official_plugin(token: str, word: str) -> None:
    failures = (await checked({}, token=token)).failures
    assert word in failures[0][1]
    assert "pulumi-resource-kubernetes" in failures[0][1]


@pytest.mark.parametrize("token", ["kubernetes:example.com/v1:AllowList", "kubernetes:example.com/v1:HotPatch", TOKEN])
def test_custom_kinds_may_be_called_as_they_like(token: str) -> None:
    assert kinds.refusal(token) == ""


async def test_assets_are_refused() -> None:
    asset = {"4dabf18193072939515e22adb298388d": "c44067f5952c0a294b673a41bacd8c17", "text": "x"}
    assert (await checked({"data": {"a": asset}})).failures


def test_kinds_of_tokens_and_objects() -> None:
    assert kinds.kind_of_token("kubernetes:core/v1:Pod") == kinds.Kind("", "v1", "Pod")
    assert kinds.kind_of_token("kubernetes:apps/v1:Deployment").api_version == "apps/v1"
    fallback = kinds.Kind("x", "v1", "Y")
    assert kinds.kind_of_object({"apiVersion": "example.com/v1", "kind": "Z"}, fallback) == kinds.Kind(
        "example.com", "v1", "Z"
    )
    assert kinds.kind_of_object({"apiVersion": UNKNOWN, "kind": "Z"}, fallback) == fallback


def test_the_type_and_name_in_a_urn() -> None:
    urn = "urn:pulumi:s::p::my:component:Thing$kubernetes:core/v1:ConfigMap::a::b"
    assert kinds.type_of_urn(urn) == TOKEN
    assert kinds.name_of_urn(urn) == "a::b"


def test_the_field_managers_are_derived_and_the_states_wins() -> None:
    one, adopted = fieldmanager.derive("urn:a", "cluster")
    assert re.fullmatch(r"pulumi-kubernetes-[0-9a-f]{8}", one)
    assert re.fullmatch(r"pulumi-kubernetes-[0-9a-f]{8}", adopted)
    assert (one, adopted) == fieldmanager.derive("urn:a", "cluster")
    others = {*fieldmanager.derive("urn:b", "cluster"), *fieldmanager.derive("urn:a", "other")}
    assert len({one, adopted} | others) == 6
    assert fieldmanager.choose({}, {"__fieldManager": "recorded"}, one) == "recorded"
    annotated = {"metadata": {"annotations": {"pulumi.com/patchFieldManager": "mine"}}}
    assert fieldmanager.choose(annotated, {"__fieldManager": "recorded"}, one) == "mine"
    assert fieldmanager.choose({}, None, one) == one


def test_an_adopted_object_changes_to_the_manager_that_is_not_in_use() -> None:
    one, other = managers = fieldmanager.derive("urn:a", "cluster")
    assert fieldmanager.successor(managers, ()) == one
    assert fieldmanager.successor(managers, ("kubectl", one)) == other
    assert fieldmanager.successor(managers, (other,)) == one
    # An adoption that was killed between taking the new name and giving up the old one goes on.
    assert fieldmanager.successor(managers, (other, one)) == one


def test_the_state_is_written_as_the_official_plugin_writes_it() -> None:
    live = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"p": "eA=="}, "type": "Opaque"}
    inputs = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": Secret({"p": "eA=="})}
    outputs = state.build(live, inputs, initial_api_version="v1", field_manager="m")
    assert outputs == {
        **live,
        "data": Secret({"p": "eA=="}),
        "__inputs": inputs,
        "__initialApiVersion": "v1",
        "__fieldManager": "m",
    }
    assert state.live_of(outputs) == live
    assert state.inputs_of(outputs) == inputs


def test_kubectls_copy_of_a_secret_is_secret_too() -> None:
    copy = {"kubectl.kubernetes.io/last-applied-configuration": '{"data":{"p":"eA=="}}'}
    live = {"kind": "Secret", "metadata": {"name": "a", "annotations": copy}, "data": {"p": "eA=="}}
    outputs = state.build(live, {}, initial_api_version="v1", field_manager="m")
    assert "eA==" not in repr(outputs)


def test_ids() -> None:
    assert state.id_of({"metadata": {"name": "a", "namespace": "n"}}) == "n/a"
    assert state.id_of({"metadata": {"name": "a"}}) == "a"
    assert state.split_id("n/a") == ("n", "a")
    assert state.split_id("system:node:x") == ("", "system:node:x")


def test_what_is_sent_is_in_clear_and_without_the_servers_own() -> None:
    sent = wire({"kind": "Secret", "metadata": Secret({"name": "a", "uid": "u"}), "data": Secret({"p": "eA=="})})
    assert sent == {"kind": "Secret", "metadata": {"name": "a"}, "data": {"p": "eA=="}}


def test_how_deletion_spreads() -> None:
    assert propagation({}, "Deployment") == "Foreground"
    assert propagation({}, "ConfigMap") == "Background"
    wish = {"metadata": {"annotations": {"pulumi.com/deletionPropagationPolicy": "orphan"}}}
    assert propagation(wish, "Deployment") == "Orphan"
    with pytest.raises(Exception, match="sometimes"):
        bad = {"metadata": {"annotations": {"pulumi.com/deletionPropagationPolicy": "sometimes"}}}
        propagation(bad, "Deployment")
