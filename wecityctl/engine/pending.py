"""Resolves what a killed engine was doing, so that the next run owns what exists and forgets what does not.

The engine keeps only pending creations; a creation that reached the cluster becomes a resource of the state, marked
unfinished so that the engine looks at it again, and one that did not is dropped. Other operations repeat themselves.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from wecityctl.engine.backend import Backend
from wecityctl.engine.integrity import with_lost_providers
from wecityctl.engine.live import ask
from wecityctl.engine.state import ROOT_TYPE, Deployment, StackState
from wecityctl.inputs import Cluster

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient

UNFINISHED = "the run that created it was interrupted"
_MANAGERS = "pulumi-kubernetes-"


def resolve_pending(backend: Backend, state: StackState, cluster: Cluster | None) -> tuple[str, ...]:
    """Rewrite the stack's state where operations are pending; what was done, a line each.

    Call with the stack's locks free. Raises the Kubernetes client's errors when the cluster cannot be asked.
    """
    if not state.pending or state.deployment is None:
        return ()
    operations = state.deployment.get("pending_operations") or []
    known = {item["urn"] for item in state.deployment.get("resources") or () if not item.get("delete")}
    creations = [
        item["resource"]
        for item in operations
        if item["type"] in ("creating", "importing") and item["resource"]["urn"] not in known
    ]
    wanted = [item for item in creations if _reference(item) is not None]
    found = _which_exist(wanted, cluster)
    deployment = adopt(state.deployment, found)
    backend.store.write(state.stack, deployment)
    adopted = {item["urn"] for item, _ in found}
    return tuple(
        f"{item['resource']['urn'].rpartition('::')[2]}: interrupted while {item['type']}, "
        + ("found on the cluster" if item["resource"]["urn"] in adopted else "tried again")
        for item in operations
    )


def restore_providers(backend: Backend, state: StackState, before: StackState | None = None) -> int:
    """Put back the providers that the stack's resources name and that a failed run has taken from its state.

    They come from `before`, the state before that run, else from the engine's own copies. Returns how many those were.
    Call with the stack's locks free.
    """
    if state.deployment is None:
        return 0
    known = [before.deployment] if before is not None and before.deployment is not None else []
    whole, count = with_lost_providers(state.deployment, chain(known, backend.store.earlier(state.stack)))
    if count:
        (whole.get("metadata") or {}).pop("integrity_error", None)
        backend.store.write(state.stack, whole)
    return count


def adopt(deployment: Deployment, found: Sequence[tuple[Mapping[str, Any], str]]) -> Deployment:
    """The deployment with no operation pending and the found creations (resource, id) among its resources."""
    done = copy.deepcopy(deployment)
    done.pop("pending_operations", None)
    resources = done.setdefault("resources", [])
    urns = {item["urn"] for item in resources}
    root = next((item["urn"] for item in resources if item.get("type") == ROOT_TYPE), "")
    for item, identity in found:
        resource = dict(copy.deepcopy(item))
        resource["id"] = identity
        resource["outputs"] = resource.get("inputs") or {}
        # A resource with such an error is updated by the next run even when nothing else differs.
        resource["initErrors"] = [UNFINISHED]
        if resource.get("parent") and resource["parent"] not in urns:
            resource["parent"] = root
        resource["dependencies"] = [urn for urn in resource.get("dependencies") or () if urn in urns]
        resource.pop("propertyDependencies", None)
        resources.append(resource)
        urns.add(resource["urn"])
    return done


def _reference(resource: Mapping[str, Any]) -> tuple[str, str, str, str] | None:
    """apiVersion, kind, namespace and name of a Kubernetes resource in the state."""
    inputs = resource.get("inputs") or {}
    meta = inputs.get("metadata")
    if not str(resource.get("type", "")).startswith("kubernetes:") or not isinstance(meta, Mapping):
        return None
    if not all(isinstance(value, str) for value in (inputs.get("apiVersion"), inputs.get("kind"), meta.get("name"))):
        return None
    return inputs["apiVersion"], inputs["kind"], str(meta.get("namespace") or ""), meta["name"]


def _which_exist(
    resources: Sequence[Mapping[str, Any]], cluster: Cluster | None
) -> list[tuple[Mapping[str, Any], str]]:
    if not resources or cluster is None:
        return []

    async def look(client: KubeClient) -> list[tuple[Mapping[str, Any], str]]:
        from wecityctl.kube.errors import KindNotFound, NotFound

        found: list[tuple[Mapping[str, Any], str]] = []
        for resource in resources:
            reference = _reference(resource)
            assert reference is not None
            api_version, kind, namespace, name = reference
            try:
                served = await client.resource(api_version, kind)
                space = (namespace or client.access.namespace) if served.namespaced else None
                live = await client.get(served, name, space)
            except (KindNotFound, NotFound):
                continue
            if is_ours(live):
                found.append((resource, f"{space}/{name}" if space else name))
        return found

    return ask(cluster, look)


def is_ours(live: Mapping[str, Any]) -> bool:
    """Whether a Kubernetes provider of Pulumi's has applied the object."""
    managed = (live.get("metadata") or {}).get("managedFields") or ()
    return any(
        str(item.get("manager", "")).startswith(_MANAGERS) and item.get("operation") == "Apply" for item in managed
    )
