"""Builds NetworkPolicy manifests: all traffic is denied except what is declared. Pure functions.

Source of the structure: networking.k8s.io/v1. A flow between two pods needs an egress rule at its source and an ingress
rule at its target.
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
    """A NetworkPolicy for the pods with these labels (`None`: all). A direction that is `None` is not affected."""
    types = [kind for kind, rules in (("Ingress", ingress), ("Egress", egress)) if rules is not None]
    spec: Manifest = {"podSelector": {"matchLabels": pods} if pods is not None else {}, "policyTypes": types}
    # An empty rule list is omitted: if the policy type is listed, a missing list already denies everything.
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
    """Deny all traffic of a namespace's pods in both directions."""
    return policy(namespace, "default-deny", None, ingress=[], egress=[])


def allow_dns(namespace: str) -> Manifest:
    """Allow every pod of a namespace to query the cluster's DNS."""
    ports = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
    return policy(namespace, "allow-dns", None, egress=[{"to": [DNS_PEER], "ports": ports}])


def pods_of(namespace: pulumi.Input[str], labels: pulumi.Input[Any]) -> Manifest:
    """A peer: pods with these labels in one namespace."""
    return {
        "namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: namespace}},
        "podSelector": {"matchLabels": labels},
    }


def to_peer(peer: Manifest, ports: Sequence[pulumi.Input[int]]) -> Manifest:
    """An egress rule to a peer on TCP ports."""
    return {"to": [peer], "ports": [{"protocol": "TCP", "port": port} for port in ports]}


def from_peer(peer: Manifest, ports: Sequence[pulumi.Input[int]]) -> Manifest:
    """An ingress rule from a peer on TCP ports."""
    return {"from": [peer], "ports": [{"protocol": "TCP", "port": port} for port in ports]}


def outside(addresses: Sequence[pulumi.Input[str]]) -> list[Manifest]:
    """Peers for these address ranges (CIDR) outside the cluster."""
    return [{"ipBlock": {"cidr": cidr}} for cidr in addresses]


def to_outside(host: pulumi.Input[str], port: pulumi.Input[int]) -> Manifest:
    """An egress rule to one address outside the cluster."""
    return {"to": outside([pulumi.Output.concat(host, "/32")]), "ports": [{"protocol": "TCP", "port": port}]}


def from_outside(sources: Sequence[str], port: pulumi.Input[int]) -> list[Manifest]:
    """Ingress rules for these ranges. No ranges give no rule, because a rule without peers allows everybody."""
    return [{"from": outside(sources), "ports": [{"protocol": "TCP", "port": port}]}] if sources else []


def from_anywhere(ports: Sequence[pulumi.Input[int]]) -> Manifest:
    """An ingress rule for an entry point, which accepts any client."""
    return {"ports": [{"protocol": "TCP", "port": port} for port in ports]}


def zone_peer(city: str, zone: str) -> Manifest:
    """A peer: all pods in the tenants' namespaces of a zone of this city.

    The city's label is required, because another city on the cluster may have a zone of the same name; nobody else can
    set this label. Namespaces of platforms are excluded: entry points and data stores are no ends of a declared flow.
    """
    tenants = {"key": TENANT_LABEL, "operator": "Exists"}
    labels = {CITY_LABEL: city, ZONE_LABEL: zone}
    return {"namespaceSelector": {"matchLabels": labels, "matchExpressions": [tenants]}}
