"""States that are changed between runs: nothing in them may refer to what is no longer there."""

from __future__ import annotations

import copy
from typing import Any

from wecityctl.engine.state.edit import marked_unfinished, without_resources

ROOT = "urn:pulumi:s::wecity::pulumi:pulumi:Stack::wecity-s"
Resource = dict[str, Any]


def resource(name: str, **more: Any) -> Resource:
    return {"urn": f"urn:pulumi:s::wecity::kubernetes:core/v1:ConfigMap::{name}", "parent": ROOT, **more}


URN = {name: resource(name)["urn"] for name in "abc"}
STATE: Resource = {
    "resources": [
        {"urn": ROOT, "type": "pulumi:pulumi:Stack"},
        resource("a", inputs={"data": {"x": "1"}}),
        resource("b", dependencies=[URN["a"]], propertyDependencies={"data": [URN["a"]], "metadata": None}),
        resource("c", parent=URN["a"], deletedWith=URN["a"], dependencies=[URN["a"], URN["b"]]),
        resource("a", delete=True),
    ]
}


def test_what_is_gone_leaves_no_reference_behind() -> None:
    before = copy.deepcopy(STATE)
    after = without_resources(STATE, {URN["a"]})
    assert before == STATE
    # An old object whose replacement was made is still to be deleted, under the same URN.
    assert [item["urn"] for item in after["resources"]] == [ROOT, URN["b"], URN["c"], URN["a"]]
    _, second, third, _ = after["resources"]
    assert second["dependencies"] == []
    assert second["propertyDependencies"] == {"data": [], "metadata": []}
    assert (third["parent"], third["dependencies"]) == (ROOT, [URN["b"]])
    assert "deletedWith" not in third


def test_what_must_be_applied_again_is_marked() -> None:
    after = marked_unfinished(STATE, {URN["a"]: "changed by kubectl"})
    marked = [item for item in after["resources"] if item.get("initErrors")]
    assert [(item["urn"], item["initErrors"], item.get("delete")) for item in marked] == [
        (URN["a"], ["changed by kubectl"], None)
    ]
