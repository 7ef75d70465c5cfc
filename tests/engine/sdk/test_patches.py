"""The private names of the SDK that are replaced are there, and take what the SDK calls them with.

A release of the SDK that renames one, or calls it otherwise, fails here and not in a run. Which of them are worth it is
measured by rows of `make bench` (`benchmarks.sdk`). Other tests of this process may have applied the patches, so it is
read in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from typing import Any

import pytest

# What is replaced, and the parameters that its callers pass.
REPLACED = {
    "pulumi.log.debug": ["msg", "resource", "stream_id", "ephemeral"],
    "pulumi.runtime.resource._get_stack_trace": [],
    "pulumi.runtime.resource._get_source_position": ["stack"],
    "pulumi.runtime.resource.create_urn": ["name", "type_", "parent", "project", "stack"],
    "pulumi._types.resource_types": ["resource_cls"],
    "pulumi._types.resource_pulumi_to_py_names": ["resource_cls"],
    "pulumi._types.resource_py_to_pulumi_names": ["resource_cls"],
    "pulumi.output.contains_unknowns": ["val"],
}
# A name that a module imports under one of its own would go on with the original.
CALLED = {
    "pulumi.runtime.resource": ("_get_stack_trace(", "_get_source_position(", "create_urn("),
    "pulumi.runtime.rpc": ("_types.resource_types(", "_types.resource_pulumi_to_py_names("),
    "pulumi.output": ("contains_unknowns(",),
}
CODE = """
import inspect, json, sys
from importlib import import_module
import pulumi, pulumi.runtime.resource, pulumi.runtime.rpc
def signature(name):
    module, _, attribute = name.rpartition(".")
    return list(inspect.signature(getattr(import_module(module), attribute)).parameters)
names, modules = json.loads(sys.argv[1])
trace = inspect.signature(pulumi.runtime.resource._get_stack_trace).return_annotation
print(json.dumps({
    "parameters": {name: signature(name) for name in names},
    "texts": {name: inspect.getsource(import_module(name)) for name in modules},
    "trace": getattr(trace, "__name__", str(trace)),
}))
"""


@cache
def sdk() -> dict[str, Any]:
    """What the SDK has, as it is before any patch."""
    asked = json.dumps([list(REPLACED), list(CALLED)])
    done = subprocess.run([sys.executable, "-c", CODE, asked], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", REPLACED)
def test_the_name_is_there_with_these_parameters(name: str) -> None:
    assert sdk()["parameters"][name] == REPLACED[name]


def test_what_stands_in_has_the_type_that_the_sdk_takes() -> None:
    assert sdk()["trace"].rpartition(".")[2] == "StackTrace"


@pytest.mark.parametrize(("module", "call"), [(module, call) for module, calls in CALLED.items() for call in calls])
def test_the_sdk_calls_it_by_the_name_that_is_replaced(module: str, call: str) -> None:
    assert call in sdk()["texts"][module].replace(f"def {call}", "")


def test_a_second_call_changes_nothing() -> None:
    code = (
        "from wecityctl.engine.sdk import patches; from pulumi.runtime import resource\n"
        "patches.lighten(); first = resource.create_urn; patches.lighten(); print(resource.create_urn is first)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"
