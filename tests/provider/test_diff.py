"""The diff and what it forces: case tables in files, and the paths."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.provider.cases_support import cases
from wecityctl.errors import WecityError
from wecityctl.kube.openapi import Schema
from wecityctl.provider import paths
from wecityctl.provider.adoption import RefusedError
from wecityctl.provider.cancellation import Cancellation
from wecityctl.provider.diffing import compare, needs_schema
from wecityctl.provider.equality import same, same_amount
from wecityctl.provider.instance import Instance, Target
from wecityctl.provider.log import EngineLog
from wecityctl.provider.properties import UNKNOWN_STRING, Unknown
from wecityctl.provider.resource_diff import diff
from wecityctl.provider.settings import Settings, read_settings
from wecityctl.provider.zeros import without_zeros


def _unknowns(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _unknowns(v) for k, v in value.items()}
    return Unknown() if value == UNKNOWN_STRING else value


class Offline(Instance):
    """A provider without a cluster, which knows a schema all the same and notes that it was asked for."""

    def __init__(self, settings: Settings, node: dict[str, Any]) -> None:
        super().__init__(settings, EngineLog(), Cancellation(), None, WecityError("no cluster in this test"))
        self.node = node
        self.asked = False

    async def schema(self, obj: dict[str, Any]) -> Schema:
        self.asked = True
        return Schema({}, self.node)


@pytest.mark.parametrize("case", cases("diff"))
async def test_diff(case: dict[str, Any]) -> None:
    settings = read_settings(case.get("settings", {}), {}, case.get("environment", {}))
    provider = Offline(settings, case.get("schema", {}))
    target = Target("urn:pulumi:s::p::kubernetes:x/v1:X::n", "kubernetes:x/v1:X", "n")
    state = case.get("state", {})
    asked = diff(provider, target, case["old"], state, _unknowns(case["new"]), case.get("ignored", []))
    if "refused" in case:
        with pytest.raises(RefusedError, match=case["refused"]):
            await asked
        return
    found = await asked
    shown = {d.text: d.change + ("-replace" if d.text in found.replaces else "") for d in found.differences}
    assert shown == case["expect"]
    assert provider.asked is bool(case.get("schema"))
    assert {d.text for d in found.differences} >= found.replaces
    if "delete_before_replace" in case:
        assert found.delete_before_replace is case["delete_before_replace"]


words = st.text(min_size=1, max_size=6)
plain = st.recursive(
    words | st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        ("0.1", "100m", True),
        ("1Gi", 1073741824, True),
        (2, "2000m", True),
        ("1e3", "1k", True),
        ("1Mi", "1024Ki", True),
        ("0.1", "101m", False),
        ("much", "more", False),
        (True, 1, False),
    ],
)
def test_quantities(left: Any, right: Any, equal: bool) -> None:
    assert same_amount(left, right) is equal


@given(st.dictionaries(words, plain, max_size=4), st.dictionaries(words, plain, max_size=4))
def test_a_difference_is_found_exactly_when_there_is_one(old: dict[str, Any], new: dict[str, Any]) -> None:
    found = compare(old, new)
    assert bool(found) == (not same(old, new))
    assert len({d.path for d in found}) == len(found)
    if not needs_schema(old, new):
        assert compare(old, new, Schema({}, ANYTHING)) == found


# A schema that describes every value as an object, a keyed list and a quantity at once.
ANYTHING: dict[str, Any] = {"quantity": True, "keys": ["a"], "list": "map"}
ANYTHING |= {"values": ANYTHING, "items": ANYTHING}


@given(plain)
def test_only_the_same_json_is_the_same(value: Any) -> None:
    assert same(value, value)
    assert not same([value, True], [value, 1])


# Fields of a Pod whose zero means absent, and (last) pointers, whose zero does not.
ZEROS: dict[str, Any] = {"hostNetwork": False, "nodeSelector": {}, "tolerations": [], "schedulerName": ""}
POINTERS: dict[str, Any] = {"securityContext": {}, "enableServiceLinks": False, "priority": 0}


@given(st.lists(words, max_size=2), st.data())
def test_zeros_change_nothing_where_the_go_types_omit_them(names: list[str], data: st.DataObject) -> None:
    def pod() -> dict[str, Any]:
        def some(values: dict[str, Any]) -> Any:
            return st.fixed_dictionaries({}, optional={key: st.just(value) for key, value in values.items()})

        filled = {"hostname": "h", "containers": [{"name": name} | data.draw(some({"args": []})) for name in names]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": filled | data.draw(some(ZEROS))}

    left, right = pod(), pod()
    assert compare(*without_zeros(left, right)) == []
    other = {**right, "spec": right["spec"] | {"hostname": "i"}}
    assert [d.text for d in compare(*without_zeros(left, other))] == ["spec.hostname"]
    pointer = data.draw(st.sampled_from(sorted(POINTERS)))
    other = {**right, "spec": right["spec"] | {pointer: POINTERS[pointer]}}
    assert [d.text for d in compare(*without_zeros(left, other))] == [f"spec.{pointer}"]


@given(st.lists(st.text('abc./"[]\\-', min_size=1, max_size=8).filter(lambda t: "\\" not in t) | st.integers(0, 99)))
def test_paths_are_read_as_they_are_written(steps: list[str | int]) -> None:
    path = ("root", *steps)
    assert paths.parse(paths.render(path)) == path


def test_the_api_servers_paths_are_read() -> None:
    assert paths.parse(".spec.template.spec.containers[0].image") == (
        "spec",
        "template",
        "spec",
        "containers",
        0,
        "image",
    )
    assert paths.covers(paths.parse("spec.containers[*].image"), ("spec", "containers", 3, "image"))
    assert not paths.covers(paths.parse("spec.containers[*].image"), ("spec", "containers", 3))
