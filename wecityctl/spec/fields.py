"""Reads names, types and descriptions of fields from the schemas, for messages, `explain` and shell completion."""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from wecityctl.spec.nodes import PathItem

Container = Literal["", "list", "mapping"]


@dataclass(frozen=True, slots=True)
class FieldType:
    """A field's type: a scalar (`text`, `integer`, `true or false`), a choice, or an object described by `shape`.

    `keys` are the allowed keys of a mapping.
    """

    name: str
    container: Container = ""
    choices: tuple[str, ...] = ()
    shape: type[BaseModel] | None = None
    keys: tuple[str, ...] = ()

    @property
    def wanted(self) -> str:
        """The type as it is named after "expected" in messages."""
        if self.container:
            return f"a {self.title}"
        articles = {"object": "a mapping", "quantity": "a quantity", "whole number": "a whole number"}
        return one_of(self.choices) if self.choices else articles.get(self.name, self.name)

    @property
    def title(self) -> str:
        match self.container:
            case "list":
                return f"list of {self.name}s" if self.name == "object" else f"list of {self.name}"
            case "mapping":
                return f"mapping of text to {self.name}"
            case _:
                return self.name


@dataclass(frozen=True, slots=True)
class FieldDoc:
    """A field as its schema declares it. `default` is `None` if the field is required."""

    name: str
    type: FieldType
    description: str
    required: bool
    default: Any
    examples: tuple[Any, ...]


def fields_of(shape: type[BaseModel]) -> dict[str, FieldDoc]:
    """The fields of a schema by the name that users write."""
    docs = (_describe(name, info) for name, info in shape.model_fields.items())
    return {doc.name: doc for doc in docs}


def find_field(shape: type[BaseModel], path: Sequence[PathItem]) -> FieldDoc | None:
    """The field at `path`, ignoring list indices and mapping keys; `None` if there is none."""
    current: type[BaseModel] | None = shape
    found: FieldDoc | None = None
    skip = False
    for item in path:
        if skip or isinstance(item, int):
            skip = False
            continue
        if current is None or item not in fields_of(current):
            return None
        found = fields_of(current)[item]
        current, skip = found.type.shape, found.type.container == "mapping"
    return found


def one_of(names: Sequence[str]) -> str:
    """`names` as it is written after "expected"."""
    return names[0] if len(names) == 1 else "one of " + ", ".join(names)


def walk(shape: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the path of every field below `shape`, such as `spec.zones.name`, in the order of declaration."""
    for name, doc in fields_of(shape).items():
        path = f"{prefix}.{name}" if prefix else name
        yield path
        if doc.type.shape is not None:
            yield from walk(doc.type.shape, path)


def _describe(name: str, info: FieldInfo) -> FieldDoc:
    required = info.is_required()
    default = None if required else info.get_default(call_default_factory=True, validated_data={})
    return FieldDoc(
        info.alias or name,
        _field_type(info.annotation, info.metadata),
        info.description or "",
        required,
        default.model_dump(by_alias=True) if isinstance(default, BaseModel) else default,
        tuple(info.examples or ()),
    )


def _field_type(annotation: Any, metadata: Sequence[Any] = ()) -> FieldType:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _field_type(arguments[0], arguments[1:])
    if origin in (Union, types.UnionType):
        inner = next(item for item in arguments if item is not type(None))
        return _field_type(inner, metadata)
    if origin is list:
        inner_type = _field_type(arguments[0])
        return FieldType(inner_type.name, "list", inner_type.choices, inner_type.shape)
    if origin is dict:
        inner_type = _field_type(arguments[1])
        return FieldType(
            inner_type.name, "mapping", inner_type.choices, inner_type.shape, _field_type(arguments[0]).choices
        )
    if origin is Literal:
        return FieldType(one_of(arguments), choices=arguments)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return FieldType("object", shape=annotation)
    schema: dict[str, Any] = next((item.json_schema for item in metadata if hasattr(item, "json_schema")), {})
    return FieldType(_scalar_name(annotation, schema))


def _scalar_name(annotation: Any, schema: dict[str, Any]) -> str:
    if schema.get("type") == ["string", "number"]:
        return "quantity"
    names = {str: "text", int: "whole number", bool: "true or false"}
    return names.get(annotation, str(annotation))
