"""Selects the cluster-scoped objects that affect a city: bindings, webhooks and admission policy bindings.

Pure. Namespace selectors are evaluated; object selectors and match conditions are not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from wecityctl.kube.resource import Object

# Groups that contain every service account.
_EVERYBODY: Final = ("system:serviceaccounts", "system:authenticated", "system:unauthenticated")
# Bindings to everybody that every API server has, each with the name of its role: they give access to its version and
# discovery.
_FOR_EVERYBODY: Final = frozenset(
    {
        "system:basic-user",
        "system:discovery",
        "system:public-info-viewer",
        "system:service-account-issuer-discovery",
    }
)
# The bindings that every API server creates. Each has the name of its role; below are its subjects as kind, namespace
# and name. Source: pkg plugin/pkg/auth/authorizer/rbac/bootstrappolicy of Kubernetes.
_CONTROLLERS: Final = (  # noqa: SIM905
    "attachdetach-controller certificate-controller clusterrole-aggregation-controller cronjob-controller "
    "daemon-set-controller deployment-controller device-taint-eviction-controller disruption-controller "
    "endpoint-controller endpointslice-controller endpointslicemirroring-controller ephemeral-volume-controller "
    "expand-controller generic-garbage-collector horizontal-pod-autoscaler job-controller "
    "legacy-service-account-token-cleaner namespace-controller node-controller persistent-volume-binder "
    "pod-garbage-collector pv-protection-controller pvc-protection-controller replicaset-controller "
    "replication-controller resource-claim-controller resourcequota-controller root-ca-cert-publisher "
    "route-controller selinux-warning-controller service-account-controller service-cidrs-controller "
    "service-controller statefulset-controller ttl-after-finished-controller ttl-controller "
    "validatingadmissionpolicy-status-controller volumeattributesclass-protection-controller"
).split()
_BOOTSTRAP: Final[Mapping[str, tuple[tuple[str, str, str], ...]]] = {
    "cluster-admin": (("Group", "", "system:masters"),),
    "system:basic-user": (("Group", "", "system:authenticated"),),
    "system:discovery": (("Group", "", "system:authenticated"),),
    "system:kube-controller-manager": (("User", "", "system:kube-controller-manager"),),
    "system:kube-dns": (("ServiceAccount", "kube-system", "kube-dns"),),
    "system:kube-scheduler": (("User", "", "system:kube-scheduler"),),
    "system:monitoring": (("Group", "", "system:monitoring"),),
    "system:node": (),
    "system:node-proxier": (("User", "", "system:kube-proxy"),),
    "system:public-info-viewer": (("Group", "", "system:authenticated"), ("Group", "", "system:unauthenticated")),
    "system:service-account-issuer-discovery": (("Group", "", "system:serviceaccounts"),),
    "system:volume-scheduler": (("User", "", "system:kube-scheduler"),),
    **{f"system:controller:{name}": (("ServiceAccount", "kube-system", name),) for name in _CONTROLLERS},
}
# One of these verbs on one of these resources is enough to gain full control of a namespace.
_CHANGES: Final = frozenset({"*", "create", "update", "patch", "delete", "deletecollection"})
_ALWAYS: Final = frozenset({"bind", "escalate", "impersonate"})
_READABLE: Final = frozenset({"secrets", "pods/exec", "pods/attach", "pods/portforward", "pods/proxy"})
_CHANGEABLE: Final[Mapping[str, frozenset[str]]] = {
    "": frozenset({"pods", "pods/ephemeralcontainers", "replicationcontrollers", "serviceaccounts/token"}),
    "apps": frozenset({"deployments", "replicasets", "statefulsets", "daemonsets"}),
    "batch": frozenset({"jobs", "cronjobs"}),
    "networking.k8s.io": frozenset({"networkpolicies"}),
    "rbac.authorization.k8s.io": frozenset({"roles", "rolebindings", "clusterroles", "clusterrolebindings"}),
}


def role_of(binding: Object) -> str:
    """The name of the role in a binding."""
    return str((binding.get("roleRef") or {}).get("name") or "")


def subjects_of(binding: Object) -> Iterator[tuple[str, str, str]]:
    """The subjects of a binding: kind, namespace and name."""
    for item in binding.get("subjects") or ():
        yield str(item.get("kind")), str(item.get("namespace") or ""), str(item.get("name") or "")


def is_bootstrap(binding: Object) -> bool:
    """Whether the API server creates this binding, in exactly this form."""
    name = binding["metadata"]["name"]
    wanted = _BOOTSTRAP.get(name)
    return wanted is not None and role_of(binding) == name and sorted(subjects_of(binding)) == sorted(wanted)


def is_for_everybody(binding: Object) -> bool:
    """Whether a binding gives all service accounts, or everybody, rights beyond the defaults of every API server."""
    name = binding["metadata"]["name"]
    if name in _FOR_EVERYBODY and role_of(binding) == name:
        return False
    return any(kind == "Group" and name in _EVERYBODY for kind, _, name in subjects_of(binding))


def is_for_accounts_of(binding: Object, spaces: Collection[str]) -> bool:
    """Whether a subject of a binding is, or contains, a service account of these namespaces."""
    for kind, namespace, name in subjects_of(binding):
        if kind == "ServiceAccount" and namespace in spaces:
            return True
        prefix = {"Group": "system:serviceaccounts:", "User": "system:serviceaccount:"}.get(kind, "")
        if prefix and name.startswith(prefix) and name.removeprefix(prefix).split(":")[0] in spaces:
            return True
    return False


def gives_command(rules: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a role allows taking control of a namespace.

    That is reading Secrets, executing in pods, changing pods or what creates them, opening network access, or granting
    rights.
    """
    return any(map(_gives_command, rules))


def _gives_command(rule: Mapping[str, Any]) -> bool:
    verbs, groups = set(rule.get("verbs") or ()), set(rule.get("apiGroups") or ())
    resources = set(rule.get("resources") or ())
    if not resources or not verbs:
        return False
    if verbs & _ALWAYS or (("*" in groups or "" in groups) and resources & {"*", *_READABLE}):
        return True
    wanted = {name for group, names in _CHANGEABLE.items() if groups & {"*", group} for name in names}
    return bool(verbs & _CHANGES) and bool(resources & {"*", "*/*", "pods/*", *wanted}) and bool(wanted)


def reaches(item: Object, spaces: Iterable[Mapping[str, str]]) -> bool:
    """Whether a webhook configuration or admission policy binding applies to namespaces with any of these labels."""
    return any(_selects(selector, labels) for selector in _selectors(item) for labels in spaces)


def _selectors(item: Object) -> Iterator[Mapping[str, Any]]:
    if item["kind"].endswith("WebhookConfiguration"):
        for webhook in item.get("webhooks") or ():
            if any((rule.get("scope") or "*") != "Cluster" for rule in webhook.get("rules") or ()):
                yield webhook.get("namespaceSelector") or {}
    else:
        yield ((item.get("spec") or {}).get("matchResources") or {}).get("namespaceSelector") or {}


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Evaluates a label selector of Kubernetes. An unknown operator counts as a match."""
    wanted: Mapping[str, str] = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    for item in selector.get("matchExpressions") or ():
        value, values = labels.get(str(item.get("key"))), item.get("values") or ()
        meets = {
            "In": value is not None and value in values,
            "NotIn": value is None or value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not meets.get(str(item.get("operator")), True):
            return False
    return True
