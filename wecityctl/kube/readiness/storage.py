"""Readiness of PersistentVolumes, PersistentVolumeClaims and ResourceQuotas."""

from __future__ import annotations

from wecityctl.kube.readiness.generic import spec_of, status_of
from wecityctl.kube.readiness.model import READY, Readiness, Related, failed, waiting
from wecityctl.kube.resource import Object


def volume_claim(obj: Object, related: Related) -> Readiness:
    """Ready when bound, or Pending with a class that binds when the first pod uses the claim.

    A class that may not be read may be such a one: then whatever uses the claim is waited for, and not the claim.
    """
    phase = status_of(obj).get("phase")
    if phase == "Bound":
        return READY
    if phase == "Lost":
        return failed("its volume is lost")
    found = related.storage_class
    if related.storage_class_hidden or (found or {}).get("volumeBindingMode") == "WaitForFirstConsumer":
        return READY
    name = spec_of(obj).get("storageClassName")
    if name is None:
        return waiting("not bound: it names no storage class, and the cluster has no default one")
    return waiting(f"not bound to a volume (storage class {name!r})" if name else "not bound to a volume")


def volume(obj: Object, related: Related) -> Readiness:
    """Ready when available or bound."""
    status = status_of(obj)
    phase = status.get("phase")
    if phase in ("Available", "Bound", "Released"):
        return READY
    if phase == "Failed":
        return failed(str(status.get("message") or "its reclamation failed"))
    return waiting("not available yet")


def resource_quota(obj: Object, related: Related) -> Readiness:
    """Ready when the quota controller enforces the limits."""
    if (spec_of(obj).get("hard") or {}) == (status_of(obj).get("hard") or {}):
        return READY
    return waiting("its limits are not in force yet")
