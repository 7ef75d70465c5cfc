"""The structure of kinds: from a document, and from a real API server with the copy on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.control_plane import ControlPlane
from wecityctl.errors import WecityError
from wecityctl.kube.client import KubeClient
from wecityctl.kube.config import load_access
from wecityctl.kube.openapi import Schema, Schemas, digest
from wecityctl.kube.transport import HttpPool

QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
DOCUMENT = {
    "components": {
        "schemas": {
            QUANTITY: {"oneOf": [{"type": "string"}, {"type": "number"}]},
            "example.Tree": {
                "x-kubernetes-group-version-kind": [{"group": "example.dev", "version": "v1", "kind": "Tree"}],
                "properties": {
                    "branches": {"items": {"allOf": [{"$ref": "#/components/schemas/example.Tree"}], "default": {}}},
                    "leaves": {
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["port", "protocol"],
                        "items": {"properties": {"protocol": {"default": "TCP"}, "port": {"type": "integer"}}},
                    },
                    "old": {"x-kubernetes-patch-merge-key": "name", "items": {"type": "object"}},
                    "whole": {
                        "x-kubernetes-patch-merge-key": "type",
                        "x-kubernetes-list-type": "atomic",
                        "items": {"type": "object"},
                    },
                    "names": {"x-kubernetes-list-type": "set", "items": {"type": "string"}},
                    "limits": {"additionalProperties": {"$ref": f"#/components/schemas/{QUANTITY}"}},
                    "selector": {"x-kubernetes-map-type": "atomic", "properties": {}},
                },
            },
        }
    }
}


class Server:
    """Stands in for the API server: counts what it is asked."""

    def __init__(self, version: str = "A") -> None:
        self.version = version
        self.asked: list[str] = []
        self.failing = False

    async def __call__(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        self.asked.append(path)
        if self.failing:
            raise WecityError("away")
        if path == "/openapi/v3":
            url = f"/openapi/v3/apis/example.dev/v1?hash={self.version}"
            return {"paths": {"apis/example.dev/v1": {"serverRelativeURL": url}}}
        assert query == {"hash": self.version}
        return DOCUMENT


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return Server()


async def test_the_structure_is_read_along_paths(server: Server) -> None:
    tree = await Schemas("https://a", server).find("example.dev/v1", "Tree")
    deep: tuple[str | int, ...] = ("branches", 0, "branches", 3)
    assert tree.list_type(("branches",)) == "atomic"
    assert tree.is_atomic(("branches",))
    assert tree.list_keys((*deep, "leaves")) == ("port", "protocol")
    assert tree.element_key({"port": 80}, (*deep, "leaves")) == (80, "TCP")
    assert tree.at(*deep).element_key({"port": 80, "protocol": "UDP"}, ("leaves",)) == (80, "UDP")
    assert tree.list_keys(("old",)) == ("name",)
    assert tree.list_keys(("whole",)) == ()
    assert tree.element_key({"type": "x"}, ("whole",)) is None
    assert tree.list_type(("names",)) == "set"
    assert tree.is_quantity((*deep, "limits", "anything"))
    assert not tree.is_quantity(("leaves", 0, "port"))
    assert tree.is_atomic(("selector",))
    assert not tree.at("nowhere", 0, "x").known


async def test_a_document_is_asked_for_once_and_later_taken_from_disk(server: Server) -> None:
    schemas = Schemas("https://a", server)
    assert server.asked == []
    for _ in range(2):
        assert (await schemas.find("example.dev/v1", "Tree")).known
    assert server.asked == ["/openapi/v3", "/openapi/v3/apis/example.dev/v1"]
    server.asked.clear()
    assert (await Schemas("https://a", server).find("example.dev/v1", "Tree")).known
    assert server.asked == ["/openapi/v3"]
    server.version = "B"
    assert (await Schemas("https://a", server).find("example.dev/v1", "Tree")).known
    assert server.asked[1:] == ["/openapi/v3", "/openapi/v3/apis/example.dev/v1"]


async def test_a_server_that_cannot_answer_leaves_everything_exact(server: Server) -> None:
    server.failing = True
    schemas = Schemas("https://a", server)
    nothing = await schemas.find("example.dev/v1", "Tree")
    assert nothing == Schema()
    assert (nothing.list_keys(("leaves",)), nothing.is_quantity(("limits", "cpu"))) == ((), False)
    server.failing = False
    assert not (await schemas.find("other.dev/v1", "Tree")).known
    assert not (await schemas.find("example.dev/v1", "Bush")).known
    assert (await schemas.find("example.dev/v1", "Tree")).known


def test_a_document_without_schemas_says_nothing() -> None:
    assert digest({}) == {"kinds": {}, "definitions": {}}


@pytest.mark.cluster
async def test_a_real_server_describes_lists_and_quantities(api_server: ControlPlane) -> None:
    async with HttpPool() as pool, KubeClient(load_access(api_server.kubeconfig_text, None), pool) as client:
        deployment = await client.schema("apps/v1", "Deployment")
        containers = ("spec", "template", "spec", "containers")
        assert deployment.list_keys(containers) == ("name",)
        assert deployment.list_keys((*containers, 0, "volumeMounts")) == ("mountPath",)
        assert deployment.element_key({"containerPort": 80}, (*containers, 0, "ports")) == (80, "TCP")
        assert deployment.is_quantity((*containers, 0, "resources", "limits", "cpu"))
        assert deployment.list_type((*containers, 0, "args")) == "atomic"
        binding = await client.schema("rbac.authorization.k8s.io/v1", "RoleBinding")
        assert binding.is_atomic(("subjects",))
        config = await client.schema("v1", "ConfigMap")
        assert not config.is_quantity(("data", "sizeLimit"))
        assert (await client.schema("v1", "ResourceQuota")).is_quantity(("spec", "hard", "pods"))
