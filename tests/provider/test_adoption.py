"""Whose an existing object is, case by case."""

from __future__ import annotations

from typing import Any

import pytest

from wecityctl.model.naming import RETAINED_FOR
from wecityctl.provider.adoption import UPDATE_MANAGERS, Claimant, belongs_to_another, data_owner, is_own, refusal
from wecityctl.provider.official import converted

URN = "urn:pulumi:one.base.main::wecity::kubernetes:core/v1:ConfigMap::a"
OURS, OTHER = "pulumi-kubernetes-0a1b2c3d", "pulumi-kubernetes-99999999"
OFFICIAL = min(UPDATE_MANAGERS)


def live(*writers: tuple[str, str], city: str = "", retained_for: str = "") -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "a", "namespace": "n", "uid": "u"}
    metadata["managedFields"] = [{"manager": name, "operation": operation} for name, operation in writers]
    if city:
        metadata["labels"] = {"wecity.dev/city": city}
    if retained_for:
        metadata["annotations"] = {RETAINED_FOR: retained_for}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


@pytest.mark.parametrize(
    ("found", "pending", "own"),
    [
        pytest.param(live((OURS, "Apply")), False, True, id="a: applied under the derived name"),
        pytest.param(live((OURS, "Update")), False, False, id="a: the same name, but not by apply"),
        pytest.param(live((OTHER, "Apply"), city="one"), False, False, id="another resource of the same city"),
        pytest.param(live(("kubectl", "Apply"), city="one"), False, False, id="a label alone is no proof"),
        pytest.param(live((OTHER, "Apply"), city="one"), True, True, id="b: pending, official, applied"),
        pytest.param(live((OFFICIAL, "Update"), city="one"), True, True, id="b: pending, official, created"),
        pytest.param(live(("kubectl", "Apply"), city="one"), True, False, id="b: pending, but somebody else made it"),
        pytest.param(live((OTHER, "Apply"), city="two"), True, False, id="b: pending, but another city's"),
        pytest.param(live((OTHER, "Apply")), True, False, id="b: pending, but of no city"),
        pytest.param(live(("kubectl", "Update"), retained_for=URN), False, True, id="c: marked by hand"),
        pytest.param(live((OTHER, "Apply"), city="one", retained_for=URN), False, True, id="c: marked by destroy"),
        pytest.param(live((OTHER, "Apply"), city="two", retained_for=URN), False, False, id="c: of another city"),
        pytest.param(live((OTHER, "Apply"), city="one", retained_for=URN + "b"), False, False, id="c: for another"),
        pytest.param(live(), False, False, id="nobody is known to have made it"),
    ],
)
def test_an_object_is_a_resources_own_in_three_cases(found: dict[str, Any], pending: bool, own: bool) -> None:
    assert is_own(found, Claimant(URN, (OURS,), "one", pending)) is own


def test_a_claim_with_another_apps_files_is_nobody_elses_whatever_its_urn_says() -> None:
    """App `a` with component `b` and volume `c-d`, app `a-b` with `c` and `d`: one name, and so one URN."""

    def claim(app: str, **found: Any) -> dict[str, Any]:
        of_app = {"component": "app", "part-of": "transport", "name": app}
        labels = {f"app.kubernetes.io/{key}": value for key, value in of_app.items() if app}
        obj = {**live((OURS, "Apply"), city="one", **found), "kind": "PersistentVolumeClaim"}
        obj["metadata"].setdefault("labels", {}).update(labels)
        return obj

    new = Claimant(URN, (OURS,), "one", data_of=data_owner(claim("a-b")))
    assert new.data_of == "transport/a-b"
    assert not is_own(claim("a"), new)
    assert not is_own(claim("a", retained_for=URN), new)
    assert is_own(claim("a-b"), new)
    # Older claims and those of capabilities do not say whose they are.
    assert is_own(claim(""), new)
    error = refusal(claim("a"), new)
    assert "has the files of app transport/a;" in error.message
    assert "app.kubernetes.io/name=a-b" in error.resolution


def test_an_object_is_another_resources_when_that_one_has_applied_it_and_this_one_has_not() -> None:
    assert belongs_to_another(live((OTHER, "Apply")), OURS)
    assert not belongs_to_another(live((OTHER, "Apply"), (OURS, "Apply")), OURS)
    # Imported, or made by the official plug-in: no resource's name is on it.
    assert not belongs_to_another(live(("kubectl", "Apply"), (OFFICIAL, "Update")), OURS)


def test_a_refusal_names_the_object_its_managers_and_the_ways_out() -> None:
    error = refusal(live(("kubectl", "Apply"), ("helm", "Update"), city="two"), Claimant(URN, (OURS,), "one"))
    assert "ConfigMap n/a exists already and belongs to the city two" in error.message
    assert "kubectl, helm" in error.details
    assert "alias" in error.resolution
    assert "import" in error.resolution
    assert f"kubectl annotate configmap a -n n '{RETAINED_FOR}={URN}'" in error.resolution


def test_what_the_official_plugin_created_becomes_part_of_what_was_applied() -> None:
    created = {"manager": OFFICIAL, "operation": "Update", "fieldsV1": {"f:data": {"f:a": {}}, "f:meta": {}}}
    applied = {
        "manager": OURS,
        "operation": "Apply",
        "fieldsV1": {"f:data": {".": {}, "f:b": {}}, "f:meta": {"f:c": {}}},
    }
    status = {**created, "subresource": "status"}
    other = {"manager": "kubectl", "operation": "Update", "fieldsV1": {}}
    (ours, *others) = converted([created, status, applied, other], OURS)
    assert (ours["manager"], ours["operation"]) == (OURS, "Apply")
    assert ours["fieldsV1"] == {"f:data": {".": {}, "f:a": {}, "f:b": {}}, "f:meta": {".": {}, "f:c": {}}}
    assert others == [status, other]
    assert converted([other], OURS) == [other]
