"""The diff and what it forces: case tables in files, and the paths."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.provider.cases_support import cases
from wecityctl.errors import WecityError
from wecityctl.provider import paths
from wecityctl.provider.adoption import RefusedError
from wecityctl.provider.cancellation import Cancellation
from wecityctl.provider.diffing import compare
from wecityctl.provider.instance import Instance, Target
from wecityctl.provider.log import EngineLog
from wecityctl.provider.properties import UNKNOWN_STRING, Unknown
from wecityctl.provider.quantities import same_amount
from wecityctl.provider.resource_diff import diff
from wecityctl.provider.settings import read_settings


def _unknowns(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _unknowns(v) for k, v in value.items()}
    return Unknown() if value == UNKNOWN_STRING else value


@pytest.mark.parametrize("case", cases("diff"))
async def test_diff(case: dict[str, Any]) -> None:
    settings = read_settings(case.get("settings", {}), {}, case.get("environment", {}))
    provider = Instance(settings, EngineLog(), Cancellation(), None, WecityError("no cluster in this test"))
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
    ("path", "old", "new", "same"),
    [
        (("resources", "requests", "cpu"), "0.1", "100m", True),
        (("resources", "limits", "memory"), "1Gi", 1073741824, True),
        (("hard", "requests.cpu"), 2, "2000m", True),
        (("hard", "pods"), "1e3", "1k", True),
        (("emptyDir", "sizeLimit"), "1Mi", "1024Ki", True),
        (("resources", "requests", "cpu"), "0.1", "101m", False),
        (("resources", "requests", "cpu"), "much", "more", False),
        (("data", "cpu"), "0.1", "100m", False),
        (("spec", "limits"), True, 1, False),
    ],
)
def test_quantities(path: tuple[str, ...], old: Any, new: Any, same: bool) -> None:
    assert same_amount(path, old, new) is same


@given(st.dictionaries(words, plain, max_size=4), st.dictionaries(words, plain, max_size=4))
def test_a_difference_is_found_exactly_when_there_is_one(old: dict[str, Any], new: dict[str, Any]) -> None:
    found = compare(old, new)
    assert bool(found) == (old != new)
    assert len({d.path for d in found}) == len(found)


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
