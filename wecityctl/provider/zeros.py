"""Knows the fields of Kubernetes' own kinds for which zero and absent mean the same. Pure.

The table in `zeros.json` is generated from the API's Go types (tests/provider/go_types.py). It has the fields whose
type cannot tell the two apart: values, and lists and maps with omitempty. Pointers are not in it, because they can (an
empty label selector selects everything, a missing one nothing). Custom kinds and versions before v1 are not in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, TypeAlias

_Fields: TypeAlias = Mapping[str, str]
_Pair: TypeAlias = tuple[Any, Any]

# Codes of the table: "0" when zero means absent, then the shape ("[]" list, "{}" map, "q" quantity), then the type.
_SHAPES = ("[]", "{}", "q")


def without_zeros(left: dict[str, Any], right: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two versions of an object without the fields that are zero on one side and absent on the other."""
    kinds, types = _table()
    name = kinds.get(f"{left.get('apiVersion')} {left.get('kind')}")
    if name is None or any(left.get(key) != right.get(key) for key in ("apiVersion", "kind")):
        return left, right
    return _structs(left, right, types[name])


def _structs(left: dict[str, Any], right: dict[str, Any], fields: _Fields) -> tuple[dict[str, Any], dict[str, Any]]:
    left, right = dict(left), dict(right)
    for key in left.keys() | right.keys():
        code = fields.get(key)
        if code is None:
            continue
        if key in left and key in right:
            left[key], right[key] = _values(left[key], right[key], code)
        else:
            side = left if key in left else right
            if _is_zero(side[key], code):
                del side[key]
    return left, right


def _values(left: Any, right: Any, code: str) -> _Pair:
    _, shape, fields = _read(code)
    if fields is None or type(left) is not type(right):
        return left, right
    if shape == "[]" and isinstance(left, list):
        both = [_members(one, other, fields) for one, other in zip(left, right, strict=False)]
        return [pair[0] for pair in both] + left[len(both) :], [pair[1] for pair in both] + right[len(both) :]
    if shape == "{}" and isinstance(left, dict):
        shared = {key: _members(left[key], right[key], fields) for key in left.keys() & right.keys()}
        return {**left, **{k: p[0] for k, p in shared.items()}}, {**right, **{k: p[1] for k, p in shared.items()}}
    return _members(left, right, fields)


def _members(left: Any, right: Any, fields: _Fields) -> _Pair:
    return _structs(left, right, fields) if isinstance(left, dict) and isinstance(right, dict) else (left, right)


def _is_zero(value: Any, code: str) -> bool:
    omitted, shape, fields = _read(code)
    if not omitted:
        return False
    if not shape and fields is not None and isinstance(value, dict):
        return all(_is_zero(member, fields.get(key, "")) for key, member in value.items())
    return not value or (shape == "q" and value == "0")


def _read(code: str) -> tuple[bool, str, _Fields | None]:
    omitted = code.startswith("0")
    code = code.removeprefix("0")
    shape = next((shape for shape in _SHAPES if code.startswith(shape)), "")
    return omitted, shape, _table()[1].get(code[len(shape) :])


@cache
def _table() -> tuple[_Fields, Mapping[str, _Fields]]:
    found = json.loads(files(__package__).joinpath("zeros.json").read_bytes())
    return found["kinds"], found["types"]
