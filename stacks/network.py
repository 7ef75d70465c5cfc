"""Network policies: nothing may talk but what is declared. Pure functions from names to manifests.

Source of the shape: networking.k8s.io/v1. A flow between two pods needs both sides: egress where it starts, ingress
where it ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from stacks.objects import Manifest
from wecityctl.model.naming import CITY_LABEL, TENANT_LABEL, ZONE_LABEL

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
DNS_PEER = {
    "namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: "kube-system"}},
    "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
}


def policy(
    namespace: pulumi.Input[str],
    name: str,
    pods: pulumi.Input[Mapping[str, str]] | None,
    *,
    ingress: Sequence[Manifest] | None = None,
    egress: Sequence[Manifest] | None = None,
) -> Manifest:
    """A NetworkPolicy over the pods with these labels (`None`: all); a direction left out is not touched."""
    types = [kind for kind, rules in (("Ingress", ingress), ("Egress", egress)) if rules is not None]
    spec: Manifest = {"podSelector": {"matchLabels": pods} if pods is not None else {}, "policyTypes": types}
    # An empty rule list is left out: with the policy type named, absence already means that nothing is allowed.
    if ingress:
        spec["ingress"] = list(ingress)
    if egress:
        spec["egress"] = list(egress)
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def default_deny(namespace: str) -> Manifest:
    """Cut every pod of a namespace off, both ways."""
    return policy(namespace, "default-deny", None, ingress=[], egress=[])


def allow_dns(namespace: str) -> Manifest:
    """Let every pod of a namespace ask the cluster's DNS, and nothing else."""
    ports = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
    return policy(namespace, "allow-dns", None, egress=[{"to": [DNS_PEER], "ports": ports}])


def pods_of(namespace: pulumi.Input[str], labels: pulumi.Input[Any]) -> Manifest:
    """The peer: pods with these labels in one namespace."""
    return {
        "namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: namespace}},
        "podSelector": {"matchLabels": labels},
    }


def to_peer(peer: Manifest, ports: Sequence[pulumi.Input[int]]) -> Manifest:
    """An egress rule."""
    return {"to": [peer], "ports": [{"protocol": "TCP", "port": port} for port in ports]}


def from_peer(peer: Manifest, ports: Sequence[pulumi.Input[int]]) -> Manifest:
    """An ingress rule."""
    return {"from": [peer], "ports": [{"protocol": "TCP", "port": port} for port in ports]}


def outside(addresses: Sequence[pulumi.Input[str]]) -> list[Manifest]:
    """The peers: exactly these ranges of addresses beyond the cluster."""
    return [{"ipBlock": {"cidr": cidr}} for cidr in addresses]


def to_outside(host: pulumi.Input[str], port: pulumi.Input[int]) -> Manifest:
    """An egress rule to one address beyond the cluster."""
    return {"to": outside([pulumi.Output.concat(host, "/32")]), "ports": [{"protocol": "TCP", "port": port}]}


def from_outside(sources: Sequence[str], port: pulumi.Input[int]) -> list[Manifest]:
    """Ingress rules for these ranges; none for none, since a rule without peers would let everybody in."""
    return [{"from": outside(sources), "ports": [{"protocol": "TCP", "port": port}]}] if sources else []


def from_anywhere(ports: Sequence[pulumi.Input[int]]) -> Manifest:
    """An ingress rule for an entry point, which cannot know who comes."""
    return {"ports": [{"protocol": "TCP", "port": port} for port in ports]}


def zone_peer(city: str, zone: str) -> Manifest:
    """The peer: every pod in the tenants' namespaces of a zone of this city.

    Another city on the same cluster may have a zone of that name; and the city's label is one that nobody else can set.
    Namespaces of platforms have no tenant: the zone's entry point and its stores are no end of a declared flow.
    """
    tenants = {"key": TENANT_LABEL, "operator": "Exists"}
    labels = {CITY_LABEL: city, ZONE_LABEL: zone}
    return {"namespaceSelector": {"matchLabels": labels, "matchExpressions": [tenants]}}
