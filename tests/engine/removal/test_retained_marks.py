"""Marks of what `destroy` keeps, in every shape that somebody can give them: told, and never believed or fatal."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wecityctl.drift.recorded_object import RecordedObject
from wecityctl.drift.stated import unlike
from wecityctl.engine.removal.marks import Found, Retained, judge, read
from wecityctl.engine.removal.takedown import kept_objects, kept_of
from wecityctl.engine.secrets.crypto import SECRET, SIGNATURE
from wecityctl.engine.state.integrity import require_sound
from wecityctl.inputs import Cluster
from wecityctl.model.naming import RETAINED_FOR, RETAINED_RECORD

pytestmark = pytest.mark.slow

CITY, SPACE, STACK, MANAGER = "one", "space", "one.tenant.health.main", "pulumi-kubernetes-0a1b2c3d"
CLUSTER = Cluster("main", "", "", "uid")
SPECS: Mapping[str, Any] = {
    "Namespace": None,
    "PersistentVolume": {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "claimRef": {"namespace": SPACE, "name": "data"},
    },
    "PersistentVolumeClaim": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    "NetworkPolicy": {
        "podSelector": {"matchLabels": {"app": "web"}},
        "policyTypes": ["Ingress"],
        "ingress": [{"ports": [{"port": 80}], "from": [{"namespaceSelector": {}}]}],
    },
    "ResourceQuota": {"hard": {"pods": "4"}},
    "LimitRange": {"limits": [{"type": "Container", "max": {"cpu": "1"}, "default": {"cpu": 1}}]},
}
WHOLE = ("Namespace", "PersistentVolume")
Record = dict[str, Any]


def manifest(kind: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": SPACE if kind == "Namespace" else "data", "labels": {"wecity.dev/city": CITY}}
    if kind not in WHOLE:
        metadata["namespace"] = SPACE
    version = "networking.k8s.io/v1" if kind == "NetworkPolicy" else "v1"
    found = {"apiVersion": version, "kind": kind, "metadata": metadata}
    return copy.deepcopy({**found, **({"spec": SPECS[kind]} if SPECS[kind] else {})})


def record(kind: str) -> Record:
    inputs = manifest(kind)
    version = inputs["apiVersion"]
    token = f"kubernetes:{version if '/' in version else f'core/{version}'}:{kind}"
    return {"type": token, "inputs": inputs, "fieldManager": MANAGER}


def marked(kind: str, text: str, urn: str = "", **more: Any) -> dict[str, Any]:
    """A live object with a mark whose record is `text`."""
    live: dict[str, Any] = {**manifest(kind), **more}
    urn = urn or f"urn:pulumi:{STACK}::wecity::wecity:tenants:Tenant${record(kind)['type']}::data"
    live["metadata"]["annotations"] = {RETAINED_FOR: urn, RETAINED_RECORD: text}
    live["metadata"]["managedFields"] = [{"manager": MANAGER, "operation": "Apply"}]
    return live


def judged(live: Mapping[str, Any]) -> Found:
    found = read(live)
    return judge([found], CITY, lambda: {SPACE}) if found is not None else Found()


def use(kept: Retained) -> None:
    """All that is done with an object that is believed, as far as no cluster is asked."""
    (whole,) = kept_of(Found((kept,)), {}, CLUSTER).values()
    assert whole.deployment is not None
    require_sound(whole.stack, whole.deployment)
    json.dumps(whole.deployment, allow_nan=False).encode()
    kept_objects(whole, None)
    place = (str(kept.live["apiVersion"]), str(kept.live["kind"]), SPACE, "data")
    item = RecordedObject(whole.stack, kept.urn, *place, kept.manager, kept.inputs, kept.live)
    assert item.only_closes in (True, False)
    if item.is_security:
        unlike(item.body, kept.live)


@pytest.mark.parametrize("kind", SPECS)
def test_a_true_mark_is_believed(kind: str) -> None:
    found = judged(marked(kind, json.dumps(record(kind))))
    assert not found.doubts
    use(found.kept[0])


def _with(*path: str, value: Any) -> Callable[[Record], None]:
    def change(told: Record) -> None:
        place = told["inputs"]
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value

    return change


def _nested(levels: int) -> Any:
    found: Any = {}
    for _ in range(levels):
        found = {"x": found}
    return found


FORGED: Mapping[str, tuple[Callable[[Record], object], str]] = {
    "no spec": (lambda told: told["inputs"].pop("spec"), "has no `spec`"),
    "spec is null": (_with("spec", value=None), "has no `spec`"),
    "spec is a list": (_with("spec", value=[{}]), "`spec` is not a mapping"),
    "spec is a text": (_with("spec", value="x"), "`spec` is not a mapping"),
    "spec is a number": (_with("spec", value=0), "`spec` is not a mapping"),
    "no inputs": (lambda told: told.pop("inputs"), "has no `inputs`"),
    "labels are a list": (_with("metadata", "labels", value=["x"]), "`metadata.labels` is not a mapping"),
    "metadata is a text": (_with("metadata", value="data"), "`metadata` is not a mapping"),
    "name is a list": (_with("metadata", "name", value=["data"]), "`metadata.name` is not a text"),
    "another's generated name": (_with("metadata", value={"generateName": "x", "namespace": SPACE}), "another object"),
    "another kind": (_with("kind", value="Secret"), "another object"),
    "a version that is a path": (_with("apiVersion", value="v1/../../x"), "has no `apiVersion`"),
    "a secret": (_with("spec", "x", value={SIGNATURE: SECRET, "ciphertext": "v1:x:y"}), "a secret or another special"),
    "not a number": (_with("spec", "x", value=float("nan")), "is not JSON"),
    "a large number": (_with("spec", "x", value=10**400), "out of range"),
    "half a character": (_with("spec", "x", value="\ud800"), "not Unicode"),
    "deep": (_with("spec", "x", value=_nested(200)), "nested too deeply"),
}


@pytest.mark.parametrize("kind", [kind for kind in SPECS if kind != "Namespace"])
@pytest.mark.parametrize(("change", "why"), FORGED.values(), ids=FORGED)
def test_a_forged_record_is_told_as_what_it_is(kind: str, change: Callable[[Record], None], why: str) -> None:
    told = record(kind)
    change(told)
    found = judged(marked(kind, json.dumps(told)))
    assert not found.kept
    (doubt,) = found.doubts
    assert doubt.startswith(f"{kind} ") and why in doubt and doubt.endswith(": it is left alone")


@pytest.mark.parametrize("text", ["{", "[]", "1", '"x"', "null", "[" * 100_000, '{"inputs": []}', "1" * 5000])
def test_what_is_no_record_is_told(text: str) -> None:
    found = judged(marked("PersistentVolumeClaim", text))
    assert not found.kept
    assert "its record" in found.doubts[0]


@pytest.mark.parametrize("spec", [None, [], "x", 0, {"claimRef": []}, {"claimRef": {"namespace": ["x"]}}])
def test_a_live_object_of_any_shape_is_judged(spec: Any) -> None:
    for kind in SPECS:
        judged(marked(kind, json.dumps(record(kind)), spec=spec))
    found = judged(marked("PersistentVolumeClaim", json.dumps(record("PersistentVolumeClaim")), spec=spec))
    assert bool(found.doubts) == (not isinstance(spec, dict))


CLAIM = record("PersistentVolumeClaim")["type"]


@pytest.mark.parametrize(
    "urn",
    [
        f"urn:pulumi:{CITY}./../../../x::wecity::{CLAIM}::data",
        f"urn:pulumi:{CITY}...x::wecity::{CLAIM}::data",
        f"urn:pulumi:{CITY}.x::other::{CLAIM}::data",
        f"urn:pulumi:{CITY}.x::wecity::{CLAIM}::",
        f"urn:pulumi:{CITY}.x::wecity::{CLAIM}",
        f"urn:pulumi:{CITY}.x::wecity::{CLAIM}::\x1b[2J",
        f"{CITY}.x::wecity::{CLAIM}::data",
        f"x urn:pulumi:{CITY}.x::wecity::{CLAIM}::data",
        f"urn:pulumi:{CITY}",
    ],
)
def test_a_mark_for_what_is_no_resource_is_told(urn: str) -> None:
    """The stack of a URN becomes the name of a file."""
    found = judged(marked("PersistentVolumeClaim", json.dumps(record("PersistentVolumeClaim")), urn))
    assert not found.kept
    assert "it names no" in found.doubts[0]


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
hostile = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a record."""
    pairs = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [place for key, inner in pairs for place in ((value, key), *_places(inner))]


@given(st.data())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_change_of_a_record_is_fatal(data: st.DataObject) -> None:
    """Some of a true record is replaced or removed: it is told, or all that is done with it goes well."""
    kind = data.draw(st.sampled_from(list(SPECS)))
    told = record(kind)
    for _ in range(data.draw(st.integers(1, 2))):
        places = _places(told)
        holder, key = places[data.draw(st.integers(0, len(places) - 1))]
        if data.draw(st.booleans()):
            holder[key] = data.draw(hostile)
        else:
            del holder[key]
        if not told:
            break
    found = judged(marked(kind, json.dumps(told)))
    assert len(found.kept) + len(found.doubts) == 1
    for kept in found.kept:
        use(kept)


@given(hostile)
@settings(max_examples=100, deadline=None)
def test_no_record_is_fatal(value: Any) -> None:
    found = judged(marked("PersistentVolume", json.dumps(value)))
    assert not found.kept
