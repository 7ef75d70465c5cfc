"""The JSON Schema: valid draft-07, takes every valid case, and refuses what the shapes refuse."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.spec.cases import INVALID, VALID
from wecityctl.spec.jsonschema import city_schema

EXAMPLES = Path(__file__).parents[2] / "examples"
SCHEMA = city_schema()
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)
# Manifests of apps are Kubernetes', and what an environment changes is part of a document.
NO_DOCUMENTS = ("manifests", "environments")
FILES = [
    path for path in (*VALID.rglob("[!.]*.y*ml"), *EXAMPLES.rglob("*.yaml")) if path.parent.name not in NO_DOCUMENTS
]
# What is wrong with the shape of one document; the rest is syntax in code, or between documents.
REFUSED = [
    "field-unknown",
    "field-unknown-nested",
    "field-missing",
    "choice-wrong",
    "type-list-expected",
    "type-mapping-expected",
    "type-whole-number-expected",
    "list-empty",
    "kind-unknown",
    "apiversion-old",
    "quantity-with-space",
    "name-upper-case",
    "name-too-long",
    "port-out-of-range",
    "env-bad-name",
    "platform-unknown",
    "yaml-null-quota",
    "autoscale-percent",
]


class CoreSchemaLoader(yaml.SafeLoader):
    """YAML 1.2's words for true and false only, as the language server that uses the schema has them."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the name is PyYAML's
        letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool" or letter in "tTfF"]
        for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def documents(path: Path) -> list[Any]:
    found = yaml.load_all(path.read_text(encoding="utf-8-sig"), CoreSchemaLoader)
    return [document for document in found if document is not None]


def test_it_is_draft_7() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_valid_files_pass(path: Path) -> None:
    for document in documents(path):
        VALIDATOR.validate(document)


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_shapes_are_refused(name: str) -> None:
    assert any(not VALIDATOR.is_valid(document) for document in documents(INVALID / f"{name}.yaml"))


def test_nothing_stands_beside_a_reference() -> None:
    def walk(node: Any) -> None:
        if isinstance(node, dict):
            assert "$ref" not in node or len(node) == 1, node
            assert "$defs" not in node
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(SCHEMA)


def test_every_field_is_described_and_closed() -> None:
    for name, definition in SCHEMA["definitions"].items():
        shape = definition.get("anyOf", [definition])[-1]
        assert shape["additionalProperties"] is False, name
        for field, described in shape["properties"].items():
            assert described.get("description", "").strip(), f"{name}.{field}"
        assert definition["description"].strip(), name
    for field, described in SCHEMA["properties"].items():
        assert described["description"], field


def test_it_is_json_for_every_reader() -> None:
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
