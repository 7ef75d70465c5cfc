"""RBAC and network policies of capabilities that observe the city's namespaces on their cloud. Pure functions.

The base stack has the ClusterRoles, each namespace a RoleBinding, and the capability's own stack the service account
and the way to the API server. An observer therefore sees nothing of other cities on the same cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stacks import network_policies, pods
from stacks.admin_rbac import RBAC, cluster_role
from stacks.objects import Manifest
from wecityctl.inputs import StackInputs
from wecityctl.model import naming
from wecityctl.model.catalogue import Right
from wecityctl.model.city import Capability
from wecityctl.model.observing import account_name, cluster_role_name, observers, role_name


def cluster_roles(inputs: StackInputs) -> Iterator[Manifest]:
    """Yield the ClusterRoles of the observers on this stack's cloud, and the bindings of those for the cluster."""
    city = inputs.city.name
    for capability in _here(inputs):
        observer = inputs.catalogue[capability.type].observes
        if observer is None:
            continue
        yield cluster_role(role_name(city, capability.name), _rules(observer.inside))
        if observer.cluster:
            name = cluster_role_name(city, capability.name)
            yield cluster_role(name, _rules(observer.cluster))
            yield _binding("ClusterRoleBinding", {"name": name}, name, capability)


def bindings(inputs: StackInputs, namespace: str) -> Iterator[Manifest]:
    """Yield the role binding of each observer on this stack's cloud in one of the city's namespaces."""
    for capability in _here(inputs):
        metadata = {"name": account_name(capability.name), "namespace": namespace}
        yield _binding("RoleBinding", metadata, role_name(inputs.city.name, capability.name), capability)


def account(capability: Capability) -> Manifest:
    """The service account of an observer. Its token is mounted by the pods that ask for it, not by default."""
    return pods.service_account(_namespace(capability), account_name(capability.name))


def to_api_servers(inputs: StackInputs, capability: Capability, selector: dict[str, str]) -> Manifest:
    """The network policy that lets the pods with the labels `selector` reach the API servers of their cluster.

    A policy sees the addresses behind the Service `kubernetes`. Where they are not known, as in a preview without the
    cluster, nothing is allowed.
    """
    rules = []
    for address in inputs.cluster.api_servers if inputs.cluster is not None else ():
        host, _, port = address.rpartition(":")
        cidr = f"{host}/128" if ":" in host else f"{host}/32"
        rules.append({"to": network_policies.outside([cidr]), "ports": [{"protocol": "TCP", "port": int(port)}]})
    name = naming.fit(f"{capability.name}-to-api-servers")
    return network_policies.policy(_namespace(capability), name, selector, egress=rules)


def _here(inputs: StackInputs) -> tuple[Capability, ...]:
    return observers(inputs.city, inputs.catalogue, inputs.placement.capabilities, inputs.stack.cloud)


def _namespace(capability: Capability) -> str:
    return naming.platform_namespace(capability.platform, capability.zone)


def _rules(rights: Iterable[Right]) -> list[Manifest]:
    return [
        {"apiGroups": [item.group], "resources": list(item.resources), "verbs": list(item.verbs)} for item in rights
    ]


def _binding(kind: str, metadata: dict[str, str], role: str, capability: Capability) -> Manifest:
    account = {"kind": "ServiceAccount", "name": account_name(capability.name), "namespace": _namespace(capability)}
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": kind,
        "metadata": metadata,
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [account],
    }
