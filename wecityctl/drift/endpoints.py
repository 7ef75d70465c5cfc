"""Tells endpoints that the cluster's controllers work out from a Service: others lead its traffic elsewhere.

Pure. Anybody may name a Service as owner, or copy its name and labels; a controller undoes that only where it keeps the
endpoints itself: those of a Service that selects pods, or copies of declared Endpoints of one that does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from wecityctl.drift import classify
from wecityctl.kube.resource import Object

_SERVICE: Final = "kubernetes.io/service-name"
_MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
_CONTROLLER: Final = "endpointslice-controller.k8s.io"
_MIRROR: Final = "endpointslicemirroring-controller.k8s.io"

# By namespace and name.
Services = Mapping[tuple[str, str], Object]


def are_kept(endpoints: Object, services: Services) -> bool:
    """Whether a controller of the cluster keeps an Endpoints object or an EndpointSlice as it works it out.

    `services` are those of its namespace, at least with their metadata. That the owner which a slice names is there
    and declared is another question.
    """
    meta = endpoints["metadata"]
    labels, namespace = meta.get("labels") or {}, meta.get("namespace") or ""
    if endpoints["kind"] == "Endpoints":
        service = services.get((namespace, meta["name"]))
        return service is not None and _selects(service)
    service = services.get((namespace, str(labels.get(_SERVICE))))
    keeper = labels.get(_MANAGED_BY)
    return service is not None and keeper == (_CONTROLLER if _selects(service) else _MIRROR)


def _selects(service: Object) -> bool:
    """Whether a Service selects pods, by the fields that somebody owns in it."""
    return any("f:selector" in ((item.get("fieldsV1") or {}).get("f:spec") or {}) for item in classify.entries(service))
