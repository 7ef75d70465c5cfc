"""Pull secrets: where they are made, which pods name them, and who may read them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from tests.stacks.cities import IMAGES, WEB, app, city, objects, one, record_city
from wecityctl.image_references import image_references
from wecityctl.model.city import Capability, City, Component, Images, Platform, Use
from wecityctl.model.images import BUILT_HOST
from wecityctl.model.registries import (
    docker_config,
    is_credential,
    pod_spec,
    pull_secret,
    registry_of,
    resolve_image,
    secrets_read,
)
from wecityctl.plan import make_plan

PRIVATE = replace(WEB, image="private.example:5000/health/web:1")
NIGHTLY = Component("nightly", "private.example:5000/health/job:1", schedule="0 3 * * *")
SECRET = {"name": "pull.private.example.5000"}


def named(item: Any) -> list[dict[str, str]]:
    spec = pod_spec(item.inputs)
    return list(spec.get("imagePullSecrets", ())) if spec is not None else []


def with_credentials(whole: City, **credentials: str) -> City:
    return replace(whole, images=replace(whole.images, credentials=credentials))


def small(**changes: Any) -> City:
    return city(app("code", components=(PRIVATE, NIGHTLY)), app("bus", tenant="transport"), **changes)


def test_pods_name_the_secret_of_their_images_registry_alone() -> None:
    recorded = record_city(small(images=Images(credentials={"private.example:5000": "harbor", "other.example": "x"})))
    assert named(one(recorded, "Deployment", "health-internet/code-web")) == [SECRET]
    assert named(one(recorded, "CronJob", "health-internet/code-nightly")) == [SECRET]
    assert [item.name for item in objects(recorded) if named(item)] == [
        "health-internet/code-web",
        "health-internet/code-nightly",
    ]
    made = [item for item in objects(recorded, "Secret") if item.inputs["type"] == "kubernetes.io/dockerconfigjson"]
    assert [item.name for item in made] == ["health-internet/pull.private.example.5000"]
    # The recording has no value of a secret.
    assert "value-of" not in json.dumps(made[0].inputs)


def test_pods_wait_for_the_secret() -> None:
    recorded = record_city(small(images=Images(credentials={"private.example:5000": "harbor"})))
    secret = one(recorded, "Secret", "health-internet/pull.private.example.5000")
    assert secret.urn in one(recorded, "Deployment", "health-internet/code-web").depends_on


def test_platforms_whose_images_are_private_have_it_too() -> None:
    """All images of the tests' catalogue are of registry.example; a use's Job runs in the capability's namespace."""
    whole = city(app("code", uses=(Use("postgresql", "db"),)))
    recorded = record_city(replace(whole, images=Images(credentials={"registry.example": "harbor"})))
    secrets = {item.name for item in objects(recorded, "Secret") if "/pull." in item.name}
    assert secrets == {"platform-application/pull.registry.example", "health-internet/pull.registry.example"}
    pods = [item for item in objects(recorded) if pod_spec(item.inputs) is not None]
    assert {item.inputs["kind"] for item in pods} >= {"Deployment", "StatefulSet", "Job"}
    assert all(named(item) == [{"name": "pull.registry.example"}] for item in pods)


def test_without_credentials_nothing_is_other_than_before() -> None:
    recorded = record_city(small())
    assert not any(named(item) for item in objects(recorded))
    assert not any("/pull." in item.name for item in objects(recorded))


def test_each_stack_with_pods_is_given_the_credentials() -> None:
    from stacks.catalogue import load_catalogue

    plan = make_plan(small(images=Images(credentials={"private.example:5000": "harbor"})), load_catalogue())
    given = {stack.layer for stack in plan.stacks if "registry/harbor" in stack.secrets}
    assert given == {"platform", "tenant"}


def test_a_deployer_reads_the_secrets_of_its_apps_alone() -> None:
    whole = small(images=Images(credentials={"private.example:5000": "harbor"}))
    whole = replace(whole, tenants=tuple(replace(item, deployers=("ci@x.example",)) for item in whole.tenants))
    recorded = record_city(whole)
    role = one(recorded, "Role", "health-internet/tenant-deployer").inputs["rules"]
    rules = [item for item in role if "secrets" in item["resources"]]
    assert [(item.get("resourceNames"), item["verbs"]) for item in rules] == [
        (
            ["code-nightly-secrets", "code-nightly-tls", "code-web-secrets", "code-web-tls"],
            ["get", "update", "patch", "delete"],
        ),
        (None, ["create"]),
    ]
    # Before that, the deployer may read every Secret there.
    made = one(recorded, "Secret", "health-internet/pull.private.example.5000")
    assert one(recorded, "Role", "health-internet/tenant-deployer").urn in made.depends_on
    # In a namespace without credentials the role is as before.
    other = one(recorded, "Role", "transport-internet/tenant-deployer").inputs["rules"]
    assert not any("resourceNames" in item for item in other)


