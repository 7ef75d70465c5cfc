"""What a platform's own manifests become: objects beside its capabilities that reach each other and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.spec.catalogue import CATALOGUE
from tests.stacks.cities import IMAGES, app, city, inputs_for, objects, one, record_city
from wecityctl.image_references import image_names
from wecityctl.inputs import without_manifests_of_platforms
from wecityctl.model.city import Capability, City, Images, Platform, Pool
from wecityctl.model.registries import pod_template
from wecityctl.placement import place
from wecityctl.placement.demand import Reader, items_of
from wecityctl.plan import make_plan
from wecityctl.policy.model import PolicyInput
from wecityctl.policy.rules import rule
from wecityctl.resource_graph import RecordedResource, Recording
from wecityctl.spec import load_city

FILES = Path(__file__).parents[1] / "spec" / "valid" / "platform-with-manifests"
PLACE, EXTRANET = "platform-application", "platform-application-extranet"
NAMES = ("rules", "board", "nightly", "manifests-within")


def whole(**changes: Any) -> City:
    """A city whose application platform has the manifests of the case."""
    given = load_city(FILES, CATALOGUE).city.platforms[0]
    vault = Capability("application", "vault", "postgresql", zone="extranet")
    capabilities = (*city().platforms[0].capabilities, vault)
    return replace(city(app("code")), platforms=(Platform("application", capabilities, given.manifests),), **changes)


def own(recordings: dict[str, Recording]) -> list[RecordedResource]:
    found = (item for item in objects(recordings) if item.parent.endswith("::application"))
    return [item for item in found if item.name.rpartition("/")[2] in NAMES]


def test_they_are_in_the_stack_and_the_namespaces_of_the_platform() -> None:
    recordings = record_city(whole())
    found = own(recordings)
    assert {(item.inputs["kind"], item.name) for item in found} == {
        ("ConfigMap", f"{PLACE}/rules"),
        ("Deployment", f"{PLACE}/board"),
        ("Service", f"{PLACE}/board"),
        ("CronJob", f"{EXTRANET}/nightly"),
        ("NetworkPolicy", f"{PLACE}/manifests-within"),
    }
    stack = recordings["xc.platform.application.main"]
    assert all(item in stack.resources for item in found)
    for item in found:
        assert item.inputs["metadata"]["labels"]["app.kubernetes.io/part-of"] == "application"
    pod = (pod_template(one(recordings, "Deployment", f"{PLACE}/board").inputs) or {})["spec"]
    assert pod["priorityClassName"] == "xc-platform"
    assert pod["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in pod
    assert pod["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_their_pods_reach_each_other_and_nobody_selects_them() -> None:
    recordings = record_city(whole())
    template = pod_template(one(recordings, "Deployment", f"{PLACE}/board").inputs) or {}
    labels = template["metadata"]["labels"]
    selecting = {
        item.name: item.inputs["spec"]
        for item in objects(recordings, "NetworkPolicy")
        if item.inputs["metadata"]["namespace"] == PLACE
        and item.inputs["spec"]["podSelector"].get("matchLabels", {}).items() <= labels.items()
    }
    assert set(selecting) == {f"{PLACE}/{name}" for name in ("default-deny", "allow-dns", "manifests-within")}
    (rule_of,) = selecting[f"{PLACE}/manifests-within"]["ingress"]
    assert [item["port"] for item in rule_of["ports"]] == [9000]
    assert rule_of["from"] == [{"podSelector": selecting[f"{PLACE}/manifests-within"]["podSelector"]}]


def test_a_city_without_any_is_what_it_was() -> None:
    plain = replace(whole(), platforms=(replace(whole().platforms[0], manifests=()),))
    added = {item.urn for found in record_city(whole()).values() for item in found.resources} - {
        item.urn for found in record_city(plain).values() for item in found.resources
    }
    assert all("wecity:platform:Manifests" in urn for urn in added)


def test_a_change_to_them_is_seen_by_platforms_alone() -> None:
    plan = make_plan(whole(), CATALOGUE)
    seen = without_manifests_of_platforms(inputs_for(plan, "xc.tenant.health.main", {}))
    assert not any(item.manifests for item in seen.city.platforms)


def test_they_count_in_placement_beside_the_first_capability() -> None:
    items = {item.capability.name: item for item in items_of(whole(), CATALOGUE, Reader()) if item.capability}
    assert [work.name for work in items["gateway"].workloads][-1] == "Deployment/board"
    assert items["gateway"].workloads[-1].room["cpu"] == 200
    nightly = items["vault"].workloads[-1]
    assert (nightly.name, nightly.architectures) == ("CronJob/nightly", frozenset({"arm64"}))


def test_their_images_are_known_and_pulled_with_credentials() -> None:
    assert "sample-app" in image_names(whole(), CATALOGUE)
    private = whole(images=Images(credentials={"registry.example": "harbor"}))
    recordings = record_city(private)
    pod = (pod_template(one(recordings, "Deployment", f"{PLACE}/board").inputs) or {})["spec"]
    assert pod["imagePullSecrets"] == [{"name": "pull.registry.example"}]
    assert one(recordings, "Secret", f"{PLACE}/pull.registry.example")


def test_the_rules_hold_for_them() -> None:
    pools = (Pool("a", "amd64", 3, "64", "256Gi", "2Ti"), Pool("b", "arm64", 3, "64", "256Gi", "2Ti"))
    big = whole()
    big = replace(big, clouds=(replace(big.clouds[0], pools=pools),))
    given = PolicyInput(big, CATALOGUE, place(big, CATALOGUE), IMAGES, tuple(record_city(big).values()))
    for name in ("privileged-pods", "service-accounts", "image-architectures", "network-fences", "plain-secrets"):
        about = [item for item in rule(name).check(given) if "board" in str(item) or "nightly" in str(item)]
        assert not about, (name, about)
