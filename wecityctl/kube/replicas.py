"""Ownership of a workload's `spec.replicas` on the API server, and its transfer to another field manager.

The autoscaler sets `spec.replicas` through the scale subresource and owns it from then on. A manager that then applies
the field gets a conflict. A manager that stops applying it while it is the only owner resets it to 1. To transfer it,
the former owner's entry for the field is removed from `metadata.managedFields`: the number stays, and the next manager
that sets the field owns it. A field without an owner stays without one when an autoscaler sets it, as in a workload
whose manifest never set a number. Source: "Transferring ownership" of Server-Side Apply in the Kubernetes
documentation. The write is that of client-go's csaupgrade, conditional on the resource version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from wecityctl.kube.client import KubeClient
from wecityctl.kube.errors import Conflict
from wecityctl.kube.resource import Object, ResourceType, meta

# The HorizontalPodAutoscaler's controller is part of kube-controller-manager.
AUTOSCALER, _SCALE = "kube-controller-manager", "scale"
_FIELD = ".spec.replicas"
_MANAGER = "wecityctl"
_ATTEMPTS = 8

Owner = Mapping[str, Any]


def is_autoscaler(owner: Owner) -> bool:
    """Whether an entry of `metadata.managedFields` is the autoscaler's."""
    return owner.get("manager") == AUTOSCALER and owner.get("subresource") == _SCALE


def is_autoscalers_alone(conflict: Conflict) -> bool:
    """Whether an apply conflicts only with the replica count that the autoscaler has set."""
    found = conflict.conflicts
    return bool(found) and all(
        each.field == _FIELD and each.manager == AUTOSCALER and f'subresource "{_SCALE}"' in each.message
        for each in found
    )


def without_owner(live: Object, gives_up: Callable[[Owner], bool]) -> list[dict[str, Any]] | None:
    """The managed fields after the owners selected by `gives_up` have lost `spec.replicas`; None if none owns it."""
    before = meta(live).get("managedFields") or []
    after = [_without_replicas(entry) if gives_up(entry) else entry for entry in before]
    # An empty field set would mean the whole object.
    return [entry for entry in after if entry.get("fieldsV1")] if after != before else None


def _without_replicas(entry: dict[str, Any]) -> dict[str, Any]:
    fields = entry.get("fieldsV1") or {}
    spec = {key: value for key, value in (fields.get("f:spec") or {}).items() if key != "f:replicas"}
    rest = {key: value for key, value in fields.items() if key != "f:spec"}
    return {**entry, "fieldsV1": {**rest, "f:spec": spec} if spec else rest}


async def disown_replicas(
    client: KubeClient, rt: ResourceType, name: str, namespace: str, gives_up: Callable[[Owner], bool]
) -> int | None:
    """Remove `spec.replicas` from the owners that `gives_up` selects; the number stays as it is.

    Returns the number, or None when none of them owned it. Raises the client's errors.
    """
    for attempt in range(_ATTEMPTS):
        live = await client.get(rt, name, namespace)
        entries = without_owner(live, gives_up)
        if entries is None:
            return None
        patch = [
            {"op": "replace", "path": "/metadata/managedFields", "value": entries},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": meta(live)["resourceVersion"]},
        ]
        try:
            await client.patch(rt, name, namespace, patch, field_manager=_MANAGER, patch_type="json")
        except Conflict:
            if attempt == _ATTEMPTS - 1:
                raise
            # The workload's controller has just written the status.
            await asyncio.sleep(0.05 * 2**attempt)
            continue
        return int((live.get("spec") or {}).get("replicas", 1))
    return None
