"""The rules about single objects on recorded objects, and the admission policies as values."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from tests.policy.object_cases import OWN_IMAGES, Case, cases, policy_input, strict_city
from tests.stacks.cities import city
from wecityctl.model.city import City, Compliance, Waiver
from wecityctl.model.images import repository
from wecityctl.policy.admission import held_by
from wecityctl.policy.images import full_reference
from wecityctl.policy.model import Manifest
from wecityctl.policy.rules import RULES, rule

POLICY = "ValidatingAdmissionPolicy"


def named(whole: City, kind: str) -> dict[str, Any]:
    """The specs of the manifests of one kind by name."""
    return {item["metadata"]["name"]: item["spec"] for item in manifests(whole) if item["kind"] == kind}


def manifests(whole: City) -> list[Manifest]:
    return [item for each in RULES for item in held_by(each, whole, OWN_IMAGES)]


@pytest.mark.parametrize("case", [case for case in cases() if not case.going], ids=str)
def test_the_rule_finds_what_the_case_says(case: Case) -> None:
    found = list(rule(case.rule).check(policy_input(case.objects)))
    if not case.found:
        assert not found
        return
    assert any(case.found in item.message for item in found), [item.message for item in found]
    assert all(item.resolution and item.stack for item in found)


def test_every_rule_with_admission_has_a_case_that_passes_and_one_that_is_refused() -> None:
    judged = Counter((case.rule, bool(case.refused)) for case in cases() if not case.path.stem.startswith("found-"))
    for item in RULES:
        if item.admission is not None:
            assert judged[(item.name, True)], item.name
            assert judged[(item.name, False)], item.name


def test_a_finding_about_an_app_leads_to_its_document() -> None:
    (case,) = (item for item in cases() if str(item) == "privileged-pods/fail-host-path")
    labels = {**case.objects[0]["metadata"]["labels"], "wecity.dev/data-class": "L2"}
    pod = {**case.objects[0], "metadata": {**case.objects[0]["metadata"], "labels": labels}}
    (found,) = rule("privileged-pods").check(policy_input((pod,)))
    assert (found.subject, found.document) == ("parks/app", ("App", "parks/app"))


def test_two_cities_have_no_object_in_common() -> None:
    one, two = (manifests(strict_city(name)) for name in ("one", "two"))
    names = [{(item["kind"], item["metadata"]["name"]) for item in each} for each in (one, two)]
    assert not names[0] & names[1]
    assert len(names[0]) == len(one)


def test_every_policy_fails_closed_and_is_bound_to_the_city_alone() -> None:
    policies, bindings = (named(strict_city(), kind) for kind in (POLICY, f"{POLICY}Binding"))
    assert policies.keys() == bindings.keys()
    for name, spec in bindings.items():
        assert policies[name]["failurePolicy"] == "Fail"
        assert spec["validationActions"] == ["Deny"]
        match = spec.get("matchResources", {})
        selector = match.get("namespaceSelector") or match.get("objectSelector")
        if selector is None:
            # Over bindings anywhere on the cluster, but only those that name what is the city's.
            conditions = policies[name]["matchConditions"]
            assert any("redline-security-admin" in each["expression"] for each in conditions)
        else:
            assert selector["matchLabels"] == {"wecity.dev/city": "redline"}


def test_every_policy_lets_what_is_being_deleted_go() -> None:
    policies = named(strict_city(), POLICY)
    assert policies
    for name, spec in policies.items():
        assert spec["matchConditions"][0]["name"] == "not-only-going", name


def test_a_city_without_registries_extranets_or_digests_has_no_policy_for_them() -> None:
    zones = tuple(zone for zone in city().zones if zone.kind == "internet")
    names = {item["metadata"]["name"] for item in manifests(city(zones=zones, flows=()))}
    assert not names & {"xc-extranet-exposure", "xc-image-registries", "xc-images-by-digest"}
    assert "xc-privileged-pods" in names


def test_an_advisory_rule_warns_in_the_cluster_and_refuses_nothing() -> None:
    low = strict_city(compliance=Compliance(mlps=2))
    item = replace(rule("privileged-pods"), mlps=3)
    assert item.level_for(low) == "advisory"
    (binding,) = (each for each in held_by(item, low, {}) if "Binding" in each["kind"])
    assert binding["spec"]["validationActions"] == ["Warn", "Audit"]


def test_waivers_open_their_own_rule_only_and_never_the_fences() -> None:
    waivers = tuple(
        Waiver(name, name, ("parks/legacy.app-*",), "a@x.example", "because", "2027-01-01")
        for name in ("privileged-pods", "network-fences")
    )
    plain, waived = (named(strict_city(waivers=each), POLICY) for each in ((), waivers))
    changed = {name for name in plain if plain[name] != waived[name]}
    assert changed == {"redline-privileged-pods"}
    spec = waived["redline-privileged-pods"]
    variables = {item["name"]: item["expression"] for item in spec["variables"]}
    assert json.dumps("^(parks/legacy\\.app-.*)$") in variables["waived"]
    assert all(item["expression"].startswith("variables.waived || ") for item in spec["validations"])


@pytest.mark.parametrize(
    ("image", "full", "name"),
    [
        ("nginx", "docker.io/library/nginx", "docker.io/library/nginx"),
        ("acme/app:1", "docker.io/acme/app:1", "docker.io/acme/app"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("registry:5000/a/b:1@sha256:00", "registry:5000/a/b:1@sha256:00", "registry:5000/a/b"),
    ],
)
def test_references_are_read_as_registries_read_them(image: str, full: str, name: str) -> None:
    assert full_reference(image) == full
    assert repository(full) == name
