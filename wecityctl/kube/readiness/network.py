"""Readiness of Services and Ingresses.

A Service with a selector waits for a ready endpoint, as in the official plug-in. Exceptions are headless and
ExternalName Services and those whose workloads are all scaled to zero. An Ingress waits for an address if its
IngressClass exists. Without one it never gets an address, and is ready when the Services that it refers to exist.
"""

from __future__ import annotations

from typing import Any

from wecityctl.kube.readiness.certain import is_scaled_to_zero
from wecityctl.kube.readiness.generic import spec_of, status_of
from wecityctl.kube.readiness.model import READY, Readiness, Related, waiting
from wecityctl.kube.readiness.pods import problems
from wecityctl.kube.resource import Object, meta
from wecityctl.model.words import counted, noun_for


def needs_endpoints(obj: Object) -> bool:
    """Whether the Service is expected to have pods."""
    spec = spec_of(obj)
    return bool(spec.get("selector")) and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName"


def service(obj: Object, related: Related) -> Readiness:
    """Ready with a ready endpoint, and for a load balancer an address."""
    if spec_of(obj).get("type") == "LoadBalancer" and not _addresses(obj):
        return waiting("its load balancer has no address yet")
    if not needs_endpoints(obj) or related.endpoints_hidden or _is_to_have_none(related):
        return READY
    if not _has_ready_endpoint(related):
        return waiting(_no_endpoint(obj, related))
    return READY


def ingress(obj: Object, related: Related) -> Readiness:
    """Ready with an address, or without an IngressClass, once the Services exist; see the module."""
    if _addresses(obj):
        return READY
    if related.backends is None or related.ingress_class_served is None:
        return waiting("it has no address yet")
    missing = sorted(backend_services(obj) - related.backends)
    if missing:
        return waiting(f"{noun_for(len(missing), 'Service')} {', '.join(missing)} that it points to: not found")
    if related.ingress_class_served:
        return waiting("its ingress controller has given it no address yet")
    return READY


def backend_services(obj: Object) -> frozenset[str]:
    """The names of the Services that an Ingress refers to."""
    spec = spec_of(obj)
    backends: list[dict[str, Any]] = [spec.get("defaultBackend") or {}]
    for rule in spec.get("rules") or ():
        backends += [path.get("backend") or {} for path in (rule.get("http") or {}).get("paths") or ()]
    names = ((backend.get("service") or {}).get("name") for backend in backends)
    return frozenset(str(name) for name in names if name)


def _addresses(obj: Object) -> list[Any]:
    return (status_of(obj).get("loadBalancer") or {}).get("ingress") or []


def _has_ready_endpoint(related: Related) -> bool:
    for piece in related.endpoint_slices or ():
        for endpoint in piece.get("endpoints") or ():
            # According to the API, a missing condition counts as ready.
            if endpoint.get("addresses") and (endpoint.get("conditions") or {}).get("ready") is not False:
                return True
    return False


def _is_to_have_none(related: Related) -> bool:
    """Whether the Service has no pods by design: it has workloads, and each is scaled to zero."""
    if not related.workloads or not all(is_scaled_to_zero(each) for each in related.workloads):
        return False
    return all(meta(pod).get("deletionTimestamp") for pod in related.pods or ())


def _no_endpoint(obj: Object, related: Related) -> str:
    selector = ",".join(f"{k}={v}" for k, v in sorted((spec_of(obj).get("selector") or {}).items()))
    if related.pods is None:
        return f"no ready pod behind it yet ({selector})"
    if not related.pods:
        return f"no pod matches its selector {selector}"
    found = problems(related.pods, limit=1)
    return f"none of {counted(len(related.pods), 'pod')} is ready" + (f": {found[0]}" if found else "")
