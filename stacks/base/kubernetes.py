"""The base of a cloud that is a Kubernetes cluster: what every platform and tenant on it stands on.

It holds cluster-wide objects only: priorities, a storage class on a landing zone's cluster, the three separate
administrators (三员分立), and the admission policies of the policy rules, which are the rules' own. Namespaces and
their network policies belong to who lives in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stacks.admin_rbac import cluster_role, cluster_roles
from stacks.base.storage import storage_class
from stacks.objects import Manifest, open_scope
from wecityctl.inputs import StackInputs
from wecityctl.model import naming
from wecityctl.model.city import City
from wecityctl.model.outputs import BaseOutputs, to_json
from wecityctl.model.storage import provisioned_class
from wecityctl.policy.admission import FENCE, MANAGE, held_by, right
from wecityctl.policy.rules import RULES
from wecityctl.policy.rules.role_bindings import manager_name

# Platforms win over tenants when nodes run short: an app without its database is of no use.
PRIORITIES = {"platform": 100_000, "tenant": 10_000}


def run(inputs: StackInputs) -> dict[str, Any]:
    """Register the base objects and say what the cloud offers."""
    scope = open_scope(inputs, "base", inputs.stack.cloud)
    city = inputs.city
    fixed = [*priority_classes(city), *cluster_roles(city), *manager(city)]
    made = storage_class(inputs)
    scope.add_all([*fixed, *([made] if made else []), *admission(city, inputs.images)])
    cloud = city.cloud(inputs.stack.cloud)
    cluster = inputs.cluster
    return to_json(
        BaseOutputs(
            cloud=cloud.name,
            provider=cloud.provider,
            zones=cloud.zones,
            storage_class=provisioned_class(city, cloud)
            or (cluster.storage_class if cluster else cloud.kubernetes.storage_class),
            ingress_class=cluster.ingress_class if cluster else cloud.kubernetes.ingress_class,
            simulated=cluster.simulated if cluster else cloud.local.nodes == "simulated",
        )
    )


def priority_class(city: str, kind: str) -> str:
    """The name of a city's priority class for `platform` or `tenant` pods."""
    return naming.fit(f"{city}-{kind}")


def priority_classes(city: City) -> Iterator[Manifest]:
    """One priority class for platforms and one for tenants."""
    for kind, value in PRIORITIES.items():
        yield {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": priority_class(city.name, kind)},
            "value": value,
            "globalDefault": False,
            "description": f"Pods of the {kind}s of {city.name}.",
        }


def manager(city: City) -> Iterator[Manifest]:
    """The right to manage the city, for whoever runs `wecityctl up` without being an administrator of the cluster.

    Nobody is bound to it here: who that is, the cluster's owner decides.
    """
    yield cluster_role(manager_name(city), [right(city, MANAGE, FENCE)])


def admission(city: City, images: Mapping[str, str]) -> Iterator[Manifest]:
    """The admission policies of every policy rule that a cluster can hold by itself."""
    for rule in RULES:
        yield from held_by(rule, city, images)
