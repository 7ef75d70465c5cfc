"""Resolves the pending operations of a killed engine, so that the next run owns what exists and drops what does not.

The engine records only pending creations. If the object was created, it becomes a resource of the state, marked so that
the engine updates it again. Otherwise the operation is dropped. Other operations are simply repeated by the next run.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from wecityctl.engine.cluster.query import ask
from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.checkpoint import ROOT_TYPE, Deployment, StackState
from wecityctl.engine.state.integrity import with_what_is_lost
from wecityctl.inputs import Cluster
from wecityctl.kube.resource import meta
from wecityctl.provider.adoption import Claimant, city_of, data_owner, is_own, pulumi_managers

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient

UNFINISHED = "the run that created it was interrupted"


@dataclass(frozen=True, slots=True)
class Created:
    """A pending creation whose object exists: the resource in the state, its id, and the live object."""

    resource: Mapping[str, Any]
    id: str
    live: Mapping[str, Any] = field(default_factory=dict)


def resolve_pending(backend: Backend, state: StackState, cluster: Cluster | None) -> tuple[str, ...]:
    """Resolve the stack's pending operations and write its state; return one line per change.

    Call without holding the stack's locks. Raises the Kubernetes client's errors if the cluster cannot be reached.
    """
    if not state.pending or state.deployment is None:
        return ()
    operations = state.deployment.get("pending_operations") or []
    recorded = [item for item in state.deployment.get("resources") or () if not item.get("delete")]
    known = {item["urn"] for item in recorded}
    held = {(item.get("type"), item.get("id")) for item in recorded}
    creations = [
        item["resource"]
        for item in operations
        if item["type"] in ("creating", "importing") and item["resource"]["urn"] not in known
    ]
    wanted = [item for item in creations if _reference(item) is not None]
    # An object that belongs to another resource of the state was not created by this operation.
    found = [item for item in _which_exist(wanted, cluster) if (item.resource.get("type"), item.id) not in held]
    deployment = adopt(state.deployment, found)
    backend.store.write(state.stack, deployment)
    adopted = {item.resource["urn"] for item in found}
    return tuple(
        f"{item['resource']['urn'].rpartition('::')[2]}: interrupted while {item['type']}, "
        + ("found on the cluster" if item["resource"]["urn"] in adopted else "tried again")
        for item in operations
    )


def restore_named(backend: Backend, state: StackState, before: StackState | None = None) -> int:
    """Restore providers and parents that the stack's resources refer to and that a failed run has removed.

    They are taken from `before`, the state before that run, or else from the engine's own backups. Returns the number
    of restored resources. Call without holding the stack's locks.
    """
    if state.deployment is None:
        return 0
    known = [before.deployment] if before is not None and before.deployment is not None else []
    whole, count = with_what_is_lost(state.deployment, chain(known, backend.store.earlier(state.stack)))
    if count:
        (whole.get("metadata") or {}).pop("integrity_error", None)
        backend.store.write(state.stack, whole)
    return count


def adopt(deployment: Deployment, found: Sequence[Created]) -> Deployment:
    """Return the deployment without pending operations and with the found creations as resources."""
    done = copy.deepcopy(deployment)
    done.pop("pending_operations", None)
    resources = done.setdefault("resources", [])
    urns = {item["urn"] for item in resources}
    root = next((item["urn"] for item in resources if item.get("type") == ROOT_TYPE), "")
    for created in found:
        resource = dict(copy.deepcopy(created.resource))
        resource["id"] = created.id
        resource["outputs"] = _outputs(resource.get("inputs") or {}, created.live)
        # The next run updates a resource with such an error even if nothing else differs.
        resource["initErrors"] = [UNFINISHED]
        if resource.get("parent") and resource["parent"] not in urns:
            resource["parent"] = root
        resource["dependencies"] = [urn for urn in resource.get("dependencies") or () if urn in urns]
        resource.pop("propertyDependencies", None)
        resources.append(resource)
        urns.add(resource["urn"])
    return done


def _outputs(inputs: Mapping[str, Any], live: Mapping[str, Any]) -> dict[str, Any]:
    # The minimum that needs no decryption: the field manager and the object's UID.
    outputs = dict(inputs)
    metadata = outputs.get("metadata")
    if isinstance(metadata, Mapping):
        found = {key: meta(live)[key] for key in ("uid", "managedFields") if key in meta(live)}
        outputs["metadata"] = {**metadata, **found}
    managers = pulumi_managers(live)
    return {**outputs, "__fieldManager": managers[-1]} if managers else outputs


def _reference(resource: Mapping[str, Any]) -> tuple[str, str, str, str] | None:
    """Return apiVersion, kind, namespace and name of a Kubernetes resource in the state; `None` if
    they are not known.
    """
    inputs = resource.get("inputs") or {}
    meta = inputs.get("metadata")
    if not str(resource.get("type", "")).startswith("kubernetes:") or not isinstance(meta, Mapping):
        return None
    if not all(isinstance(value, str) for value in (inputs.get("apiVersion"), inputs.get("kind"), meta.get("name"))):
        return None
    return inputs["apiVersion"], inputs["kind"], str(meta.get("namespace") or ""), meta["name"]


def _which_exist(resources: Sequence[Mapping[str, Any]], cluster: Cluster | None) -> list[Created]:
    if not resources or cluster is None:
        return []
    identifier = cluster.identifier

    async def look(client: KubeClient) -> list[Created]:
        from wecityctl.kube.errors import KindNotFound, NotFound

        found: list[Created] = []
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
            if is_own(live, claimant(resource, identifier)):
                found.append(Created(resource, f"{space}/{name}" if space else name, live))
        return found

    return ask(cluster, look)


def claimant(resource: Mapping[str, Any], cluster: str) -> Claimant:
    """Return a resource with a pending creation as a claimant, on the cluster with that identifier."""
    from wecityctl.provider.fieldmanager import derive

    urn = str(resource["urn"])
    inputs = resource.get("inputs") or {}
    return Claimant(urn, derive(urn, cluster), city_of(inputs), pending=True, data_of=data_owner(inputs))
