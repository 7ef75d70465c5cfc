"""The private names of the SDK that are replaced are there, and take what the SDK calls them with.

A release of the SDK that renames one, or calls it otherwise, fails here and not in a run. Which of them are worth it is
measured by rows of `make bench` (`benchmarks.sdk`).
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import pulumi
import pytest
from pulumi import _types, output
from pulumi.runtime import resource, rpc
from pulumi.runtime.proto import source_pb2

# What is replaced: where, its name, and the parameters that its callers pass.
REPLACED: tuple[tuple[Any, str, tuple[str, ...]], ...] = (
    (pulumi.log, "debug", ("msg", "resource", "stream_id", "ephemeral")),
    (resource, "_get_stack_trace", ()),
    (resource, "_get_source_position", ("stack",)),
    (resource, "create_urn", ("name", "type_", "parent", "project", "stack")),
    (_types, "resource_types", ("resource_cls",)),
    (_types, "resource_pulumi_to_py_names", ("resource_cls",)),
    (_types, "resource_py_to_pulumi_names", ("resource_cls",)),
    (output, "contains_unknowns", ("val",)),
    (rpc, "contains_unknowns", ("val",)),
)


@pytest.mark.parametrize(("module", "name", "parameters"), REPLACED, ids=[f"{m.__name__}.{n}" for m, n, _ in REPLACED])
def test_the_name_is_there_with_these_parameters(module: Any, name: str, parameters: tuple[str, ...]) -> None:
    assert tuple(inspect.signature(getattr(module, name)).parameters) == parameters


def test_what_stands_in_has_the_type_that_the_sdk_takes() -> None:
    assert inspect.signature(resource._get_stack_trace).return_annotation in (
        source_pb2.StackTrace,
        "source_pb2.StackTrace",
    )


def test_the_sdk_uses_each_of_them_by_the_name_that_is_replaced() -> None:
    """A name that is imported elsewhere under one of its own would go on with the original."""
    text = inspect.getsource(resource)
    for name in ("_get_stack_trace(", "_get_source_position(", "create_urn("):
        assert text.count(name) > 1, name
    assert "contains_unknowns(" in inspect.getsource(output)
    for name in ("resource_types", "resource_pulumi_to_py_names", "resource_py_to_pulumi_names"):
        assert f"_types.{name}(" in inspect.getsource(resource) + inspect.getsource(rpc) + inspect.getsource(
            pulumi.resource
        )


def test_a_second_call_changes_nothing() -> None:
    code = (
        "from wecityctl.engine.sdk import patches; from pulumi.runtime import resource\n"
        "patches.lighten(); first = resource.create_urn; patches.lighten(); print(resource.create_urn is first)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"
