"""Interprets a resource's type token: its API kind, whether it is namespaced, and whether the provider supports it.

Knows the kinds that Kubernetes itself has; for others, only what their token says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

PACKAGE: Final = "kubernetes"
OFFICIAL: Final = "pulumi-resource-kubernetes"

CLUSTER_SCOPED: Final = frozenset(
    {
        ("", "ComponentStatus"),
        ("", "Namespace"),
        ("", "Node"),
        ("", "PersistentVolume"),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("apiregistration.k8s.io", "APIService"),
        ("certificates.k8s.io", "CertificateSigningRequest"),
        ("certificates.k8s.io", "ClusterTrustBundle"),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
        ("networking.k8s.io", "IPAddress"),
        ("networking.k8s.io", "IngressClass"),
        ("networking.k8s.io", "ServiceCIDR"),
        ("node.k8s.io", "RuntimeClass"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("resource.k8s.io", "DeviceClass"),
        ("resource.k8s.io", "ResourceSlice"),
        ("scheduling.k8s.io", "PriorityClass"),
        ("storage.k8s.io", "CSIDriver"),
        ("storage.k8s.io", "CSINode"),
        ("storage.k8s.io", "StorageClass"),
        ("storage.k8s.io", "VolumeAttachment"),
        ("storage.k8s.io", "VolumeAttributesClass"),
    }
)

BUILTIN_GROUPS: Final = frozenset(
    {
        "",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "apps",
        "auditregistration.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "autoscaling",
        "batch",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "extensions",
        "flowcontrol.apiserver.k8s.io",
        "internal.apiserver.k8s.io",
        "meta",
        "networking.k8s.io",
        "node.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "settings.k8s.io",
        "storage.k8s.io",
        "storagemigration.k8s.io",
    }
)

# Modules of the package that are not API groups.
_COMPONENTS: Final = {"helm.sh": "Helm charts and releases", "kustomize": "Kustomize", "yaml": "YAML components"}


@dataclass(frozen=True, slots=True)
class Kind:
    """One API kind: `group` is empty for the core group."""

    group: str
    version: str
    name: str

    @property
    def api_version(self) -> str:
        """The kind's API version, such as `v1` or `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def builtin(self) -> bool:
        """Whether the kind is one of Kubernetes' own."""
        return self.group in BUILTIN_GROUPS

    @property
    def known_scope(self) -> bool | None:
        """Whether it is namespaced; None when only the cluster can tell (custom resources)."""
        if (self.group, self.name) in CLUSTER_SCOPED:
            return False
        return True if self.builtin else None


def kind_of_token(token: str) -> Kind:
    """The kind of a token such as `kubernetes:apps/v1:Deployment`. A token without a version gets an empty one."""
    _, module, name = [*token.split(":", 2), "", ""][:3]
    group, _, version = module.partition("/")
    return Kind("" if group == "core" else group, version, name)


def kind_of_object(obj: dict[str, Any], fallback: Kind) -> Kind:
    """The kind an object names, or `fallback` where it names none."""
    api_version, name = obj.get("apiVersion"), obj.get("kind")
    if not isinstance(api_version, str) or not isinstance(name, str):
        return fallback
    group, slash, version = api_version.partition("/")
    if not slash:
        return Kind("", group, name)
    return Kind("" if group == "core" else group, version, name)


def refusal(token: str) -> str:
    """Why a type is not supported, as a sentence; empty when it is supported."""
    kind = kind_of_token(token)
    what = _COMPONENTS.get(kind.group, "")
    if not what and kind.builtin and kind.name.endswith("Patch"):
        what = f"the Patch resource {kind.name}"
    if not what and kind.builtin and kind.name.endswith("List"):
        what = f"the List resource {kind.name}"
    return not_served(what) if what else ""


def not_served(what: str) -> str:
    """The sentence for a feature that only the official plug-in has."""
    return f"wecityctl's built-in Kubernetes provider does not serve {what}; use the official plug-in {OFFICIAL} for it"


def type_of_urn(urn: str) -> str:
    """The type token in a URN: the last one of the chain of parents."""
    parts = urn.split("::", 3)
    return parts[2].rsplit("$", 1)[-1] if len(parts) > 3 else ""


def name_of_urn(urn: str) -> str:
    """The logical name in a URN."""
    parts = urn.split("::", 3)
    return parts[3] if len(parts) > 3 else ""
