"""Applies `ignoreChanges` on an update: ignored properties keep their values on the cluster.

The engine keeps the old inputs of ignored properties, so that it shows no difference. Applying those would still
overwrite what somebody else has set, or cause a conflict. This module only reads the object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wecityctl.kube.errors import KindNotFound, NotFound
from wecityctl.kube.openapi import Schema
from wecityctl.provider import state as states
from wecityctl.provider.instance import Instance, Target
from wecityctl.provider.ownership import owned_by_others
from wecityctl.provider.paths import ANY, Path, parse

_ABSENT: Any = object()


async def leave_ignored(
    provider: Instance,
    target: Target,
    inputs: dict[str, Any],
    state: dict[str, Any],
    body: dict[str, Any],
    ignored: Sequence[str],
) -> dict[str, Any]:
    """`body`, which is to be applied, with its ignored properties as they are on the cluster."""
    if not ignored:
        return body
    kind = target.kind(body)
    try:
        rt = await provider.client.resource(kind.api_version, kind.name)
        place = (states.namespace_of(body) or provider.default_namespace) if rt.namespaced else None
        live = await provider.cancellation.run(provider.client.get(rt, states.name_of(body), place))
    except (KindNotFound, NotFound):
        return body  # it is created again from its inputs
    manager = await provider.manager(target, inputs, state)
    return as_live(body, live, manager, [parse(text) for text in ignored], await provider.schema(body))


def as_live(
    body: dict[str, Any], live: Mapping[str, Any], manager: str, ignored: Sequence[Path], schema: Schema
) -> dict[str, Any]:
    """`body` with every ignored property as in `live`; omitted if another manager owns it or it is gone."""
    others = owned_by_others(live, manager)
    for path in ignored:
        if path and path[0] not in ("apiVersion", "kind"):
            body = _along(path, body, live, others, schema)
    return body


def _along(path: Path, asked: Any, live: Any, others: Any, schema: Schema) -> Any:
    if not path:
        return _kept(asked, live, others, schema)
    step, rest = path[0], path[1:]
    if isinstance(asked, dict):
        found = {
            key: _along(rest, value, _member(live, key), _member(others, key), schema.at(key))
            if step in (ANY, key)
            else value
            for key, value in asked.items()
        }
        return {key: value for key, value in found.items() if value is not _ABSENT}
    if isinstance(asked, list):
        elements = (
            _element(rest, index, item, live, others, schema) if step in (ANY, index) else item
            for index, item in enumerate(asked)
        )
        return [item for item in elements if item is not _ABSENT]
    return asked


def _element(rest: Path, index: int, asked: Any, live: Any, others: Any, schema: Schema) -> Any:
    key = schema.element_key(asked)
    if key is None:
        # A single element of an atomic list cannot be omitted.
        found = _along(rest, asked, _place(live, index), _ABSENT, schema.at(index))
        return asked if found is _ABSENT else found
    return _along(rest, asked, _partner(live, key, schema), _partner(others, key, schema), schema.at(index))


def _kept(asked: Any, live: Any, others: Any, schema: Schema) -> Any:
    if live is _ABSENT:
        return _ABSENT
    if isinstance(asked, dict) and isinstance(live, dict) and not schema.is_atomic():
        found = {
            key: _kept(value, _member(live, key), _member(others, key), schema.at(key)) for key, value in asked.items()
        }
        return {key: value for key, value in found.items() if value is not _ABSENT}
    keys = schema.list_keys()
    if isinstance(asked, list) and isinstance(live, list) and keys:
        elements = (_element((), index, item, live, others, schema) for index, item in enumerate(asked))
        # The keys that identify an element are kept, even if another manager owns them too.
        return [
            {**{key: item[key] for key in keys if key in item}, **left}
            for item, left in zip(asked, elements, strict=True)
            if left is not _ABSENT
        ]
    return live if others is _ABSENT else _ABSENT


def _member(values: Any, key: str) -> Any:
    return values.get(key, _ABSENT) if isinstance(values, Mapping) else _ABSENT


def _place(values: Any, index: int) -> Any:
    return values[index] if isinstance(values, list) and index < len(values) else _ABSENT


def _partner(values: Any, key: tuple[Any, ...], schema: Schema) -> Any:
    if not isinstance(values, list):
        return _ABSENT
    return next((value for value in values if schema.element_key(value) == key), _ABSENT)
