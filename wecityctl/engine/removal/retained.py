"""Marks objects that outlive their stack, finds them on a cluster, and puts them back into a deployment.

A mark is a pair of annotations: the resource's URN and its record. An object that is in the state again is managed by
either Kubernetes plug-in; without that, the official one would refuse to create an existing object.
"""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wecityctl.engine.cluster.query import ask
from wecityctl.engine.removal.marks import Found, Retained, judge, read
from wecityctl.engine.sdk.resource_types import NAMESPACE
from wecityctl.engine.secrets.crypto import has_secrets
from wecityctl.engine.state.checkpoint import KUBERNETES_PROVIDER, ROOT_TYPE, Deployment, StackState
from wecityctl.inputs import Cluster
from wecityctl.model.naming import CITY_LABEL, PROJECT, RETAINED_FOR, RETAINED_RECORD
from wecityctl.model.security import CLOSING_KINDS
from wecityctl.provider.state import without_own_record

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient

_MANAGER = "wecityctl"
# Kinds that `destroy` may retain. Inside a retained namespace, security objects that restrict access are retained too.
_KINDS = (("v1", "Namespace"), ("v1", "PersistentVolume"), ("v1", "PersistentVolumeClaim"))


def mark(deployment: Deployment, cluster: Cluster) -> None:
    """Mark the live objects of all resources that the engine will retain when it deletes them from the state.

    Skips objects that are gone. Raises the Kubernetes client's errors.
    """
    kept = [
        item
        for item in deployment.get("resources") or ()
        if item.get("retainOnDelete") and str(item.get("type", "")).startswith("kubernetes:") and item.get("id")
    ]
    if kept:
        ask(cluster, lambda client: _annotate(client, {_place(item): _annotations(item) for item in kept}))


def unmark(found: Iterable[Retained], cluster: Cluster) -> None:
    """Remove the marks of objects that are in a state again; namespaces last, because the other objects are found by
    them.
    """
    cleared = dict.fromkeys((RETAINED_FOR, RETAINED_RECORD))
    ordered = sorted(found, key=lambda item: item.live["kind"] == "Namespace")
    places = {(str(item.live["apiVersion"]), str(item.live["kind"]), item.id): cleared for item in ordered}
    if places:
        ask(cluster, lambda client: _annotate(client, places))


def marked_at(live: Mapping[str, Any]) -> str:
    """When the object was marked, in RFC 3339; empty if that is not known."""
    entries = (live.get("metadata") or {}).get("managedFields") or ()
    mark = f"f:{RETAINED_FOR}"
    times = [
        str(entry.get("time") or "")
        for entry in entries
        if entry.get("manager") == _MANAGER and mark in json.dumps(entry.get("fieldsV1") or {})
    ]
    return max(times, default="")


def find(cluster: Cluster, city: str, spaces: Callable[[], Collection[str]]) -> Found:
    """Return the city's marked objects on a cluster. Objects without a record are left out.

    `spaces` returns the namespaces in the city's states there. Raises the Kubernetes client's errors.
    """

    async def look(client: KubeClient) -> list[Retained]:
        from wecityctl.kube.errors import Forbidden

        async def those(kinds: Iterable[tuple[str, str]]) -> list[Retained]:
            found: list[Retained] = []
            for api_version, kind in kinds:
                served = await client.resource(api_version, kind)
                try:
                    items = await client.list(served, label_selector=f"{CITY_LABEL}={city}")
                except Forbidden:
                    continue
                found += [item for live in items if (item := read(live)) is not None]
            return found

        found = await those(_KINDS)
        if any(item.live["kind"] == "Namespace" for item in found):
            found += await those(CLOSING_KINDS)
        return found

    return judge(ask(cluster, look), city, spaces)


def namespaces_of(states: Iterable[StackState], cluster: Cluster) -> frozenset[str]:
    """Return the namespaces that states have on a cluster."""
    return frozenset(
        item.id
        for state in states
        if state.deployment is not None and _provider_in(state.deployment.get("resources") or (), cluster)
        for item in state.resources
        if item.type == NAMESPACE and item.id
    )


def restored(
    deployment: Deployment | None, stack: str, found: Sequence[Retained], cluster: Cluster, version: str
) -> Deployment:
    """Return the stack's deployment including the retained objects, which stay marked as `retainOnDelete`.

    `version` is that of the Kubernetes provider's package.
    """
    done = copy.deepcopy(deployment) if deployment else {}
    resources: list[dict[str, Any]] = done.setdefault("resources", [])
    root = next((item["urn"] for item in resources if item.get("type") == ROOT_TYPE), "")
    if not root:
        root = f"urn:pulumi:{stack}::{PROJECT}::{ROOT_TYPE}::{PROJECT}-{stack}"
        resources.insert(0, {"urn": root, "custom": False, "type": ROOT_TYPE})
    provider = _provider_in(resources, cluster)
    if not provider:
        inputs = {"clusterIdentifier": cluster.identifier, "version": version}
        made = {
            "urn": f"urn:pulumi:{stack}::{PROJECT}::{KUBERNETES_PROVIDER}::cluster",
            "custom": True,
            "id": str(uuid.uuid4()),
            "type": KUBERNETES_PROVIDER,
            "inputs": inputs,
            "outputs": inputs,
            "parent": root,
        }
        resources.append(made)
        provider = f"{made['urn']}::{made['id']}"
    resources += [_resource(item, root, provider) for item in found]
    return done


def _resource(item: Retained, root: str, provider: str) -> dict[str, Any]:
    inputs = dict(item.inputs)
    outputs = {
        **without_own_record(dict(item.live), item.manager),
        "__inputs": inputs,
        "__initialApiVersion": str(inputs.get("apiVersion", "")),
        "__fieldManager": item.manager,
    }
    return {
        "urn": item.urn,
        "custom": True,
        "id": item.id,
        "type": item.type,
        "inputs": inputs,
        "outputs": outputs,
        "parent": root,
        "provider": provider,
        "retainOnDelete": True,
    }


def _provider_in(resources: Iterable[Mapping[str, Any]], cluster: Cluster) -> str:
    for item in resources:
        known = (item.get("inputs") or {}).get("clusterIdentifier")
        if item.get("type") == KUBERNETES_PROVIDER and known == cluster.identifier and not item.get("delete"):
            return f"{item['urn']}::{item.get('id')}"
    return ""


def _annotations(item: Mapping[str, Any]) -> dict[str, str]:
    inputs, manager = item.get("inputs") or {}, (item.get("outputs") or {}).get("__fieldManager")
    record = {"type": item["type"], "inputs": inputs, "fieldManager": manager if isinstance(manager, str) else ""}
    if has_secrets(inputs):
        return {RETAINED_FOR: item["urn"]}
    return {RETAINED_FOR: item["urn"], RETAINED_RECORD: json.dumps(record, separators=(",", ":"), sort_keys=True)}


def _place(item: Mapping[str, Any]) -> tuple[str, str, str]:
    inputs = item.get("inputs") or {}
    return str(inputs.get("apiVersion", "")), str(inputs.get("kind", "")), str(item["id"])


async def _annotate(client: KubeClient, places: Mapping[tuple[str, str, str], Mapping[str, str | None]]) -> None:
    from wecityctl.kube.errors import KindNotFound, NotFound

    for (api_version, kind, identity), wanted in places.items():
        namespace, _, name = identity.rpartition("/")
        try:
            served = await client.resource(api_version, kind)
            patch = {"metadata": {"annotations": dict(wanted)}}
            await client.patch(served, name, namespace or None, patch, field_manager=_MANAGER)
        except (KindNotFound, NotFound):
            continue
