"""The kinds, by API group, in which drift detection looks for undeclared objects. Names only; `drift` lists them.

The rule is docs/explanation/drift.md, "What nobody declared".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from wecityctl.model.security import SECURITY_KINDS

# API group and kind.
GroupKind = tuple[str, str]

# Kinds that every API server has, without the security kinds.
PLAIN: Final[frozenset[GroupKind]] = frozenset(
    {
        ("", "Pod"),
        ("", "PodTemplate"),
        ("", "ReplicationController"),
        ("", "Service"),
        ("", "Endpoints"),
        ("", "ServiceAccount"),
        ("", "ConfigMap"),
        ("", "Secret"),
        ("", "PersistentVolumeClaim"),
        ("apps", "ReplicaSet"),
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("apps", "DaemonSet"),
        ("batch", "Job"),
        ("batch", "CronJob"),
        ("autoscaling", "HorizontalPodAutoscaler"),
        ("discovery.k8s.io", "EndpointSlice"),
        ("networking.k8s.io", "Ingress"),
        ("policy", "PodDisruptionBudget"),
    }
)
# Those of them that run pods, or are some.
WORKLOADS: Final[frozenset[GroupKind]] = frozenset(
    {
        ("", "Pod"),
        ("", "ReplicationController"),
        ("apps", "ReplicaSet"),
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("apps", "DaemonSet"),
        ("batch", "Job"),
        ("batch", "CronJob"),
    }
)
# Kinds that validate or change objects on admission.
ADMISSION: Final[frozenset[GroupKind]] = frozenset(
    {
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"),
    }
)
# Kinds of extensions whose objects allow, block or redirect traffic, if the API server has them.
TRAFFIC: Final[Mapping[str, frozenset[str]]] = {
    "cilium.io": frozenset(
        {
            "CiliumNetworkPolicy",
            "CiliumClusterwideNetworkPolicy",
            "CiliumEnvoyConfig",
            "CiliumClusterwideEnvoyConfig",
            "CiliumLocalRedirectPolicy",
        }
    ),
    "crd.projectcalico.org": frozenset({"NetworkPolicy", "GlobalNetworkPolicy"}),
    "projectcalico.org": frozenset({"NetworkPolicy", "GlobalNetworkPolicy"}),
    "crd.antrea.io": frozenset({"NetworkPolicy", "ClusterNetworkPolicy"}),
    "policy.networking.k8s.io": frozenset({"AdminNetworkPolicy", "BaselineAdminNetworkPolicy", "ClusterNetworkPolicy"}),
    "gateway.networking.k8s.io": frozenset(
        {"HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute", "Gateway", "ListenerSet", "ReferenceGrant"}
    ),
    "security.istio.io": frozenset({"AuthorizationPolicy", "PeerAuthentication"}),
    "networking.istio.io": frozenset({"VirtualService", "DestinationRule", "ServiceEntry", "Gateway"}),
}
LOOKED_FOR: Final[frozenset[GroupKind]] = (
    SECURITY_KINDS | PLAIN | ADMISSION | frozenset((group, kind) for group, kinds in TRAFFIC.items() for kind in kinds)
)


def is_traffic(group: str, kind: str) -> bool:
    """Whether objects of this kind, which belongs to an extension, allow, block or redirect traffic."""
    return kind in TRAFFIC.get(group, frozenset())


def runs_pods(group: str, kind: str) -> bool:
    """Whether objects of this kind run pods."""
    return (group, kind) in WORKLOADS


def gives_or_opens(group: str, kind: str) -> bool:
    """Whether objects of this kind may grant rights, or open or limit the network.

    Such objects are excused neither by an owner nor by a pattern that matches everything.
    """
    return (group, kind) in SECURITY_KINDS | ADMISSION or is_traffic(group, kind)


def groups_of(kind: str) -> tuple[str, ...]:
    """The API groups in which this kind is looked for, those of the API server itself first."""
    found = {group for group, each in LOOKED_FOR if each == kind}
    return tuple(sorted(found, key=lambda group: (group in TRAFFIC, group)))
