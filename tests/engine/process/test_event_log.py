"""The engine's event log as our events."""

from __future__ import annotations

import json
from typing import Any

from wecityctl.engine.process.event_log import EventReader, property_changes, value_at
from wecityctl.model.events import Diagnostic, Event, PropertyChange, ResourceFinished, ResourceStarted, ResourceWaiting

URN = "urn:pulumi:s::wecity::wecity:tenants:App$kubernetes:apps/v1:Deployment::web"
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "[secret]"}


def reader(**options: bool) -> tuple[EventReader, list[Event]]:
    events: list[Event] = []
    return EventReader("s", events.append, **options), events


def line(**event: Any) -> bytes:
    return json.dumps(event).encode() + b"\n"


def step(op: str, urn: str = URN, **more: Any) -> dict[str, Any]:
    return {"metadata": {"op": op, "urn": urn, "type": "kubernetes:apps/v1:Deployment", **more}}


def test_a_line_may_come_in_pieces() -> None:
    taken, events = reader()
    data = line(resourcePreEvent=step("create"))
    taken.feed(data[:10])
    assert events == []
    taken.feed(data[10:])
    assert events == [ResourceStarted("s", URN, "kubernetes:apps/v1:Deployment", "web", "create")]


def test_an_update_has_its_properties_with_old_and_new_values() -> None:
    taken, events = reader()
    meta = step(
        "update",
        old={"inputs": {"spec": {"replicas": 1, "image": "a"}}},
        new={"inputs": {"spec": {"replicas": 3, "image": "a"}}},
        detailedDiff={"spec.replicas": {"diffKind": "update", "inputDiff": True}},
    )
    taken.feed(line(resourcePreEvent=meta) + line(resOutputsEvent=meta))
    (change,) = taken.changes
    assert change.properties == (PropertyChange("spec.replicas", "update", 1, 3),)
    assert [type(event) for event in events] == [ResourceStarted, ResourceFinished]


def test_the_three_steps_of_a_replacement_are_one_change() -> None:
    taken, _ = reader()
    diff = {"spec.selector": {"diffKind": "update-replace", "inputDiff": True}}
    for op in ("delete-replaced", "replace", "create-replacement"):
        more = {"detailedDiff": diff} if op != "delete-replaced" else {}
        body = step(
            op, old={"inputs": {"spec": {"selector": "a"}}}, new={"inputs": {"spec": {"selector": "b"}}}, **more
        )
        taken.feed(line(resourcePreEvent=body) + line(resOutputsEvent=body))
    (change,) = taken.changes
    assert change.op == "replace"
    assert change.properties == (PropertyChange("spec.selector", "update", "a", "b", replaces=True),)


def test_secrets_stay_hidden_at_and_below_their_place() -> None:
    meta = {
        "old": {"inputs": {"data": SECRET}},
        "new": {"inputs": {"data": SECRET, "list": [SECRET]}},
        "detailedDiff": {
            "data.password": {"diffKind": "update", "inputDiff": True},
            "list": {"diffKind": "add", "inputDiff": True},
        },
    }
    assert list(property_changes(meta)) == [
        PropertyChange("data.password", "update", "[secret]", "[secret]"),
        PropertyChange("list", "add", None, ["[secret]"]),
    ]


def test_paths_with_brackets_and_quotes() -> None:
    tree = {"spec": {"containers": [{"env": {"a.b": "x", 'say "hi"': "y"}}]}}
    assert value_at(tree, 'spec.containers[0].env["a.b"]') == "x"
    assert value_at(tree, 'spec.containers[0].env["say \\"hi\\""]') == "y"
    assert value_at(tree, "spec.containers[7].env") is None
    assert value_at(tree, "spec.nothing.here") is None


def test_the_engine_s_own_furniture_is_no_change() -> None:
    taken, events = reader()
    for kind in ("pulumi:pulumi:Stack", "pulumi:providers:kubernetes"):
        body = {"metadata": {"op": "update", "urn": f"urn:pulumi:s::wecity::{kind}::x", "type": kind}}
        taken.feed(line(resourcePreEvent=body) + line(resOutputsEvent=body))
    assert taken.changes == () and events == [] and taken.unchanged == 0


def test_unchanged_resources_are_counted_once() -> None:
    taken, _ = reader()
    for event in ("resourcePreEvent", "resOutputsEvent"):
        taken.feed(line(**{event: step("same")}))
    assert (taken.unchanged, taken.changes) == (1, ())


def test_what_is_waited_for_is_told_once_per_reason() -> None:
    taken, events = reader()
    for message in ("0 of 2 pods", "0 of 2 pods", "1 of 2 pods"):
        taken.feed(line(diagnosticEvent={"urn": URN, "message": message, "severity": "info", "ephemeral": True}))
    assert events == [ResourceWaiting("s", URN, "web", "0 of 2 pods"), ResourceWaiting("s", URN, "web", "1 of 2 pods")]


def test_errors_carry_the_resource_s_name() -> None:
    taken, events = reader()
    taken.feed(line(diagnosticEvent={"urn": URN, "message": "image pull failed\n", "severity": "error"}))
    assert list(taken.errors) == ["web: image pull failed"]
    assert events == [Diagnostic("s", "error", "image pull failed", URN)]


def test_a_refresh_knows_its_result_at_the_end() -> None:
    taken, _ = reader(refreshing=True)
    live = {"metadata": {"name": "web", "resourceVersion": "1"}, "spec": {"replicas": 1}}
    same = {**live, "metadata": {"name": "web", "resourceVersion": "2"}, "status": {"ready": 1}}
    changed = {**live, "spec": {"replicas": 5}}
    for name, new in (("same", {"outputs": same}), ("changed", {"outputs": changed}), ("gone", None)):
        urn = URN.replace("web", name)
        taken.feed(line(resourcePreEvent=step("refresh", urn, old={"outputs": live})))
        # The engine ends what began as a refresh with what it found.
        op = {"same": "update", "changed": "update", "gone": "delete"}[name]
        taken.feed(line(resOutputsEvent=step(op, urn, old={"outputs": live}, new=new)))
    assert {change.name: change.op for change in taken.changes} == {"changed": "refresh", "gone": "delete"}
    assert taken.unchanged == 1


def test_reading_before_an_update_is_no_change() -> None:
    taken, events = reader()
    taken.feed(line(resourcePreEvent=step("refresh")) + line(resOutputsEvent=step("delete", new=None)))
    assert (taken.changes, events) == ((), [])
    taken.feed(line(resourcePreEvent=step("create")))
    assert [change.op for change in taken.changes] == ["create"]


def test_what_is_kept_is_not_told_as_deleted() -> None:
    taken, events = reader()
    kept, gone = step("delete", old={"retainOnDelete": True}), step("delete", urn=f"{URN}2", old={})
    for meta in (kept, gone):
        taken.feed(line(resourcePreEvent=meta) + line(resOutputsEvent=meta))
    assert [change.urn for change in taken.changes] == [f"{URN}2"]
    assert {event.urn for event in events if isinstance(event, ResourceFinished)} == {f"{URN}2"}
    assert [item.urn for item in taken.kept] == [URN]


def test_a_change_that_failed_is_not_among_those_that_were_made() -> None:
    taken, _ = reader()
    bad = step("create", urn=f"{URN}2")
    for meta, end in ((step("create"), "resOutputsEvent"), (bad, "resOpFailedEvent")):
        taken.feed(line(resourcePreEvent=meta) + line(**{end: meta}))
    assert ([change.urn for change in taken.changes], [change.urn for change in taken.failed]) == ([URN], [f"{URN}2"])
