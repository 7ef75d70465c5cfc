"""The registry of readiness rules by kind. Pure; the rules are in the other modules of this package."""

from __future__ import annotations

from collections.abc import Mapping

from wecityctl.kube.readiness import certain, network, platform, pods, storage, workloads
from wecityctl.kube.readiness.generic import by_conditions
from wecityctl.kube.readiness.model import Readiness, Related, Rule, waiting
from wecityctl.kube.resource import Object, meta

_RULES: Mapping[tuple[str, str], Rule] = {
    ("apps", "Deployment"): workloads.deployment,
    ("apps", "StatefulSet"): workloads.stateful_set,
    ("apps", "DaemonSet"): workloads.daemon_set,
    ("apps", "ReplicaSet"): workloads.replica_set,
    ("", "ReplicationController"): workloads.replica_set,
    ("batch", "Job"): workloads.job,
    ("batch", "CronJob"): platform.at_once,
    ("", "Pod"): pods.pod,
    ("", "PersistentVolumeClaim"): storage.volume_claim,
    ("", "PersistentVolume"): storage.volume,
    ("", "ResourceQuota"): storage.resource_quota,
    ("", "Service"): network.service,
    ("networking.k8s.io", "Ingress"): network.ingress,
    ("", "Namespace"): platform.namespace,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): platform.custom_resource_definition,
    ("apiregistration.k8s.io", "APIService"): platform.api_service,
    # Their conditions are about metrics and future disruptions, not about whether the object is in force.
    ("autoscaling", "HorizontalPodAutoscaler"): platform.at_once,
    ("policy", "PodDisruptionBudget"): platform.at_once,
}
_NOTHING = Related()


def assess(obj: Object, related: Related | None = None) -> Readiness:
    """Whether `obj` (live, with status) is ready. Kinds without a rule are assessed by their conditions."""
    if meta(obj).get("deletionTimestamp"):
        return waiting("it is being deleted")
    rule, known = _RULES.get(group_kind(obj), by_conditions), related or _NOTHING
    readiness = rule(obj, known)
    if readiness.state == "waiting" and group_kind(obj) in _RULES:
        return certain.failure(obj, known) or readiness
    return readiness


def group_kind(obj: Object) -> tuple[str, str]:
    """(API group, kind): selects the rule, whatever the version."""
    return str(obj.get("apiVersion") or "").rpartition("/")[0], str(obj.get("kind") or "")
