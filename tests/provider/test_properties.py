"""Values survive the protocol exactly, secrets and unknowns included."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from wecityctl.provider import properties
from wecityctl.provider.properties import UNKNOWN, UNKNOWNS, Secret, Unknown, contains, decode, encode, plain
from wecityctl.provider.redaction import MASK, redact
from wecityctl.provider.server import _allow_deep_messages

pytestmark = pytest.mark.slow

texts = st.text(max_size=12).filter(lambda t: t not in UNKNOWNS and t != properties.SIGNATURE)
keys = texts.filter(lambda t: not t.startswith(("x_kubernetes_", "x-kubernetes-")))
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
leaves = texts | numbers | st.booleans() | st.sampled_from([Unknown(u) for u in sorted(UNKNOWNS)])
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4) | inner.map(Secret),
    max_leaves=20,
)
objects = st.dictionaries(keys, values, max_size=5)


@given(objects)
def test_round_trip_through_the_wire(value: dict[str, Any]) -> None:
    wire = encode(value).SerializeToString()
    assert decode(struct_pb2.Struct.FromString(wire)) == value


@given(objects)
def test_numbers_keep_their_kind(value: dict[str, Any]) -> None:
    returned = decode(encode({"n": 3, "x": 2.5, "big": 2**60, **value}))
    if "n" not in value:
        assert type(returned["n"]) is int
    if "x" not in value:
        assert type(returned["x"]) is float


@given(objects)
def test_plain_opens_every_secret(value: dict[str, Any]) -> None:
    assert not contains(plain(value), Secret)


@given(texts.filter(lambda t: len(t) > 3))
def test_a_secret_shows_nowhere(text: str) -> None:
    assert text not in repr(Secret(text)).replace("Secret()", "")


def test_nulls_leave_objects_and_stay_in_lists() -> None:
    struct = struct_pb2.Struct()
    struct.update({"a": None, "b": [None, 1.0], "c": {"d": None}})
    assert decode(struct) == {"b": [None, 1], "c": {}}
    assert decode(encode({"a": None, "b": [None]})) == {"b": [None]}


def test_outputs_become_what_they_stand_for() -> None:
    def output(**members: Any) -> dict[str, Any]:
        return {properties.SIGNATURE: properties.OUTPUT, **members}

    struct = struct_pb2.Struct()
    struct.update({"known": output(value="x"), "secret": output(value="x", secret=True), "unknown": output()})
    assert decode(struct) == {"known": "x", "secret": Secret("x"), "unknown": UNKNOWN}


def test_assets_survive_and_are_noticed() -> None:
    asset = {properties.SIGNATURE: "c44067f5952c0a294b673a41bacd8c17", "text": "x"}
    assert decode(encode({"a": [asset]})) == {"a": [asset]}
    assert properties.contains_asset({"a": [asset]})
    assert not properties.contains_asset({"a": [{"text": "x"}]})


def test_schema_keys_have_underscores_in_the_protocol_only() -> None:
    struct = encode({"spec": {"x-kubernetes-list-map-keys": ["a"]}})
    assert "x_kubernetes_list_map_keys" in struct.fields["spec"].struct_value.fields
    assert decode(struct) == {"spec": {"x-kubernetes-list-map-keys": ["a"]}}


def test_deep_schemas_can_be_read() -> None:
    _allow_deep_messages()
    value: dict[str, Any] = {"end": 1}
    for _ in range(80):
        value = {"properties": value}
    assert decode(struct_pb2.Struct.FromString(encode(value).SerializeToString())) == value


def test_what_has_no_place_is_refused() -> None:
    with pytest.raises(TypeError, match="set"):
        encode({"a": {1}})


def test_secrets_are_marked_where_the_inputs_have_them() -> None:
    inputs = {"kind": "Deployment", "spec": {"a": Secret("x"), "list": [{"b": Secret("y")}], "c": 1}}
    live = {"kind": "Deployment", "spec": {"a": "x", "list": [{"b": "y"}, {"b": "z"}], "c": 1, "d": "more"}}
    marked = properties.mark_secrets(live, inputs)
    expected = {"a": Secret("x"), "list": Secret([{"b": "y"}, {"b": "z"}]), "c": 1, "d": "more"}
    assert marked == {"kind": "Deployment", "spec": expected}


def test_a_secret_objects_data_is_secret_anyway() -> None:
    marked = properties.mark_secrets({"kind": "Secret", "data": {"a": "eA=="}, "type": "Opaque"}, None)
    assert marked == {"kind": "Secret", "data": Secret({"a": "eA=="}), "type": "Opaque"}


@given(st.text(min_size=4, max_size=20).filter(lambda t: t not in MASK and not t.isspace()))
def test_redaction_leaves_no_secret(text: str) -> None:
    message = f'data[k]: Invalid value: "{text}": bad'
    hidden = redact(message, {"kind": "Pod", "spec": {"a": Secret([{"b": text}])}})
    assert text not in hidden.replace(MASK, "")


def test_redaction_of_a_secret_objects_data_in_all_its_forms() -> None:
    obj = {"kind": "Secret", "data": Secret({"k": "aHVudGVyMg=="})}
    assert redact("hunter2 aHVudGVyMg== other", obj) == f"{MASK} {MASK} other"
