"""Copies drifted live values into a resource's inputs, for fields that the inputs set. Pure.

A value has drifted only if it differs from the one recorded after the last run: the server may normalise a value
("1000m" to "1"), which is no drift. An atomic list or object (according to the kind's `Schema`) is compared as a whole,
so elements that others have added are drift too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wecityctl.kube.openapi import Schema
from wecityctl.provider.equality import same, same_amount
from wecityctl.provider.properties import Secret, plain

_ABSENT: Any = object()


def refreshed_inputs(
    inputs: Mapping[str, Any], live: Mapping[str, Any], recorded: Mapping[str, Any], schema: Schema | None = None
) -> dict[str, Any]:
    """`inputs` (secrets opened) with drifted values from `live`; `recorded` is the live object as last seen.

    Without a `schema` every list counts as atomic. That finds at least the drift that a schema would find.
    """
    return _mapping(plain(dict(inputs)), live, recorded, schema or Schema(), whole=False)


def _value(asked: Any, now: Any, then: Any, schema: Schema, *, whole: bool) -> Any:
    if isinstance(asked, Secret):
        asked = asked.value
    if same(now, asked) or same(now, then) or (schema.is_quantity() and same_amount(now, asked)):
        return asked
    if now is _ABSENT:
        # The server never stored it (it drops empty values), or somebody removed it.
        return asked if then is _ABSENT else _ABSENT
    if isinstance(asked, dict) and isinstance(now, dict):
        return _mapping(asked, now, then, schema, whole=whole or schema.is_atomic())
    if isinstance(asked, list) and isinstance(now, list):
        return _sequence(asked, now, then, schema, whole=whole)
    return now


def _mapping(
    asked: Mapping[str, Any], now: Mapping[str, Any], then: Any, schema: Schema, *, whole: bool
) -> dict[str, Any]:
    taken = {
        key: _value(value, _member(now, key), _member(then, key), schema.at(key), whole=whole)
        for key, value in asked.items()
    }
    if whole and isinstance(then, dict):
        # The server's defaults were recorded before. A key that is new since then was added by somebody.
        taken |= {key: value for key, value in now.items() if key not in asked and not same(value, then.get(key))}
    return {key: value for key, value in taken.items() if value is not _ABSENT}


def _member(values: Any, key: str) -> Any:
    # The API server returns an empty list of some types as null (`rules` of a Role), and the state keeps no nulls.
    found = values.get(key) if isinstance(values, dict) else None
    return _ABSENT if found is None else found


def _sequence(asked: Sequence[Any], now: Sequence[Any], then: Any, schema: Schema, *, whole: bool) -> list[Any]:
    then = then if isinstance(then, list) else []
    if not whole and schema.list_type() == "set":
        return [value for value in asked if _contains(now, value) or not _contains(then, value)]
    if not whole and schema.list_keys():
        found = (
            _value(item, _partner(now, item, schema), _partner(then, item, schema), schema.at(0), whole=False)
            for item in asked
        )
        return [value for value in found if value is not _ABSENT]
    if len(asked) != len(now):
        return list(now)
    return [
        _value(item, current, then[index] if index < len(then) else _ABSENT, schema.at(index), whole=True)
        for index, (item, current) in enumerate(zip(asked, now, strict=True))
    ]


def _contains(values: Sequence[Any], wanted: Any) -> bool:
    return any(same(value, wanted) for value in values)


def _partner(values: Sequence[Any], wanted: Any, schema: Schema) -> Any:
    key = schema.element_key(wanted)
    return next((value for value in values if schema.element_key(value) == key), _ABSENT)
