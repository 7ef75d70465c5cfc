"""What an app's own manifests become: objects with the app's labels, account, limits and policies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.spec.catalogue import CATALOGUE
from tests.stacks.cities import WEB, app, city, objects, one, record_city
from wecityctl.inputs import without_workloads
from wecityctl.model.city import App, Images, KubernetesManifest, Pool, Use
from wecityctl.model.manifests import images_of, workloads
from wecityctl.model.registries import pod_spec
from wecityctl.model.shares import demand_of
from wecityctl.placement import place
from wecityctl.policy.model import PolicyInput
from wecityctl.policy.rules import RULES, rule
from wecityctl.resource_graph import RecordedResource, Recording
from wecityctl.spec import load_city

FILES = Path(__file__).parents[1] / "spec" / "valid" / "app-with-manifests"
PLACE = "health-internet"


def queue(**changes: Any) -> App:
    """The app of the case, under another name and tenant."""
    manifests = load_city(FILES, CATALOGUE).city.apps[0].manifests
    found = [KubernetesManifest(item.file, _moved(item.content)) for item in manifests]
    return app("code", uses=(Use("postgresql", "postgresql"),), manifests=tuple(found), **changes)


def _moved(content: Any) -> Any:
    """The manifest without its namespace, and with bindings of the app `code`."""
    if isinstance(content, dict):
        return {
            key: _moved(item) for key, item in content.items() if (key, item) != ("namespace", "transport-internet")
        }
    if isinstance(content, list):
        return [_moved(item) for item in content]
    return content.replace("bus-binding", "code-binding") if isinstance(content, str) else content


def recorded(**changes: Any) -> dict[str, Recording]:
    return record_city(city(queue(**changes)))


def template(item: RecordedResource) -> Any:
    spec = item.inputs["spec"]
    return (spec["jobTemplate"]["spec"] if item.inputs["kind"] == "CronJob" else spec)["template"]


def own(recordings: dict[str, Recording]) -> list[RecordedResource]:
    names = {f"{PLACE}/{name}" for name in ("queue-rules", "queue", "sweep", "seed", "ring")}
    return [item for item in objects(recordings) if item.name in names]


def test_objects_are_the_apps_own() -> None:
    found = own(recorded())
    assert len(found) == 8
    (parent,) = {item.parent for item in found}
    assert parent.endswith("::code")
    for item in found:
        labels = item.inputs["metadata"]["labels"]
        assert item.inputs["metadata"]["namespace"] == PLACE
        assert (labels["app.kubernetes.io/name"], labels["app.kubernetes.io/part-of"]) == ("code", "health")
        assert labels["wecity.dev/data-class"] == "L2"


def test_pods_have_what_all_pods_of_the_app_have() -> None:
    web = template(one(recorded(), "Deployment", f"{PLACE}/code-web"))
    pods = [item for item in own(recorded()) if pod_spec(item.inputs) is not None]
    assert len(pods) == 4
    for item in pods:
        found = template(item)
        for key in ("app.kubernetes.io/name", "app.kubernetes.io/part-of", "wecity.dev/data-class"):
            assert found["metadata"]["labels"][key] == web["metadata"]["labels"][key]
        for key in ("serviceAccountName", "priorityClassName", "automountServiceAccountToken", "enableServiceLinks"):
            assert found["spec"][key] == web["spec"][key]
        assert found["spec"]["securityContext"]["runAsNonRoot"] is True
        for container in (*found["spec"].get("initContainers", ()), *found["spec"]["containers"]):
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


def test_no_service_of_a_component_finds_them() -> None:
    """Not even one of a component that is called as their objects are labelled."""
    part = replace(WEB, name="app")
    recordings = record_city(city(queue(components=(part,))))
    selector = one(recordings, "Service", f"{PLACE}/code-app").inputs["spec"]["selector"]
    for item in own(recordings):
        if pod_spec(item.inputs) is not None:
            labels = template(item)["metadata"]["labels"]
            assert any(labels.get(key) != value for key, value in selector.items())


def test_selectors_find_the_apps_own_pods_alone() -> None:
    recordings = recorded()
    mine = {"role": "queue", "app.kubernetes.io/name": "code", "app.kubernetes.io/part-of": "health"}
    assert one(recordings, "Service", f"{PLACE}/queue").inputs["spec"]["selector"] == mine
    for kind in ("Deployment", "PodDisruptionBudget"):
        assert one(recordings, kind, f"{PLACE}/queue").inputs["spec"]["selector"] == {"matchLabels": mine}


def test_an_autoscaler_alone_sets_the_replicas() -> None:
    assert "replicas" not in one(recorded(), "Deployment", f"{PLACE}/queue").inputs["spec"]


def test_a_suspended_app_runs_none_of_them() -> None:
    recordings = recorded(stage="suspended")
    kinds = {item.inputs["kind"] for item in own(recordings)}
    assert kinds == {"ConfigMap", "Deployment", "Service", "PodDisruptionBudget", "CronJob", "StatefulSet"}
    assert one(recordings, "Deployment", f"{PLACE}/queue").inputs["spec"]["replicas"] == 0
    assert one(recordings, "CronJob", f"{PLACE}/sweep").inputs["spec"]["suspend"] is True


def test_a_changed_job_is_another_one() -> None:
    def name(whole: App) -> str:
        return str(one(record_city(city(whole)), "Job", f"{PLACE}/seed").inputs["metadata"]["name"])

    before = queue()
    changed = tuple(
        KubernetesManifest(item.file, _with_image(item.content, "registry.example/bus/seed:2"))
        if item.kind == "Job"
        else item
        for item in before.manifests
    )
    assert name(before) == name(before) != name(replace(before, manifests=changed))
    assert name(before).startswith("seed-")


def _with_image(content: Any, image: str) -> Any:
    spec = content["spec"]["template"]["spec"]
    container = {**spec["containers"][0], "image": image}
    return {**content, "spec": {"template": {"spec": {**spec, "containers": [container]}}}}


def test_ports_of_manifests_are_reached_from_the_app() -> None:
    (rule,) = one(recorded(), "NetworkPolicy", f"{PLACE}/code-within").inputs["spec"]["ingress"]
    assert {item["port"] for item in rule["ports"]} == {5672, 8080}


def test_their_images_are_pulled_with_credentials_and_through_the_citys_registry() -> None:
    private = Images(credentials={"registry.example": "harbor"})
    recordings = record_city(replace(city(queue()), images=private))
    for item in own(recordings):
        if pod_spec(item.inputs) is not None:
            assert template(item)["spec"]["imagePullSecrets"] == [{"name": "pull.registry.example"}]
    mirrored = record_city(replace(city(queue()), images=Images(registry="mirror.example")))
    (container,) = template(one(mirrored, "CronJob", f"{PLACE}/sweep"))["spec"]["containers"]
    assert container["image"] == "mirror.example/bus/sweep:1"


def test_they_count_for_quota_and_placement() -> None:
    plain, more = app("code", uses=(Use("postgresql", "postgresql"),)), queue()
    assert demand_of(more).cpu > demand_of(plain).cpu
    stated = {part.name: part for part in workloads(more)}
    # At most four pods of 500m and the 100m of a container that says nothing; each 512Mi and 128Mi.
    assert (stated["Deployment/queue"].resources.cpu, stated["Deployment/queue"].resources.memory) == ("600m", "640Mi")
    assert "registry.example/bus/prepare:1" in images_of(more)
    whole = city(more)
    small = Pool("general", "amd64", 1, "2", "64Gi", "1Ti")
    cloud = replace(whole.clouds[0], pools=(small,))
    report = str(_conflict(replace(whole, clouds=(cloud,))))
    assert "code" in report


def _conflict(whole: Any) -> object:
    from wecityctl.errors import WecityError

    try:
        return place(whole, CATALOGUE)
    except WecityError as error:
        return f"{error} {error.details}"


def test_every_rule_holds_for_them() -> None:
    """With pools of both architectures, none of the rules that look at pods has anything to say."""
    pools = (Pool("a", "amd64", 3, "64", "256Gi", "2Ti"), Pool("b", "arm64", 3, "64", "256Gi", "2Ti"))
    whole = city(queue())
    whole = replace(whole, clouds=(replace(whole.clouds[0], pools=pools),))
    recordings = tuple(record_city(whole).values())
    from tests.stacks.cities import IMAGES

    given = PolicyInput(whole, CATALOGUE, place(whole, CATALOGUE), IMAGES, recordings)
    names = {"privileged-pods", "service-accounts", "image-architectures", "plain-secrets", "single-writer"}
    assert names <= {item.name for item in RULES}
    for name in sorted(names):
        about = [item for item in rule(name).check(given) if item.subject == "health/code"]
        assert not about, (name, about)


def test_platforms_do_not_see_them() -> None:
    from tests.stacks.cities import inputs_for
    from wecityctl.plan import make_plan

    plan = make_plan(city(queue()), CATALOGUE)
    seen = without_workloads(inputs_for(plan, "xc.platform.application.main", {}))
    assert not any(item.manifests for item in seen.city.apps)
