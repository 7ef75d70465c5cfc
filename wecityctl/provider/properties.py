"""Converts values of the provider protocol to plain Python values and back, keeping secrets, unknowns and assets.

Inside the provider, keys are spelled as in Kubernetes. In the protocol, and so in the state, seven keys of JSON schemas
are spelled with underscores, as the SDKs spell them. Other modules interpret the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf import struct_pb2

SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - the protocol's public mark of a secret
OUTPUT: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
ASSETS: Final = frozenset({"c44067f5952c0a294b673a41bacd8c17", "0def7320c3a5731c473e5ecbe6d01bc7"})
UNKNOWN_STRING: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
UNKNOWNS: Final = frozenset(
    {
        UNKNOWN_STRING,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # bool
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)

_TO_WIRE: Final[Mapping[str, str]] = {
    f"x_kubernetes_{name}": f"x-kubernetes-{name.replace('_', '-')}"
    for name in (
        "embedded_resource",
        "int_or_string",
        "list_map_keys",
        "list_type",
        "map_type",
        "preserve_unknown_fields",
        "validations",
    )
}
_TO_STATE: Final[Mapping[str, str]] = {wire: state for state, wire in _TO_WIRE.items()}
_EXACT = 2.0**53


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that must never be shown or stored in plain text."""

    value: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that a preview cannot know yet; `sentinel` gives its type."""

    sentinel: str = UNKNOWN_STRING


UNKNOWN: Final = Unknown()


def decode(struct: struct_pb2.Struct) -> dict[str, Any]:
    """A protocol struct as a dict. Nulls in objects are dropped; whole numbers become int."""
    return _object(struct.fields)


def encode(values: Mapping[str, Any]) -> struct_pb2.Struct:
    """A dict as a protocol struct; the inverse of `decode`."""
    struct = struct_pb2.Struct()
    _fill_object(struct, values)
    return struct


def state_key(key: str) -> str:
    """The state's spelling of a Kubernetes key."""
    return _TO_STATE.get(key, key)


def wire_key(key: str) -> str:
    """The Kubernetes spelling of a key in the state."""
    return _TO_WIRE.get(key, key)


def plain(value: Any) -> Any:
    """The value with every secret opened, to be sent to the API server only. Unknowns stay."""
    kind = type(value)
    if kind is dict:
        return {key: plain(item) for key, item in value.items()}
    if kind is list:
        return [plain(item) for item in value]
    if kind is Secret:
        return plain(value.value)
    return value


def contains(value: Any, kind: type) -> bool:
    """Whether a `Secret` or `Unknown` is anywhere in the value."""
    actual = type(value)
    if actual is kind:
        return True
    if actual is dict:
        return any(contains(item, kind) for item in value.values())
    if actual is list:
        return any(contains(item, kind) for item in value)
    return actual is Secret and contains(value.value, kind)


def contains_asset(value: Any) -> bool:
    """Whether the value contains an asset or archive, which Kubernetes does not support."""
    actual = type(value)
    if actual is dict:
        return value.get(SIGNATURE) in ASSETS or any(contains_asset(item) for item in value.values())
    if actual is list:
        return any(contains_asset(item) for item in value)
    return actual is Secret and contains_asset(value.value)


def mark_secrets(values: dict[str, Any], like: Mapping[str, Any] | None) -> dict[str, Any]:
    """`values` with a secret wherever `like` has one; the data of a Secret object is secret in any case.

    A list with any secret element becomes secret as a whole, because its order may change. The official plug-in does so
    too.
    """
    if values.get("kind") == "Secret":
        return {
            key: Secret(item) if key in ("data", "stringData") and type(item) is not Secret else item
            for key, item in values.items()
        }
    if not like:
        return values
    marked = dict(values)
    for key, pattern in like.items():
        if key not in values:
            continue
        value = values[key]
        if type(value) is dict and type(pattern) is dict:
            marked[key] = mark_secrets(value, pattern)
        elif type(value) is not Secret and contains(pattern, Secret):
            marked[key] = Secret(value)
    return marked


def _object(fields: Any) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in fields.items():
        kind = value.WhichOneof("kind")
        if kind == "string_value":
            text = value.string_value
            result[_TO_WIRE.get(key, key)] = Unknown(text) if text in UNKNOWNS else text
        elif kind == "struct_value":
            result[_TO_WIRE.get(key, key)] = _structure(value.struct_value)
        elif kind != "null_value" and kind is not None:
            result[_TO_WIRE.get(key, key)] = _value(value, kind)
    return result


def _value(value: Any, kind: str | None) -> Any:
    if kind == "string_value":
        text = value.string_value
        return Unknown(text) if text in UNKNOWNS else text
    if kind == "struct_value":
        return _structure(value.struct_value)
    if kind == "list_value":
        return [_value(item, item.WhichOneof("kind")) for item in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() and -_EXACT <= number <= _EXACT else number
    if kind == "bool_value":
        return value.bool_value
    return None


def _structure(struct: Any) -> Any:
    fields = struct.fields
    if SIGNATURE not in fields:
        return _object(fields)
    signature = fields[SIGNATURE].string_value
    if signature == SECRET:
        return Secret(_member(fields))
    if signature == OUTPUT:
        known = _member(fields) if "value" in fields else UNKNOWN
        return Secret(known) if "secret" in fields and fields["secret"].bool_value else known
    return _object(fields)


def _member(fields: Any) -> Any:
    value = fields["value"]
    return _value(value, value.WhichOneof("kind"))


def _fill_object(struct: Any, values: Mapping[str, Any]) -> None:
    fields = struct.fields
    for key, value in values.items():
        if value is None:
            continue
        if type(value) is str:  # by far the most frequent case
            fields[_TO_STATE.get(key, key)].string_value = value
        else:
            _fill(fields[_TO_STATE.get(key, key)], value)


def _fill(target: Any, value: Any) -> None:
    kind = type(value)
    if kind is str:
        target.string_value = value
    elif kind is dict:
        struct = target.struct_value
        struct.SetInParent()
        _fill_object(struct, value)
    elif kind is list:
        values = target.list_value
        values.SetInParent()
        add = values.values.add
        for item in value:
            _fill(add(), item)
    elif kind is bool:
        target.bool_value = value
    elif kind is int or kind is float:
        target.number_value = value
    elif kind is Secret:
        fields = target.struct_value.fields
        fields[SIGNATURE].string_value = SECRET
        _fill(fields["value"], value.value)
    elif kind is Unknown:
        target.string_value = value.sentinel
    elif value is None:
        target.null_value = struct_pb2.NULL_VALUE
    else:
        raise TypeError(f"a {kind.__name__} has no place in the provider protocol")
