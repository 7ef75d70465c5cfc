"""A city with its roles and its admission policies on a real API server, for those who try what they must not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from stacks.admin_rbac import bindings, cluster_roles
from stacks.base.kubernetes import manager
from stacks.tenants.deployers import clusterwide, namespaced
from stacks.tenants.tenant import administration
from tests.policy.object_cases import OWN_IMAGES, cases, namespace, strict_city
from tests.policy.test_admission_cluster import as_list
from tests.support.admission import of_city, operator
from tests.support.control_plane import ControlPlane
from wecityctl.model.city import Quota, Tenant
from wecityctl.policy.admission import held_by
from wecityctl.policy.rules import RULES

RBAC = "rbac.authorization.k8s.io"
CITY = strict_city("roles")
SPACE, PLATFORM, ELSEWHERE = "roles-parks-extranet", "roles-platform", "roles-elsewhere"
PEOPLE = {
    "system": "sys@x.example",
    "security": "sec@x.example",
    "audit": "aud@x.example",
    "tenant": "parks@x.example",
    "deployer": "dep@x.example",
    "manager": "ci@x.example",
}
# Somebody who operates the cluster: every right in the groups of workloads, and none over the city.
OPERATOR = "roles-operator"


@pytest.fixture(scope="session")
def city(api_server: ControlPlane) -> ControlPlane:
    """A city with its roles and lines, a tenant's and a platform's namespace, and one with Secrets to be had."""
    tenant = Tenant(
        "parks",
        "parks",
        "digital-government",
        Quota("1", "1Gi", "1Gi"),
        (PEOPLE["tenant"],),
        deployers=(PEOPLE["deployer"],),
    )
    spaces = [namespace(CITY.name, SPACE), namespace(CITY.name, PLATFORM, tenant="")]
    plain = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ELSEWHERE}}
    managing = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "roles-manager"},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "roles-manager"},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": PEOPLE["manager"]}],
    }
    made = [*spaces, plain, *cluster_roles(CITY), *manager(CITY), managing, *administration(tenant, SPACE)]
    made += [*namespaced(tenant, SPACE), *clusterwide(CITY, tenant, [SPACE])]
    made += [item for place in (SPACE, PLATFORM) for item in (*bindings(CITY, place), *inhabitants(place))]
    made += [of_city(item, CITY.name) for item in operator(OPERATOR, ["", "apps", "batch"])]
    made += [of_city(item, CITY.name) for each in RULES for item in held_by(each, CITY, OWN_IMAGES)]
    api_server.kubectl("apply", "--server-side", "-f", "-", stdin=as_list(made))
    # It ends with the API server.
    return api_server


def inhabitants(place: str) -> Iterator[dict[str, Any]]:
    """An account, a Secret, a pod and a Deployment that mount it."""
    (case,) = (item for item in cases() if str(item) == "privileged-pods/pass-restricted-pod")
    spec = json.loads(json.dumps(case.objects[-1]["spec"]))
    spec["volumes"] = [{"name": "credentials", "secret": {"secretName": "credentials"}}]
    labels = {"app.kubernetes.io/name": "app"}
    metadata = {"namespace": place}
    for name in ("default", "worker"):
        yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {**metadata, "name": name}}
    yield {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {**metadata, "name": "credentials"},
        "stringData": {"password": "x"},
    }
    yield {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "name": "app", "labels": labels}, "spec": spec}
    yield {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**metadata, "name": "app"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
