"""Takes live values over into a resource's inputs, for the fields that are in the inputs. Pure.

A value counts as drifted only when it differs from what was recorded after the last run: the server may spell a value
in its own way ("1000m" as "1"), and that is no drift.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wecityctl.provider.properties import Secret, plain

_ABSENT: Any = object()
_KEYS = ("name", "containerPort", "port", "mountPath", "ip", "key", "type")


def refreshed_inputs(inputs: Mapping[str, Any], live: Mapping[str, Any], recorded: Mapping[str, Any]) -> dict[str, Any]:
    """`inputs` (secrets opened) with what drifted taken from `live`; `recorded` is the live object as last seen."""
    result: dict[str, Any] = _mapping(plain(dict(inputs)), live, recorded)
    return result


def _value(asked: Any, now: Any, then: Any) -> Any:
    if isinstance(asked, Secret):
        asked = asked.value
    if now in (asked, then):
        return asked
    if now is _ABSENT:
        # Never stored (an empty value the server drops), or removed behind our back.
        return asked if then is _ABSENT else _ABSENT
    if isinstance(asked, dict) and isinstance(now, dict):
        return _mapping(asked, now, then if isinstance(then, dict) else {})
    if isinstance(asked, list) and isinstance(now, list):
        return _sequence(asked, now, then if isinstance(then, list) else [])
    return now


def _mapping(asked: Mapping[str, Any], now: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
    taken = {key: _value(value, now.get(key, _ABSENT), then.get(key, _ABSENT)) for key, value in asked.items()}
    return {key: value for key, value in taken.items() if value is not _ABSENT}


def _sequence(asked: Sequence[Any], now: Sequence[Any], then: Sequence[Any]) -> list[Any]:
    key = next((k for k in _KEYS if asked and all(isinstance(e, dict) and k in e for e in asked)), "")
    if not key:
        if len(asked) != len(now) or not all(isinstance(e, dict) for e in (*asked, *now)):
            return list(now)
        paired = (
            _value(a, n, then[index] if index < len(then) else _ABSENT)
            for index, (a, n) in enumerate(zip(asked, now, strict=True))
        )
        return list(paired)
    found = (_value(a, _find(now, key, a[key]), _find(then, key, a[key])) for a in asked)
    return [value for value in found if value is not _ABSENT]


def _find(values: Sequence[Any], key: str, wanted: Any) -> Any:
    return next((v for v in values if isinstance(v, dict) and v.get(key) == wanted), _ABSENT)
