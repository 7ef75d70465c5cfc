"""Computes the property-level difference between two versions of an object's inputs. Pure.

`replacement` decides which differences force a replacement. The API server's `Schema` says which values are quantities
and which keys identify list elements. With an empty schema, every different spelling is a change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from wecityctl.kube.openapi import Schema
from wecityctl.provider.equality import same, same_amount
from wecityctl.provider.paths import Path, covers, parse, render

Change = Literal["add", "delete", "update"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One changed property."""

    path: Path
    change: Change

    @property
    def text(self) -> str:
        """The path as the engine writes it."""
        return render(self.path)


def compare(old: Mapping[str, Any], new: Mapping[str, Any], schema: Schema | None = None) -> list[Difference]:
    """Every changed property between two plain objects (no secrets; unknowns count as changed).

    `schema` is that of the kind. Two spellings of one quantity are equal if the schema says that the field is a
    quantity.
    """
    return list(_mapping((), old, new, schema or Schema()))


def needs_schema(old: Any, new: Any) -> bool:
    """Whether a schema could change the result of `compare`: for lists of objects, and for two spellings of one
    quantity.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        return any(needs_schema(value, new[key]) for key, value in old.items() if key in new)
    if isinstance(old, list) and isinstance(new, list):
        objects = any(isinstance(element, dict) for element in (*old, *new))
        return not same(old, new) and (objects or any(map(needs_schema, old, new)))
    return not same(old, new) and same_amount(old, new)


def without_ignored(differences: Sequence[Difference], ignored: Sequence[str]) -> list[Difference]:
    """The differences outside the resource's `ignoreChanges` paths."""
    patterns = [parse(text) for text in ignored]
    return [d for d in differences if not any(covers(pattern, d.path) for pattern in patterns)]


def _mapping(path: Path, old: Mapping[str, Any], new: Mapping[str, Any], schema: Schema) -> Iterator[Difference]:
    for key, value in new.items():
        if key not in old:
            yield Difference((*path, key), "add")
        else:
            yield from _value((*path, key), old[key], value, schema.at(key))
    for key in old:
        if key not in new:
            yield Difference((*path, key), "delete")


def _value(path: Path, old: Any, new: Any, schema: Schema) -> Iterator[Difference]:
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _mapping(path, old, new, schema)
    elif isinstance(old, list) and isinstance(new, list):
        yield from _sequence(path, old, new, schema)
    elif not same(old, new) and not (schema.is_quantity() and same_amount(old, new)):
        yield Difference(path, "update")


def _sequence(path: Path, old: Sequence[Any], new: Sequence[Any], schema: Schema) -> Iterator[Difference]:
    for index, (before, after) in enumerate(zip(old, new, strict=False)):
        if schema.element_key(before) != schema.element_key(after):
            # Another element is at this index: report one change instead of one for each field.
            yield Difference((*path, index), "update")
        else:
            yield from _value((*path, index), before, after, schema.at(index))
    for index in range(len(old), len(new)):
        yield Difference((*path, index), "add")
    for index in range(len(new), len(old)):
        yield Difference((*path, index), "delete")
