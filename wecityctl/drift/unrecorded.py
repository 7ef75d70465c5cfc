"""Finds fields without an owner, because their author has emptied the ownership record. Pure.

Anybody who may change an object may also empty its `metadata.managedFields`. A field without an owner is either a
default of the API server or somebody's addition. To tell them apart, the API server is asked for the same object under
another name: it sets the same defaults there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from wecityctl.drift import classify, controllers, fieldset
from wecityctl.drift.fieldset import Fields, Path

# Different in every object: maintained, generated or allocated by the API server.
_OF_ONE_OBJECT: Final[Fields] = {
    "f:apiVersion": {},
    "f:kind": {},
    "f:status": {},
    "f:metadata": {
        **{
            f"f:{name}": {}
            for name in (
                "creationTimestamp",
                "deletionGracePeriodSeconds",
                "deletionTimestamp",
                "generateName",
                "generation",
                "managedFields",
                "name",
                "namespace",
                "resourceVersion",
                "selfLink",
                "uid",
            )
        },
        "f:labels": {"f:kubernetes.io/metadata.name": {}},
    },
    # If it is not declared, an autoscaler sets it, and the API server does not always record who scaled.
    "f:spec": {"f:replicas": {}},
}
_HANDED_OUT: Final[Mapping[str, Fields]] = {
    "Service": {
        "f:spec": {
            f"f:{name}": {} for name in ("clusterIP", "clusterIPs", "healthCheckNodePort", "ipFamilies", "nodePort")
        }
    },
    "Job": {
        "f:spec": {
            "f:selector": {},
            "f:template": {
                "f:metadata": {
                    "f:labels": {
                        f"f:{name}": {}
                        for name in (
                            "batch.kubernetes.io/controller-uid",
                            "batch.kubernetes.io/job-name",
                            "controller-uid",
                            "job-name",
                        )
                    }
                }
            },
        }
    },
}
# Fields that the API server defaults, for the kinds that are most frequent in stacks. If such a field has the value
# that it had when the object was applied, no request is made. Source: `defaults.go` of core/v1, apps/v1, batch/v1,
# autoscaling/v2, networking/v1 and policy/v1 in Kubernetes.
_FILLED_IN: Final = frozenset(
    {
        "allocateLoadBalancerNodePorts",
        "apiVersion",
        "automountServiceAccountToken",
        "backoffLimit",
        "behavior",
        "clusterIP",
        "completionMode",
        "completions",
        "concurrencyPolicy",
        "defaultMode",
        "dnsPolicy",
        "divisor",
        "externalTrafficPolicy",
        "failedJobsHistoryLimit",
        "failureThreshold",
        "finalizers",
        "healthCheckNodePort",
        "imagePullPolicy",
        "immediate",
        "internalTrafficPolicy",
        "ipFamilies",
        "ipFamilyPolicy",
        "manualSelector",
        "maxSurge",
        "maxUnavailable",
        "metrics",
        "minReadySeconds",
        "minReplicas",
        "nodePort",
        "parallelism",
        "partition",
        "pathType",
        "periodSeconds",
        "persistentVolumeClaimRetentionPolicy",
        "persistentVolumeReclaimPolicy",
        "podManagementPolicy",
        "podReplacementPolicy",
        "policyTypes",
        "procMount",
        "progressDeadlineSeconds",
        "protocol",
        "replicas",
        "restartPolicy",
        "revisionHistoryLimit",
        "rollingUpdate",
        "scheme",
        "schedulerName",
        "scope",
        "securityContext",
        "selector",
        "serviceAccount",
        "serviceAccountName",
        "sessionAffinity",
        "status",
        "storageClassName",
        "strategy",
        "successThreshold",
        "successfulJobsHistoryLimit",
        "suspend",
        "targetPort",
        "terminationGracePeriodSeconds",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "timeoutSeconds",
        "type",
        "unhealthyPodEvictionPolicy",
        "updateStrategy",
        "volumeMode",
        "volumeName",
        "whenDeleted",
        "whenScaled",
    }
)


def doubtful(
    live: Mapping[str, Any], stated: Mapping[str, Any], applied: Mapping[str, Any], structure: Fields
) -> dict[str, Any]:
    """The fields of `live` that are not declared, have no owner, and may not be defaults of the API server.

    `applied` is the object as last applied. `structure` is any set of its fields; its keys identify the elements of
    keyed lists.
    """
    owners = classify.owned_by_anybody(live)
    kind = str(live.get("kind"))
    passed: list[Fields] = [_OF_ONE_OBJECT, _HANDED_OUT.get(kind, {}), *controllers.owned_in(kind)]
    found = fieldset.of(
        path
        for path in _without_owner(live, stated, owners, fieldset.union(structure, owners))
        if not any(fieldset.contains(fields, path) for fields in passed) and not _is_filled_in(path, live, applied)
    )
    return fieldset.less(found, classify.NEVER_ADDITIONS)


def added(live: Mapping[str, Any], doubtful: Fields, fresh: Mapping[str, Any]) -> dict[str, Any]:
    """The doubtful fields that differ in `fresh`, the same object as the API server would create it."""
    paths = fieldset.paths(doubtful)
    return fieldset.of(path for path in paths if fieldset.value_at(live, path) != fieldset.value_at(fresh, path))


def _is_filled_in(path: Path, live: Mapping[str, Any], applied: Mapping[str, Any]) -> bool:
    name = path[-1].removeprefix("f:")
    return name in _FILLED_IN and fieldset.value_at(live, path) == fieldset.value_at(applied, path)


def _without_owner(value: Any, stated: Any, owners: Fields, structure: Fields, above: Path = ()) -> Iterator[Path]:
    for key, below in fieldset.children(value, structure):
        path, mine, inner = (*above, key), owners.get(key), structure.get(key) or {}
        there = fieldset.value_at(stated, (key,))
        if mine is not None and not mine:
            # Owned as a whole: anything in it beyond the declared value was written by somebody else.
            yield from _beyond(below, there, path)
        elif isinstance(below, Mapping) and below and (key.startswith("f:") or key in structure):
            # Checked field by field, because some may be defaults.
            yield from _without_owner(below, there, mine or {}, inner, path)
        elif isinstance(below, list) and set(inner) - {fieldset.SELF}:
            yield from _without_owner(below, there, mine or {}, inner, path)
        elif mine is None and below not in (None, "", [], {}):
            yield path


def _beyond(value: Any, stated: Any, above: Path) -> Iterator[Path]:
    """The paths of a value that go beyond the declared value."""
    if isinstance(value, Mapping) and isinstance(stated, Mapping):
        for name, below in value.items():
            path = (*above, f"f:{name}")
            if name in stated:
                yield from _beyond(below, stated[name], path)
            elif below not in (None, "", [], {}):
                yield path
    elif isinstance(value, list) and isinstance(stated, list):
        if len(value) > len(stated):
            yield above
        elif len(value) == len(stated):
            for index, pair in enumerate(zip(value, stated, strict=True)):
                yield from _beyond(*pair, (*above, f"i:{index}"))
