"""Small cities as values, and their recorded stacks: what the tests of the programs start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stacks.catalogue import load_catalogue
from wecityctl.engine.sdk.recorder import record
from wecityctl.inputs import Cluster, StackInputs, reaches
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import (
    App,
    Autoscale,
    Capability,
    City,
    Cloud,
    Component,
    Flow,
    Platform,
    Quota,
    Route,
    Tenant,
    Use,
    Zone,
)
from wecityctl.model.outputs import LandingOutputs, Outputs
from wecityctl.plan import Plan, make_plan
from wecityctl.resource_graph import RecordedResource, Recording

IMAGES = {
    name: f"registry.example/{name}:1"
    for name in ("sample-app", *(image for kind in load_catalogue().values() for image in kind.images))
}
CLUSTER = Cluster("main", "KUBECONFIG", "admin", "uid-1", address="192.0.2.10")

WEB = Component(name="web", image="catalogue:sample-app", replicas=2, ports={"http": 8080}, health_path="/healthz")


def application(*extra: Capability) -> Platform:
    """An application platform with everything that the catalogue has."""
    names = ("gateway", "postgresql", "cache")
    return Platform(
        "application", (*(Capability("application", name, name, is_entry=name == "gateway") for name in names), *extra)
    )


def app(name: str, tenant: str = "health", zone: str = "internet", **changes: Any) -> App:
    """A published app with one component and a route."""
    base = App(name, tenant, "published", zone, "L2", (WEB,), route=Route(name))
    return replace(base, **changes)


def city(*apps: App, **changes: Any) -> City:
    """A city with one cloud, three zones, one tenant for each that the apps name."""
    tenants = dict.fromkeys(item.tenant for item in apps) or {"health": None}
    base = City(
        name="xc",
        domain="xc.example",
        zones=(Zone("internet", "internet"), Zone("extranet", "government-extranet"), Zone("ex", "data-exchange")),
        flows=(Flow("internet", "ex", (443,), "data-bureau", "one-stop service"),),
        clouds=(Cloud("main", "local", ("internet", "extranet", "ex")),),
        platforms=(application(),),
        tenants=tuple(
            Tenant(name, name, "digital-government", Quota("8", "16Gi", "100Gi"), ("alice@xc.example",))
            for name in tenants
        ),
        apps=apps,
    )
    return replace(base, **changes)


def full_city() -> City:
    """Two tenants, every binding, every option of a component."""
    rich = replace(
        WEB, autoscale=Autoscale(2, 4, 70), secrets=("sms-key",), files={"/etc/app.conf": "a: 1"}, env={"TZ": "UTC"}
    )
    return city(
        app("code", components=(rich,), uses=(Use("postgresql", "db"), Use("cache", "cache"))),
        app("vaccination", zone="extranet", uses=(Use("postgresql", "db"),)),
        app("bus", tenant="transport", uses=(Use("cache", "arrivals"),)),
    )


Clusters = Cluster | Mapping[str, Cluster] | None


def inputs_for(
    plan: Plan,
    stack: str,
    upstream: Mapping[str, Outputs | None],
    cluster: Clusters = CLUSTER,
    catalogue: Catalogue | None = None,
) -> StackInputs:
    """The inputs of one stack, with a made-up value for each secret it names; one cluster serves for every cloud."""
    chosen = plan.stack(stack)
    if isinstance(cluster, Mapping):
        clusters = cluster
    else:
        clusters = {cloud.name: cluster for cloud in plan.city.clouds if cluster is not None}
    return StackInputs(
        city=plan.city,
        stack=chosen,
        placement=plan.placement,
        catalogue=catalogue or load_catalogue(),
        cluster=clusters.get(chosen.cloud),
        upstream={name: upstream.get(name) for name in chosen.depends_on},
        images=IMAGES,
        provider_version="4.34.2",
        secrets={key: f"value-of-{key}" for key in chosen.secrets},
        interconnects=plan.interconnects,
        reach=reaches(plan.city, plan.interconnects, chosen.cloud, clusters),
    )


def record_city(
    whole: City,
    cluster: Clusters = CLUSTER,
    provisioned: LandingOutputs | None = None,
    catalogue: Catalogue | None = None,
) -> dict[str, Recording]:
    """Every stack of a city, recorded in order; `provisioned` stands for what each landing zone has put out."""
    plan = make_plan(whole, catalogue or load_catalogue())
    outputs: dict[str, Outputs | None] = {}
    recordings = {}
    for stack in plan.stacks:
        if stack.layer == "secrets":
            continue
        if stack.layer == "landing" and provisioned is not None:
            outputs[stack.name] = provisioned
            continue
        recordings[stack.name] = record(inputs_for(plan, stack.name, outputs, cluster, catalogue))
        outputs[stack.name] = recordings[stack.name].outputs
    return recordings


def objects(recordings: Mapping[str, Recording], kind: str = "") -> list[RecordedResource]:
    """The Kubernetes objects of all stacks, of one kind if named."""
    found = [item for recording in recordings.values() for item in recording.resources if item.is_kubernetes_object]
    return [item for item in found if not kind or item.type.endswith(f":{kind}")]


def services_of_jobs(recordings: Mapping[str, Recording]) -> list[str]:
    """The Services that would send clients to the pods of a Job or CronJob, if these were in the same namespace."""
    specs = [item.inputs["spec"] for item in objects(recordings, "Job")]
    specs += [item.inputs["spec"]["jobTemplate"]["spec"] for item in objects(recordings, "CronJob")]
    labels = [spec["template"]["metadata"]["labels"].items() for spec in specs]
    found = objects(recordings, "Service")
    return [item.name for item in found if any(item.inputs["spec"]["selector"].items() <= own for own in labels)]


def one(recordings: Mapping[str, Recording], kind: str, name: str) -> RecordedResource:
    """The object of a kind with this `<namespace>/<name>`."""
    (found,) = [item for item in objects(recordings, kind) if item.name == name]
    return found
