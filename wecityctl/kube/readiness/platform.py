"""Readiness of CustomResourceDefinition, APIService and Namespace, and of kinds that are ready at once."""

from __future__ import annotations

from wecityctl.kube.readiness.generic import condition, status_of, told
from wecityctl.kube.readiness.model import READY, Readiness, Related, failed, waiting
from wecityctl.kube.resource import Object


def custom_resource_definition(obj: Object, related: Related) -> Readiness:
    """Ready when its names are accepted and it is established."""
    names = condition(obj, "NamesAccepted")
    if names is not None and names.get("status") == "False":
        return failed(f"its names are not accepted: {told(names)}")
    established = condition(obj, "Established")
    if names is not None and established is not None and established.get("status") == "True":
        return READY
    return waiting("not established yet")


def api_service(obj: Object, related: Related) -> Readiness:
    """Ready when its extension server answers."""
    found = condition(obj, "Available")
    if found is None:
        return waiting("not looked at yet")
    return READY if found.get("status") == "True" else waiting(f"not available: {told(found)}")


def namespace(obj: Object, related: Related) -> Readiness:
    """Ready when active."""
    return READY if status_of(obj).get("phase", "Active") == "Active" else waiting("it is being deleted")


def at_once(obj: Object, related: Related) -> Readiness:
    """Ready as soon as it exists, whatever its status says later."""
    return READY
