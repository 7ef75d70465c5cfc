"""Fields of an object that nobody is on record for: who wrote them has removed the record. Pure.

Anybody who may change an object may also empty its `metadata.managedFields`. What is then left without an owner is
either what the API server fills in by itself, or somebody's addition. The API server tells the two apart: it fills in
the same for the same object under another name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from wecityctl.drift import classify, controllers, fieldset
from wecityctl.drift.fieldset import Fields, Path

# Never the same in two objects: counted, stamped, or handed out by the API server.
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
    # Where they are not stated they are an autoscaler's; the API server does not always note who scaled.
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
# What the API server fills in where it is left out, of the kinds that stacks make most. Where a field of one of these
# names is as it was when the object was applied, nobody is asked. Source: `defaults.go` of core/v1, apps/v1, batch/v1,
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
    """The fields of `live` that are not stated, that nobody owns and that the API server need not have filled in.

    `applied` is the object as it was when it was last applied. `structure` is any set of its fields: elements of keyed
    lists are told apart by the keys that it uses.
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
    """Those of the doubtful fields that are otherwise in `fresh`, the same object as the API server would make it."""
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
            # Owned as a whole; what is more in it than was stated was written by somebody else.
            yield from _beyond(below, there, path)
        elif isinstance(below, Mapping) and below and (key.startswith("f:") or key in structure):
            # Each field by itself, for some of them may be filled in.
            yield from _without_owner(below, there, mine or {}, inner, path)
        elif isinstance(below, list) and set(inner) - {fieldset.SELF}:
            yield from _without_owner(below, there, mine or {}, inner, path)
        elif mine is None and below not in (None, "", [], {}):
            yield path


def _beyond(value: Any, stated: Any, above: Path) -> Iterator[Path]:
    """What a value has beyond what was stated of it."""
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
