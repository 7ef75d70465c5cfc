"""Objects that violate one policy rule each, for a dry run that shows whether an API server rejects them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wecityctl.model.city import City
from wecityctl.model.naming import NAME_LABEL, ZONE_LABEL
from wecityctl.policy.model import Manifest
from wecityctl.policy.rules.extranet_exposure import extranets

NAME = "wecityctl-trial"
_DIGEST = f"sha256:{'0' * 64}"


def trial(rule: str, city: City, namespaces: Mapping[str, Mapping[str, str]]) -> Manifest | None:
    """An object that `rule` rejects for everybody, in one of the city's `namespaces` (labels by name).

    `None` if the rule exempts the city's manager, or no suitable namespace exists.
    """
    place = min(namespaces, default="")
    if rule == "extranet-exposure":
        zones = extranets(city)
        place = min((name for name, labels in namespaces.items() if labels.get(ZONE_LABEL) in zones), default="")
    if not place:
        return None
    good = {"image": f"{next(iter(city.compliance.registries), 'registry.invalid')}/trial@{_DIGEST}"}
    match rule:
        case "privileged-pods":
            return _deployment(place, {"hostNetwork": True}, **good)
        case "service-accounts":
            return _deployment(place, {"automountServiceAccountToken": True}, **good)
        case "image-registries":
            return _deployment(place, {}, image=f"registry.invalid/trial@{_DIGEST}")
        case "images-by-digest":
            registries = (*city.compliance.registries, "registry.invalid")
            return _deployment(place, {}, image=f"{registries[0]}/trial:1")
        case "plain-secrets":
            return _deployment(place, {}, **good, env=[{"name": "TRIAL_PASSWORD", "value": "trial"}])
        case "extranet-exposure":
            spec = {"type": "NodePort", "ports": [{"port": 80}]}
            return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(place), "spec": spec}
        case "role-bindings":
            return _binding(place)
        case "single-writer":
            return _two_over_one_claim(place, **good)
        case _:
            return None


def _metadata(namespace: str) -> dict[str, Any]:
    return {"name": NAME, "namespace": namespace}


def _deployment(namespace: str, pod: Mapping[str, Any], **container: Any) -> Manifest:
    """A Deployment that complies with all rules except for the given fields.

    Pod Security rejects pods, not Deployments: so a rejection comes from the policy.
    """
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    spec: Manifest = {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "trial", "securityContext": security, **container}],
        **pod,
    }
    labels = {NAME_LABEL: NAME}
    template = {"metadata": {"labels": labels}, "spec": spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(namespace),
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    }


def _two_over_one_claim(namespace: str, **container: Any) -> Manifest:
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": NAME}}
    found = _deployment(namespace, {"volumes": [volume]}, **container)
    return {**found, "kind": "StatefulSet", "spec": {**found["spec"], "serviceName": NAME, "replicas": 2}}


def _binding(namespace: str) -> Manifest:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": _metadata(namespace),
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": NAME}],
    }
