"""Generates the JSON Schema of the documents (draft-07, as the YAML language server expects) from the schemas."""

from __future__ import annotations

import json
from typing import Any

from pydantic.json_schema import models_json_schema

from wecityctl.spec.schema import API_VERSION, KINDS

PARSED_CITY = "http://json-schema.org/draft-07/schema#"
_REF = "#/definitions/{model}"


def city_schema() -> dict[str, Any]:
    """The JSON Schema of one document, which is one of the kinds, distinguished by `kind`."""
    *names, last = KINDS
    _, generated = models_json_schema([(shape, "validation") for shape in KINDS.values()], ref_template=_REF)
    definitions = {name: _as_draft_7(item) for name, item in generated["$defs"].items()}
    for definition in definitions.values():
        for field in definition.get("properties", {}).values():
            if set(field) == {"$ref"}:
                # Pydantic leaves out a field's description where it is its shape's own.
                shape = definitions[field["$ref"].rpartition("/")[2]]
                field |= {"description": shape["description"], "allOf": [{"$ref": field.pop("$ref")}]}
    return {
        "$schema": PARSED_CITY,
        "title": f"wecityctl city files, {API_VERSION}",
        "description": f"One document of a city: {', '.join(names)} or {last}.",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        # Lists the values of `kind` outside the branches, so that editors offer and explain it first.
        "properties": {
            "apiVersion": {"const": API_VERSION, "description": "The version of the file format."},
            "kind": {"enum": list(KINDS), "description": "The kind of document."},
        },
        "oneOf": [{"$ref": _REF.format(model=shape.__name__)} for shape in KINDS.values()],
        "definitions": dict(sorted(definitions.items())),
    }


def _as_draft_7(node: Any) -> Any:
    """Convert a node to draft-07, and remove the `null` branch that pydantic adds for optional fields."""
    if isinstance(node, list):
        return [_as_draft_7(item) for item in node]
    if not isinstance(node, dict):
        return node
    # A field may itself be called `title` or `default`: inside `properties` the keys are names, not keywords.
    result = {
        key: {name: _as_draft_7(item) for name, item in value.items()} if key == "properties" else _as_draft_7(value)
        for key, value in node.items()
        if not (key == "title" and isinstance(value, str)) and not (key == "default" and value is None)
    }
    if {"type": "null"} in result.get("anyOf", ()):
        rest = [item for item in result.pop("anyOf") if item != {"type": "null"}]
        result = {**rest[0], **result}
    if "x-short-form" in result:
        return _with_short_form(result)
    if "$ref" in result and len(result) > 1:
        # Draft-07 ignores everything beside a `$ref`.
        reference = result.pop("$ref")
        result["allOf"] = [{"$ref": reference}]
    return _keys_as_pattern(result)


def _with_short_form(shape: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object that may also be written as the value of just one of its fields."""
    field = shape.pop("x-short-form")
    short = {key: value for key, value in shape["properties"][field].items() if key != "examples"}
    return {"description": shape.get("description", ""), "anyOf": [short, shape]}


def _keys_as_pattern(node: dict[str, Any]) -> dict[str, Any]:
    """Forbid keys that match no pattern: pydantic's `patternProperties` alone would allow them."""
    if "patternProperties" in node and "additionalProperties" not in node:
        node["additionalProperties"] = False
    return node


def schema_text() -> str:
    """The JSON Schema as text, as it is written to files."""
    return json.dumps(city_schema(), ensure_ascii=False, indent=2) + "\n"
