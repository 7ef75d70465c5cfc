"""What the recorder reads of a registration, and that the lightened SDK registers what the SDK does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pulumi
import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st
from pulumi.runtime import rpc

from wecityctl.engine.sdk.recorder import _plain
from wecityctl.resource_graph import SECRET, UNKNOWN

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[3] / "examples" / "xingcheng"
RECORD = f"""
import json, sys
import wecityctl.engine.sdk.recorder as recorder
if sys.argv[1] == "whole":
    recorder.lighten = lambda: None
from wecityctl.operations.offline import record_session
from wecityctl.session import open_session
from pathlib import Path
for recording in record_session(open_session(Path({str(EXAMPLE)!r}))):
    for one in sorted(recording.resources, key=lambda one: one.urn):
        inputs = json.dumps(one.inputs, sort_keys=True)
        print(one.urn, one.type, one.name, one.parent, sorted(one.depends_on), inputs, one.is_custom, one.protect)
    print(recording.outputs)
"""

_scalars = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(-1e6, 1e6) | st.text(max_size=5)
_marks = st.just(rpc.UNKNOWN) | st.just(SECRET) | _scalars.map(lambda value: _secret(value))
_values = st.recursive(
    _scalars | _marks,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(min_size=1, max_size=5), below, max_size=4),
    max_leaves=12,
)


def _secret(value: Any) -> dict[str, Any]:
    return {rpc._special_sig_key: rpc._special_secret_sig, "value": value}


def _as_the_sdk(value: Any) -> Any:
    """The SDK's reading of a property, with our marks."""
    if isinstance(value, pulumi.output.Unknown):
        return UNKNOWN
    if isinstance(value, dict):
        return SECRET if rpc.is_rpc_secret(value) else {key: _as_the_sdk(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_the_sdk(item) for item in value]
    return value


@given(st.dictionaries(st.text(min_size=1, max_size=5), _values, max_size=5))
def test_properties_are_read_as_the_sdk_reads_them(properties: dict[str, Any]) -> None:
    struct = struct_pb2.Struct()
    struct.update(properties)
    assert _plain(struct) == _as_the_sdk(rpc.deserialize_properties(struct, keep_unknowns=True))


def test_a_text_that_reads_as_the_mark_is_no_secret() -> None:
    struct = struct_pb2.Struct()
    struct.update({"data": {"told": SECRET, "more": "x"}})
    assert _plain(struct) == {"data": {"told": SECRET, "more": "x"}}


def test_a_lightened_sdk_registers_what_the_sdk_does() -> None:
    light, whole = (
        subprocess.run([sys.executable, "-c", RECORD, how], capture_output=True, text=True, check=True, timeout=120)
        for how in ("light", "whole")
    )
    assert light.stdout == whole.stdout
    assert light.stdout.count("kubernetes:") > 50
