"""Pull secrets are made, and given a new value, only where no workload reads them.

Kubelets use them (`imagePullSecrets`). A pod may name a Secret before it exists, and is given it as soon as it does; an
admission policy refuses such pods of deployers, but not those from before the policy.
"""

from __future__ import annotations

import asyncio
from typing import Any

from wecityctl.kube.errors import Forbidden, KindNotFound, NotFound
from wecityctl.model.registries import POD_KINDS, PULL_SECRET_PREFIX, pod_spec, secrets_read
from wecityctl.provider import state as states
from wecityctl.provider.adoption import RefusedError
from wecityctl.provider.instance import Instance

_TYPE = "kubernetes.io/dockerconfigjson"
_ENDED = ("Succeeded", "Failed")


async def require_unread(provider: Instance, body: dict[str, Any]) -> None:
    """Raise `RefusedError` if a workload reads the pull secret `body`. Does nothing for other objects.

    Kinds that the run may not list are left out.
    """
    name, place = states.name_of(body), states.namespace_of(body) or provider.default_namespace
    if body.get("kind") != "Secret" or body.get("type") != _TYPE or not name.startswith(PULL_SECRET_PREFIX):
        return
    found = await asyncio.gather(*(_listed(provider, version, kind, place) for version, kind in POD_KINDS))
    readers = [
        f"{kind} {states.name_of(item)}"
        for (_, kind), items in zip(POD_KINDS, found, strict=True)
        for item in items
        if not (kind == "Pod" and (item.get("status") or {}).get("phase") in _ENDED)
        and name in secrets_read(pod_spec({"kind": kind, **item}) or {})
    ]
    if readers:
        raise RefusedError(
            f"Secret {place}/{name} is left as it is: workloads there would read the registry's credential",
            details=", ".join(sorted(readers)),
            resolution="delete them, or take the volume or variable away; only kubelets use it, by imagePullSecrets",
        )


async def _listed(provider: Instance, version: str, kind: str, place: str) -> list[dict[str, Any]]:
    try:
        rt = await provider.client.resource(version, kind)
        return list(await provider.cancellation.run(provider.client.list(rt, place)))
    except (KindNotFound, NotFound, Forbidden):
        return []
