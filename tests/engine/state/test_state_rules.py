"""Pure rules over states: pending creations, removal, fingerprints, marks of the live probe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.engine.drive import CATALOGUE, make_city, plan_of
from wecityctl.engine.cluster import probe
from wecityctl.engine.cluster.pending import UNFINISHED, Created, adopt, claimant
from wecityctl.engine.context.fingerprint import fingerprint
from wecityctl.engine.context.options import RunOptions
from wecityctl.engine.process.provider_choice import ProviderChoice
from wecityctl.engine.removal.marks import Retained
from wecityctl.engine.removal.removal import confirmation_note, deletions, left_over, removal_order, require_confirmed
from wecityctl.engine.removal.retained import restored
from wecityctl.engine.removal.takedown import retained
from wecityctl.engine.state.backend import quick_salt
from wecityctl.engine.state.checkpoint import StackState, parse_state
from wecityctl.engine.state.integrity import flaw, require_sound, with_what_is_lost
from wecityctl.engine.state.store_file import FileStore
from wecityctl.errors import ConfigurationError, WecityError
from wecityctl.inputs import Cluster, StackInputs
from wecityctl.model.events import KeptObject, ResourceChange, ResourceOp, StackResult
from wecityctl.model.outputs import BaseOutputs
from wecityctl.provider.adoption import is_own

ROOT = "urn:pulumi:s::wecity::pulumi:pulumi:Stack::wecity-s"


def urn(kind: str, name: str) -> str:
    return f"urn:pulumi:s::wecity::{kind}::{name}"


def resource(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"urn": urn(kind, name), "type": kind, "custom": kind.startswith("kubernetes:"), **more}


def state(*resources: Mapping[str, Any]) -> StackState:
    root = {"urn": ROOT, "type": "pulumi:pulumi:Stack", "custom": False}
    return parse_state("one.tenant.health.main", {"resources": [root, *resources]}, None, b"x")


def test_an_interrupted_creation_that_exists_becomes_an_unfinished_resource() -> None:
    created = resource(
        "kubernetes:core/v1:ConfigMap",
        "a",
        inputs={"metadata": {"name": "a"}, "data": {"x": "1"}},
        parent=urn("t:P", "gone"),
    )
    deployment = {
        "resources": [{"urn": ROOT, "type": "pulumi:pulumi:Stack"}],
        "pending_operations": [{"resource": created, "type": "creating"}],
    }
    written = {"manager": "pulumi-kubernetes-0a1b2c3d", "operation": "Apply"}
    live = {"metadata": {"name": "a", "uid": "u", "managedFields": [written]}}
    done = adopt(deployment, [Created(created, "space/a", live)])
    assert "pending_operations" not in done
    (_, added) = done["resources"]
    assert added["id"] == "space/a"
    assert added["outputs"] == {
        "metadata": {"name": "a", "uid": "u", "managedFields": [written]},
        "data": {"x": "1"},
        "__fieldManager": "pulumi-kubernetes-0a1b2c3d",
    }
    assert added["initErrors"] == [UNFINISHED]
    assert added["parent"] == ROOT
    assert "pending_operations" in deployment, "the argument is left as it was"


def test_a_pending_creation_asks_for_its_own_object_of_its_own_city() -> None:
    """That any provider of Pulumi's has applied an object is not enough: another city's are not adopted."""
    inputs = {"metadata": {"name": "a", "labels": {"wecity.dev/city": "one"}}}
    who = claimant(resource("kubernetes:core/v1:ConfigMap", "a", inputs=inputs), "uid")
    assert (who.city, who.pending, who.urn) == ("one", True, urn("kubernetes:core/v1:ConfigMap", "a"))
    written = [{"manager": "pulumi-kubernetes-99999999", "operation": "Apply"}]
    theirs = {"metadata": {"name": "a", "labels": {"wecity.dev/city": "two"}, "managedFields": written}}
    assert not is_own(theirs, who)
    ours = {"metadata": {"name": "a", "managedFields": [{"manager": who.managers[0], "operation": "Apply"}]}}
    assert is_own(ours, who)


def test_retained_objects_come_back_into_an_empty_state_with_all_that_the_engine_needs() -> None:
    inputs = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "space"}}
    kept = Retained(urn("kubernetes:core/v1:Namespace", "space"), "kubernetes:core/v1:Namespace", inputs, "m", inputs)
    on = Cluster("main", "", "", "uid")
    root, provider, added = restored(None, "s", [kept], on, "4.34.2")["resources"]
    assert root["urn"] == ROOT
    assert provider["inputs"] == {"clusterIdentifier": "uid", "version": "4.34.2"}
    assert added["provider"] == f"{provider['urn']}::{provider['id']}"
    assert (added["id"], added["inputs"], added["parent"]) == ("space", inputs, ROOT)
    assert added["outputs"] == {**inputs, "__inputs": inputs, "__initialApiVersion": "v1", "__fieldManager": "m"}
    assert added["retainOnDelete"], "a program that does not want it any more deletes nothing"
    # A state that has a provider of that cluster keeps it.
    again = restored({"resources": [root, provider]}, "s", [kept], on, "4.34.2")["resources"]
    assert again == [root, provider, added]


def test_namespaces_data_and_components_are_protected_and_the_rest_is_not() -> None:
    found = deletions(
        state(
            resource("kubernetes:core/v1:Namespace", "space"),
            resource("kubernetes:apps/v1:StatefulSet", "db"),
            resource("kubernetes:core/v1:ConfigMap", "settings"),
            resource("wecity:tenants:App", "code"),
            resource("wecity:tenants:App", "stays"),
            {**resource("pulumi:providers:kubernetes", "cluster"), "custom": True},
        ),
        frozenset({urn("wecity:tenants:App", "stays"), ROOT}),
    )
    assert [str(item) for item in found] == [
        "Namespace space (in one.tenant.health.main)",
        "StatefulSet db (in one.tenant.health.main)",
        "App code (in one.tenant.health.main)",
    ]


def test_a_confirmation_is_for_a_stack() -> None:
    held = state(resource("wecity:tenants:App", "code"))
    expected = {held.stack: frozenset[str]()}
    with pytest.raises(ConfigurationError) as caught:
        require_confirmed([held], RunOptions("up"), expected)
    assert "--confirm=one" in caught.value.resolution
    with pytest.raises(ConfigurationError):
        require_confirmed([held], RunOptions("up", confirmed=frozenset({"one.base.main"})), expected)
    require_confirmed([held], RunOptions("up", confirmed=frozenset({held.stack})), expected)
    require_confirmed([held], RunOptions("up", confirm_all=True), expected)
    require_confirmed([held], RunOptions("up"), {})


def test_what_left_the_files_goes_from_the_entry_down() -> None:
    plan = plan_of(make_city("one", ("health",)))
    names = [stack.name for stack in plan.stacks]
    gone = ["one.base.old", "one.tenant.water.main", "one.platform.data.old", "one.entry.old"]
    assert left_over([*names, *gone], plan) == (
        "one.entry.old",
        "one.tenant.water.main",
        "one.platform.data.old",
        "one.base.old",
    )
    order = removal_order(gone, plan)
    assert order["one.entry.old"] == ()
    assert set(order["one.base.old"]) == {"one.entry.old", "one.tenant.water.main", "one.platform.data.old"}


def test_a_preview_says_that_up_will_ask_for_a_confirmation() -> None:
    claim, pod = "kubernetes:core/v1:PersistentVolumeClaim", "kubernetes:core/v1:Pod"
    held = state(resource(claim, "data"), resource(pod, "web"))

    def note(*kinds: str, op: ResourceOp = "delete") -> str:
        name = {claim: "data", pod: "web"}
        changes = tuple(ResourceChange(urn(kind, name[kind]), kind, name[kind], op) for kind in kinds)
        return confirmation_note([StackResult(held.stack, "succeeded", changes)], {held.stack: held}, "one")

    assert note(claim, pod) == (
        "`up` will ask for --confirm=one, because it would delete PersistentVolumeClaim data "
        "(in one.tenant.health.main)"
    )
    assert note(pod) == note(claim, op="update") == ""
    kept = (KeptObject(urn(claim, "data"), claim, "data", "no longer in the files"),)
    assert confirmation_note([StackResult(held.stack, "succeeded", kept=kept)], {held.stack: held}, "one") == (
        "`up` will ask for --confirm=one, because it would no longer use PersistentVolumeClaim data "
        "(in one.tenant.health.main), which stays in the cluster with its data"
    )


def test_what_stays_in_the_cluster_is_not_said_to_be_deleted() -> None:
    claim = {**resource("kubernetes:core/v1:PersistentVolumeClaim", "data"), "retainOnDelete": True}
    held = state(claim)
    with pytest.raises(ConfigurationError) as caught:
        require_confirmed([held], RunOptions("up"), {held.stack: frozenset()})
    assert caught.value.message == "this would no longer use what was removed from the configuration"
    assert caught.value.details.endswith("which stays in the cluster with its data")
    held = state(claim, resource("kubernetes:apps/v1:StatefulSet", "db"))
    with pytest.raises(ConfigurationError) as caught:
        require_confirmed([held], RunOptions("up"), {held.stack: frozenset()})
    assert caught.value.message == "this would delete what was removed from the configuration"


def test_retained_resources_are_marked_and_no_others() -> None:
    before = {"resources": [{"urn": "a"}, {"urn": "b"}]}
    assert retained(before, {"b"}) == {"resources": [{"urn": "a"}, {"urn": "b", "retainOnDelete": True}]}
    assert before == {"resources": [{"urn": "a"}, {"urn": "b"}]}


def inputs(**changes: Any) -> StackInputs:
    city = make_city("one", ("health",))
    plan = plan_of(city)
    base = BaseOutputs("main", "local", ("internet",), "", "", True)
    made = StackInputs(
        city,
        plan.stack("one.tenant.health.main"),
        plan.placement,
        CATALOGUE,
        Cluster("main", "kubeconfig text", "context", "uid", address="10.0.0.1"),
        {"one.base.main": base},
        {"gateway": "wecity/gateway:1"},
        "4.34.2",
        {"binding/health/app/db": "value"},
    )
    return replace(made, **changes)


def print_of(value: StackInputs, **changes: str) -> str:
    told = {"program": "m:f", "tools": "t", "secrets_digest": "s", **changes}
    return fingerprint(value, provider=str(ProviderChoice("builtin", "4.34.2")), **told)


def test_the_fingerprint_covers_what_a_run_depends_on() -> None:
    same = print_of(inputs())
    assert print_of(inputs()) == same
    assert print_of(inputs(catalogue=MappingProxyType(dict(reversed(CATALOGUE.items()))))) == same
    cluster = inputs().cluster
    assert cluster is not None
    # Access may be renewed and secrets have a stack of their own.
    assert print_of(inputs(cluster=replace(cluster, kubeconfig="a new certificate"))) == same
    assert print_of(inputs(secrets={})) == same
    different = [
        print_of(inputs(city=make_city("one", ("health",), count="9"))),
        print_of(inputs(images={"gateway": "wecity/gateway:2"})),
        print_of(inputs(upstream={"one.base.main": None})),
        print_of(inputs(provider_version="4.35.0")),
        print_of(inputs(cluster=replace(cluster, identifier="another"))),
        print_of(inputs(cluster=replace(cluster, address="10.0.0.2"))),
        print_of(inputs(catalogue={})),
        print_of(inputs(), tools="newer"),
        print_of(inputs(), secrets_digest="changed"),
        print_of(inputs(), program="m:g"),
    ]
    assert same not in different
    assert len(set(different)) == len(different)


def test_the_mark_follows_every_write_but_the_status() -> None:
    entry = {"manager": "kubectl", "operation": "Update", "time": "2026-11-21T10:00:00Z", "fieldsV1": {"f:data": {}}}
    status = {"manager": "controller", "operation": "Update", "subresource": "status"}
    meta = {"generation": 3, "resourceVersion": "7", "labels": {"a": "b"}, "managedFields": [entry]}
    spec = {"hard": {"pods": "1"}}

    def mark(meta: dict[str, Any], **more: Any) -> str:
        return probe.mark({"metadata": meta, "spec": spec}, **more)

    before = mark(meta)
    assert mark({**meta, "resourceVersion": "8", "managedFields": [entry, status]}) == before
    later = {**entry, "time": "2026-11-21T10:00:01Z"}
    changes = (
        {"generation": 4},
        {"labels": {}},
        {"annotations": {"c": "d"}},
        {"managedFields": [later]},
        {"finalizers": ["example.org/held"]},
    )
    assert len({before, *(mark({**meta, **change}) for change in changes)}) == 6
    # Neither a generation nor a status: whoever writes, and however it hides, leaves another version.
    plain = {"resourceVersion": "7", "managedFields": [entry]}
    versions = [mark({**plain, "resourceVersion": version}, has_status=False) for version in ("7", "8")]
    assert versions[0] != versions[1]
    # A status and no generation: the content tells, whoever is said to have written it.
    counted = {"metadata": {**plain, "resourceVersion": "8"}, "spec": spec, "status": {"used": {"pods": "1"}}}
    assert probe.mark(counted) == mark(plain)
    assert probe.mark({**counted, "spec": {"hard": {"pods": "1000"}}}) != mark(plain)


def test_an_object_is_still_the_same_where_only_controllers_wrote_what_is_theirs() -> None:
    def entry(manager: str, **more: Any) -> dict[str, Any]:
        fields = {"f:metadata": {"f:annotations": {"f:deployment.kubernetes.io/revision": {}}}}
        return {"manager": manager, "time": "2026-11-21T10:00:00Z", "fieldsV1": fields, **more}

    ours, controller = entry("pulumi-kubernetes-0123abcd"), entry("kube-controller-manager")
    scaled = {"subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}}

    def is_still(kind: str, *now: dict[str, Any], version: str = "7", uid: str = "u", **more: Any) -> bool:
        before = {"kind": kind, "metadata": {"uid": "u", "resourceVersion": "7", "managedFields": [ours]}, **more}
        meta = {"uid": uid, "resourceVersion": version, "managedFields": [*now]}
        mark = probe.mark({"metadata": meta}, has_status=kind == "Deployment")
        return probe.is_still(probe.as_seen(before), probe.Seen(uid, mark, probe.writes(meta, kind)))

    assert is_still("Deployment", ours, controller, entry("kubectl", subresource="status"), version="9")
    assert is_still("Deployment", ours, entry("kube-controller-manager", **scaled), version="9")
    assert not is_still("Deployment", ours, uid="other")
    # By hand, or by its own manager's name at another time. Whoever takes a field away has an entry of his own.
    assert not is_still("Deployment", ours, entry("kubectl", **scaled))
    assert not is_still("Deployment", {**ours, "time": "2026-11-21T10:00:01Z"})
    assert not is_still("Deployment", {**ours, "fieldsV1": {}}, {**entry("kubectl"), "fieldsV1": {"f:spec": {}}})
    # A state does not have whose fields are whose, where nobody but the resource has written.
    assert is_still("Deployment", {key: value for key, value in ours.items() if key != "fieldsV1"})
    # Under a controller's name, and not its own to write.
    assert not is_still("Service", ours, controller)
    # Without a status and a generation every write counts, but for roles that a controller puts together.
    assert is_still("ConfigMap", ours) and not is_still("ConfigMap", ours, version="8")
    assert is_still("ClusterRole", ours, version="8", aggregationRule={"clusterRoleSelectors": []})


def test_differences_are_named() -> None:
    noted = {"v1|ConfigMap|space|a": probe.Seen("uid", "generation 1")}
    assert probe.differs(noted, dict(noted)) == ""
    assert probe.differs(noted, {}) == "ConfigMap a is gone"
    assert (
        probe.differs(noted, {"v1|ConfigMap|space|a": probe.Seen("other", "generation 1")})
        == "ConfigMap a was made again"
    )
    assert (
        probe.differs(noted, {"v1|ConfigMap|space|a": probe.Seen("uid", "generation 2")}) == "ConfigMap a was changed"
    )


def _provider(name: str, number: int, **more: Any) -> dict[str, Any]:
    kind = "pulumi:providers:kubernetes"
    return {**resource(kind, name, **more), "custom": True, "id": f"id-{number}", "parent": ROOT}


def _thing(name: str, number: int, **more: Any) -> dict[str, Any]:
    reference = f"{urn('pulumi:providers:kubernetes', 'cluster')}::id-{number}"
    return {**resource("kubernetes:core/v1:ConfigMap", name), "provider": reference, "parent": ROOT, **more}


_ROOT = {"urn": ROOT, "type": "pulumi:pulumi:Stack", "custom": False}


@pytest.mark.parametrize(
    ("resources", "part"),
    [
        ([_ROOT, _thing("a", 1)], "provider"),
        ([_ROOT, _thing("a", 1), _provider("cluster", 1)], "provider"),
        ([_provider("cluster", 1), _ROOT], "parent"),
        ([_ROOT, _provider("cluster", 1), _thing("a", 1, dependencies=[urn("x:y", "gone")])], "dependency"),
        ([_ROOT, _provider("cluster", 1), _thing("a", 1, propertyDependencies={"data": ["urn:gone"]})], "dependency"),
        ([_ROOT, _provider("cluster", 1), _thing("a", 1, deletedWith="urn:gone")], "dependency"),
        ([_ROOT, _provider("cluster", 1), _thing("a", 1), _thing("a", 1)], "twice"),
        ([_ROOT, {**_ROOT, "urn": "urn:other", "id": "x"}], "component"),
    ],
)
def test_a_state_that_the_engine_refuses_is_not_written(resources: list[dict[str, Any]], part: str) -> None:
    assert part in flaw({"resources": resources})
    with pytest.raises(WecityError, match="left as it was") as caught:
        require_sound("one.entry", {"resources": resources})
    assert part in caught.value.details


def test_states_of_replacements_under_way_are_sound() -> None:
    old = _thing("a", 1, delete=True)
    pending = _thing("b", 9, pendingReplacement=True)
    resources = [_ROOT, _provider("cluster", 1), _provider("cluster", 2, delete=True), _thing("a", 2), old, pending]
    assert flaw({"resources": resources}) == ""
    assert "manifest" in flaw({"manifest": {"version": "v3", "magic": "another"}, "resources": []})


def test_a_provider_that_went_before_its_objects_comes_back_from_an_earlier_state() -> None:
    left = {"resources": [_ROOT, _thing("a", 1)]}
    before = {"resources": [_ROOT, _provider("cluster", 1, dependencies=["urn:gone"]), _thing("a", 1), _thing("b", 1)]}
    other = {"resources": [_ROOT, _provider("cluster", 2)]}
    whole, count = with_what_is_lost(left, [other, before])
    assert count == 1
    assert whole["resources"] == [_ROOT, _provider("cluster", 1), _thing("a", 1)]
    assert flaw(whole) == ""
    assert with_what_is_lost(whole, []) == (whole, 0)
    assert with_what_is_lost(left, [other]) == (left, 0)


def test_a_stack_that_went_before_its_objects_comes_back_with_all_that_they_belong_to() -> None:
    """What the engine's journal leaves of a destroy in which one object stays."""
    box = {"urn": "urn:box", "type": "wecity:tenant:App", "parent": _ROOT["urn"]}
    cluster = _provider("cluster", 1, parent=_ROOT["urn"])
    inner = _thing("a", 1, parent="urn:box")
    before = {"resources": [_ROOT, cluster, box, inner, _thing("b", 1)]}
    for left, count in (([inner], 3), ([box, inner], 2), ([cluster, inner], 2)):
        whole, found = with_what_is_lost({"resources": left}, [before])
        assert found == count
        assert sorted(map(str, whole["resources"])) == sorted(map(str, [_ROOT, cluster, box, inner]))
        assert flaw(whole) == "", left
    # Where no state knows the parent any more, what comes back hangs below nothing.
    whole, found = with_what_is_lost({"resources": [_thing("a", 1, parent="")]}, [{"resources": [cluster]}])
    assert (found, flaw(whole)) == (1, "")


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "[]",
        "{}",
        "7",
        '{"version": 3}',
        '{"version": 3, "checkpoint": []}',
        '{"version": 3, "checkpoint": {"latest": 7}}',
        '{"version": 3, "checkpoint": {"latest": {"resources": {}}}}',
        '{"version": 3, "checkpoint": {"latest": {"resources": [null]}}}',
        '{"version": 3, "checkpoint": {"latest": {"resources": [{"urn": 1}]}}}',
        '{"version": 3, "checkpoint": {"latest": {"pending_operations": [1]}}}',
    ],
)
def test_a_state_of_another_shape_is_damaged_and_not_empty(text: str, tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    store.create("one.secrets")
    assert store.read("one.secrets")[0] is None
    (path,) = tmp_path.rglob("one.secrets.json")
    path.write_text(text)
    with pytest.raises(WecityError, match=r"the state of one.secrets cannot be read") as failure:
        store.read("one.secrets")
    assert str(path) in failure.value.details
    assert "wecityctl state repair" in failure.value.resolution
    assert quick_salt(path.read_bytes()) == ""
