"""The base stack: cluster-wide objects of a cloud that platforms and tenants on it need.

It registers priority classes, the storage class of a landing zone's cluster, the roles of the three separate
administrators (三员分立), and admission policies, which the policy rules define. Namespaces and their network policies
are registered by the stacks of platforms and tenants.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stacks import observers
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

# When nodes run short, platforms take precedence over tenants: an app is useless without its database.
PRIORITIES = {"platform": 100_000, "tenant": 10_000}


def run(inputs: StackInputs) -> dict[str, Any]:
    """Register the base objects and return the stack's outputs."""
    scope = open_scope(inputs, "base", inputs.stack.cloud)
    city = inputs.city
    fixed = [*priority_classes(city), *cluster_roles(city), *manager(city), *observers.cluster_roles(inputs)]
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
    """The name of a city's priority class for pods of kind `platform` or `tenant`."""
    return naming.fit(f"{city}-{kind}")


def priority_classes(city: City) -> Iterator[Manifest]:
    """Yield one priority class for platforms and one for tenants."""
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
    """Yield the ClusterRole for people who run `wecityctl up` without being administrators of the cluster.

    It is not bound to anybody here: the cluster's owner decides who gets it.
    """
    yield cluster_role(manager_name(city), [right(city, MANAGE, FENCE)])


def admission(city: City, images: Mapping[str, str]) -> Iterator[Manifest]:
    """Yield the admission policies of all policy rules that the API server can enforce."""
    for rule in RULES:
        yield from held_by(rule, city, images)
