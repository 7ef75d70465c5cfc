"""The annotations by which a user controls how the provider handles one object.

The readiness waiter interprets the value of the `wait` annotations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from wecityctl.errors import ConfigurationError
from wecityctl.kube.client import Propagation
from wecityctl.provider.properties import plain

AUTONAMED: Final = "pulumi.com/autonamed"
SKIP_AWAIT: Final = "pulumi.com/skipAwait"
PATCH_FORCE: Final = "pulumi.com/patchForce"
PATCH_FIELD_MANAGER: Final = "pulumi.com/patchFieldManager"
REPLACE_UNREADY: Final = "pulumi.com/replaceUnready"
DELETION_PROPAGATION: Final = "pulumi.com/deletionPropagationPolicy"
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"

# Only these kinds are deleted in the foreground, so that no pod outlives its workload. For other kinds, foreground
# deletion would only wait for the garbage collector, which discovers new custom kinds every 30 s.
_WITH_DEPENDENTS: Final = frozenset(
    {"CronJob", "DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"}
)
_POLICIES: Final[Mapping[str, Propagation]] = {
    "background": "Background",
    "foreground": "Foreground",
    "orphan": "Orphan",
}


def annotation(obj: Mapping[str, Any], name: str) -> str:
    """An annotation's value; empty when there is none or it is not known yet."""
    metadata = plain(obj.get("metadata"))
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    value = annotations.get(name) if isinstance(annotations, dict) else None
    return value if isinstance(value, str) else ""


def is_true(obj: Mapping[str, Any], name: str) -> bool:
    """Whether an annotation is set to "true"."""
    return annotation(obj, name) == "true"


def propagation(inputs: Mapping[str, Any], kind: str) -> Propagation:
    """The deletion propagation policy: the annotation's, otherwise foreground for workloads."""
    wish = annotation(inputs, DELETION_PROPAGATION)
    if not wish:
        return "Foreground" if kind in _WITH_DEPENDENTS else "Background"
    policy = _POLICIES.get(wish.lower())
    if policy is None:
        raise ConfigurationError(
            f"the annotation {DELETION_PROPAGATION} says {wish!r}",
            resolution="use background, foreground or orphan",
        )
    return policy
