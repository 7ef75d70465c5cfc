"""The rule for kinds without one of their own: conditions and observedGeneration, by the kstatus conventions.

Source: kstatus (sigs.k8s.io/cli-utils, pkg/kstatus). An object without conditions is ready as soon as it exists.
"""

from __future__ import annotations

from typing import Any

from wecityctl.kube.readiness.model import READY, Readiness, Related, failed, waiting
from wecityctl.kube.resource import Object, meta

# Condition types that mean success, the most significant first.
_POSITIVE = ("Ready", "Available", "Established")


def status_of(obj: Object) -> dict[str, Any]:
    """The status; an empty dict when there is none."""
    found = obj.get("status")
    return found if isinstance(found, dict) else {}


def spec_of(obj: Object) -> dict[str, Any]:
    """The spec; an empty dict when there is none."""
    found = obj.get("spec")
    return found if isinstance(found, dict) else {}


def condition(obj: Object, kind: str) -> dict[str, Any] | None:
    """The condition of that type."""
    for found in status_of(obj).get("conditions") or ():
        if isinstance(found, dict) and found.get("type") == kind:
            return found
    return None


def told(found: dict[str, Any]) -> str:
    """A condition's message, or else its reason, in one line."""
    return one_line(str(found.get("message") or found.get("reason") or ""))


def one_line(text: str, limit: int = 400) -> str:
    """Text without line breaks, truncated to `limit` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else f"{flat[: limit - 1]}…"


def unobserved(obj: Object, *, required: bool = False) -> Readiness | None:
    """Waiting if the controller has not observed the latest spec; `required` for kinds that always report it."""
    generation = meta(obj).get("generation")
    observed = status_of(obj).get("observedGeneration")
    if observed is None and not (required and generation):
        return None
    if isinstance(generation, int) and (observed if isinstance(observed, int) else 0) < generation:
        return waiting("its controller has not looked at it yet")
    return None


def by_conditions(obj: Object, related: Related) -> Readiness:
    """The rule for custom resources, and for built-in kinds without a rule."""
    behind = unobserved(obj)
    if behind is not None:
        return behind
    stalled = condition(obj, "Stalled")
    if stalled is not None and stalled.get("status") == "True":
        return failed(told(stalled) or "stalled")
    busy = condition(obj, "Reconciling")
    if busy is not None and busy.get("status") == "True":
        return waiting(told(busy) or "reconciling")
    for kind in _POSITIVE:
        found = condition(obj, kind)
        if found is not None:
            if found.get("status") == "True":
                return READY
            return waiting(f"not {kind.lower()}: {told(found)}" if told(found) else f"not {kind.lower()}")
    return READY
