"""A deployer's rights cover what an app consists of, and nothing else of what the tenant's stack makes."""

from __future__ import annotations

from dataclasses import replace

from stacks.tenants.deployers import WRITTEN, clusterwide, namespaced
from tests.stacks.cities import app, city, record_city
from wecityctl.model.city import Autoscale, City, Component, Use, Volume
from wecityctl.policy.secret_ways import ways
from wecityctl.resource_graph import RecordedResource

WHO = "ci@health.example"
# What the tenant's stack makes beside its apps: it bounds the deployer, or lies in a capability's namespace.
OPERATORS = {
    "Namespace",
    "ResourceQuota",
    "LimitRange",
    "Role",
    "RoleBinding",
    "ClusterRole",
    "ClusterRoleBinding",
}
PLURALS = {
    "ServiceAccount": "serviceaccounts",
    "Service": "services",
    "ConfigMap": "configmaps",
    "Secret": "secrets",
    "Deployment": "deployments",
    "StatefulSet": "statefulsets",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "Job": "jobs",
    "CronJob": "cronjobs",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "NetworkPolicy": "networkpolicies",
}


def _deployed() -> City:
    """An app with all that an app may have, of a tenant with a deployer."""
    web = Component(
        "web", "catalogue:sample-app", replicas=2, ports={"http": 8080}, files={"/etc/x": "y"}, secrets=("TOKEN",)
    )
    jobs = (
        Component("migrate", "catalogue:sample-app", run="before-release"),
        Component("report", "catalogue:sample-app", schedule="0 3 * * *"),
        Component("files", "catalogue:sample-app", volumes=(Volume("uploads", "/data", "1Gi"),)),
    )
    scaled = Component("worker", "catalogue:sample-app", autoscale=Autoscale(1, 3, 70))
    whole = city(app("code", components=(web, scaled, *jobs), uses=(Use("postgresql", "db"),)))
    return replace(whole, tenants=tuple(replace(each, deployers=(WHO,)) for each in whole.tenants))


def _made() -> tuple[RecordedResource, ...]:
    recording = record_city(_deployed())["xc.tenant.health.main"]
    return tuple(item for item in recording.resources if item.type.startswith("kubernetes:"))


def test_the_role_has_every_kind_that_an_app_consists_of() -> None:
    kinds = {str(item.inputs["kind"]) for item in _made()}
    assert kinds - OPERATORS == PLURALS.keys()
    assert {plural for names in WRITTEN.values() for plural in names} == set(PLURALS.values())


def test_the_deployer_writes_in_the_tenants_namespaces_alone() -> None:
    roles = {item.inputs["metadata"].get("namespace", "") for item in _made() if item.inputs["kind"] == "Role"}
    assert roles == {"health-internet"}
    cluster_roles = [item.inputs for item in _made() if item.inputs["kind"] == "ClusterRole"]
    assert [role["metadata"]["name"] for role in cluster_roles] == ["xc.health.deployer"]
    assert [list(ways(rule)) for rule in cluster_roles[0]["rules"]] == [[], []]
    assert all(rule["resourceNames"] for rule in cluster_roles[0]["rules"])


def test_a_tenant_without_deployers_gets_none_of_it() -> None:
    whole = city(app("code"))
    assert not [*namespaced(whole.tenants[0], "x"), *clusterwide(whole, whole.tenants[0], ["x"])]
