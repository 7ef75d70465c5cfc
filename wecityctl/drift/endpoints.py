"""Tells whether endpoints are maintained by the cluster's controllers. Others may redirect a Service's traffic.

Pure. Anybody can set a Service as owner, or copy its name and labels. A controller reverts a change only if it
maintains the endpoints: those of a Service with a selector, or copies of declared Endpoints for one without.
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
    """Whether a controller of the cluster maintains an Endpoints object or an EndpointSlice.

    `services` are those of its namespace, with at least their metadata. Does not check whether the owner that a slice
    names exists and is declared.
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
    """Whether a Service has a selector, according to the owners of its fields."""
    return any("f:selector" in ((item.get("fieldsV1") or {}).get("f:spec") or {}) for item in classify.entries(service))