def test_registries_of_references() -> None:
    assert registry_of("nginx") == registry_of("library/nginx:1") == "docker.io"
    assert registry_of("registry-1.docker.io/library/nginx") == "docker.io"
    assert registry_of("localhost/x") == "localhost"
    assert registry_of("private.example:5000/health/web@sha256:0") == "private.example:5000"
    assert registry_of(resolve_image("quay.io/x/y:1", IMAGES, "mirror.example/base")) == "mirror.example"
    assert pull_secret("private.example:5000") == SECRET["name"]


def test_a_docker_configuration() -> None:
    told = json.loads(docker_config("docker.io", "robot$a:p:w"))
    assert told == {
        "auths": {"https://index.docker.io/v1/": {"username": "robot$a", "password": "p:w", "auth": "cm9ib3QkYTpwOnc="}}
    }
    assert is_credential("a:b") and not any(map(is_credential, ("a", "a:", ":b", "a:b\nc:d")))


def test_the_secrets_that_a_pod_is_given_the_content_of() -> None:
    """Of every place in a pod that names one; the kubelet's own are none."""
    spec: dict[str, Any] = {
        "imagePullSecrets": [{"name": "kubelets"}],
        "volumes": [
            {"secret": {"secretName": "a"}},
            {"projected": {"sources": [{"secret": {"name": "b"}}, {"configMap": {"name": "none"}}]}},
            {"csi": {"driver": "x", "nodePublishSecretRef": {"name": "c"}}},
            {"rbd": {"secretRef": {"name": "d"}}},
            {"azureFile": {"secretName": "e"}},
        ],
        "containers": [{"env": [{"name": "none", "valueFrom": {"secretKeyRef": {"name": "f", "key": "k"}}}]}],
        "initContainers": [{"envFrom": [{"secretRef": {"name": "g"}}, {"configMapRef": {"name": "none"}}]}],
    }
    assert sorted(secrets_read(spec)) == list("abcdefg")


HOST = "registry.platform-operations.svc.cluster.local:5000"
OWN = {"name": "code-binding-images.pull"}


def with_registry(*components: Component, **images: Any) -> City:
    """A city with a registry that one of its apps uses."""
    registry = Platform("operations", (Capability("operations", "registry", "registry"),))
    whole = city(app("code", components=components, uses=(Use("registry", "images"),)), app("bus", tenant="transport"))
    return replace(whole, platforms=(*whole.platforms, registry), images=Images(**images))


def test_an_app_pulls_with_the_account_of_its_use() -> None:
    recorded = record_city(with_registry(PRIVATE, NIGHTLY))
    account = one(recorded, "ServiceAccount", "health-internet/code").inputs
    assert account["imagePullSecrets"] == [OWN]
    made = one(recorded, "Secret", f"health-internet/{OWN['name']}")
    assert made.inputs["type"] == "kubernetes.io/dockerconfigjson"
    assert "value-of" not in json.dumps(made.inputs)
    assert made.urn in one(recorded, "Deployment", "health-internet/code-web").depends_on
    assert [item.name for item in objects(recorded) if named(item)] == [
        "health-internet/code-web",
        "health-internet/code-nightly",
    ]
    assert "imagePullSecrets" not in one(recorded, "ServiceAccount", "transport-internet/bus").inputs


def test_an_app_pulls_from_a_private_registry_too() -> None:
    whole = with_registry(PRIVATE, credentials={"private.example:5000": "harbor"})
    whole = replace(whole, tenants=tuple(replace(item, deployers=("ci@x.example",)) for item in whole.tenants))
    recorded = record_city(whole)
    assert named(one(recorded, "Deployment", "health-internet/code-web")) == [OWN, SECRET]
    role = one(recorded, "Role", "health-internet/tenant-deployer").inputs["rules"]
    names = next(item["resourceNames"] for item in role if item.get("resourceNames") and "secrets" in item["resources"])
    assert OWN["name"] in names and SECRET["name"] not in names


def test_images_in_the_city_s_registry_are_named_as_they_are() -> None:
    own, inside = f"{HOST}/health/web:1", f"{HOST}/city"
    assert resolve_image(own, {}, inside) == own
    assert resolve_image("private.example/web:1", {}, inside) == f"{inside}/web:1"
    # Of a mirror outside the city nothing changes.
    assert resolve_image("mirror.example/web:1", {}, "mirror.example/base") == "mirror.example/base/web:1"


def test_a_registry_does_not_come_from_itself() -> None:
    from stacks.catalogue import load_catalogue

    catalogue = load_catalogue()
    found = image_references(with_registry(WEB, source="built", registry=f"{HOST}/city"), catalogue)
    assert found["registry"].startswith(f"{BUILT_HOST}/registry:")
    assert found["postgresql"].startswith(f"{HOST}/city/postgresql:")
    outside = image_references(with_registry(WEB, source="built", registry="mirror.example"), catalogue)
    assert outside["registry"].startswith("mirror.example/registry:")
