"""Decides what destroying a stack deletes and what it retains, for `destroy` and for its preview.

Without --delete-data these are retained: volumes, the namespaces that contain some, what programs retain, and the
objects that restrict access to a retained namespace. Objects that allow access are deleted: network policies with
rules, roles and their bindings.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from wecityctl.engine.cluster.query import ask
from wecityctl.engine.context.landing_outputs import DATA, holds_data
from wecityctl.engine.removal.marks import Found, Retained
from wecityctl.engine.removal.retained import restored
from wecityctl.engine.sdk.resource_types import NAMESPACE, VOLUME, VOLUME_CLAIM
from wecityctl.engine.state.checkpoint import ROOT_TYPE, Deployment, StackState, StateResource, parse_state
from wecityctl.inputs import Cluster
from wecityctl.model.events import KeptObject, ResourceChange, StackResult
from wecityctl.model.security import only_closes
from wecityctl.model.stacknames import LAYERS, StackName

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient

_MOST_NAMED: Final = 3
Claims = Mapping[str, Sequence[str]]


def left_alone(stack: str, state: StackState | None, *, delete_data: bool) -> str:
    """Return why a `destroy` does not touch a stack; empty if it does."""
    if state is None:
        return "does not exist"
    layer = LAYERS.get(StackName.parse(stack).layer)
    if delete_data or layer is None or not layer.keeps_data:
        return ""
    if not layer.has_program:
        # The secret store has the passwords for the data on retained volumes.
        return "kept with the data; --delete-data deletes it"
    return f"kept with its data ({DATA}); --delete-data deletes it" if holds_data(state) else ""


def untouched(stack: str, why: str, kept: tuple[KeptObject, ...]) -> StackResult:
    """Return the result of a stack that is not touched; `kept` are the objects retained by an earlier run."""
    return StackResult(stack, "skipped", reason="nothing is left but what was kept" if kept else why, kept=kept)


def is_secrets(stack: str) -> bool:
    """Whether a stack is the secret store, which has no resources; decided by its name."""
    return StackName.parse(stack).layer == "secrets"


def kept_objects(state: StackState, cluster: Cluster | None) -> tuple[KeptObject, ...]:
    """Return the objects of a stack that a `destroy` without --delete-data retains, with the reasons.

    Asks the cluster which namespaces contain volume claims; without a cluster every namespace is retained. Raises the
    Kubernetes client's errors.
    """
    retained = {item["urn"] for item in (state.deployment or {}).get("resources") or () if item.get("retainOnDelete")}
    namespaces = {_place(item)[1] for item in state.resources if item.type == NAMESPACE}
    claims = _claims(namespaces, cluster) if namespaces else {}
    reasons: dict[str, str] = {}
    held: set[str] = set()
    for item in state.resources:
        if item.type in (VOLUME_CLAIM, VOLUME):
            reasons[item.urn] = "a volume"
        elif item.type == NAMESPACE and _place(item)[1] in claims:
            reasons[item.urn] = f"holds {_named(claims[_place(item)[1]])}"
        elif item.urn in retained:
            reasons[item.urn] = "kept by its program whenever it leaves the city"
        if item.type == NAMESPACE and item.urn in reasons:
            held.add(_place(item)[1])
    for item in state.resources:
        if _place(item)[0] in held and _closes(item):
            reasons[item.urn] = f"closes the namespace {_place(item)[0]}"
    return tuple(
        KeptObject(item.urn, item.type, "/".join(filter(None, _place(item))) or item.name, reasons[item.urn])
        for item in state.resources
        if item.urn in reasons
    )


def namespaces(state: StackState, kept: Iterable[KeptObject] = ()) -> tuple[frozenset[str], frozenset[str]]:
    """Return the namespaces of a stack that a `destroy` deletes, and those that it retains."""
    stays = {item.urn for item in kept}
    places = {item.urn: _place(item)[1] for item in state.resources if item.type == NAMESPACE}
    return (
        frozenset(name for urn, name in places.items() if urn not in stays),
        frozenset(name for urn, name in places.items() if urn in stays),
    )


def deletions(state: StackState, kept: Iterable[KeptObject] = ()) -> tuple[ResourceChange, ...]:
    """Return the deletions of a `destroy` that retains the objects `kept`, in order."""
    stays = {item.urn for item in kept}
    return tuple(
        ResourceChange(item.urn, item.type, item.name, "delete")
        for item in reversed(state.resources)
        if item.type != ROOT_TYPE and not item.is_provider and item.urn not in stays
    )


def with_kept(stack: str, state: StackState | None, found: Sequence[Retained], cluster: Cluster) -> StackState | None:
    """Return the stack's state including the objects in `found` that it lacks."""
    known = state.urns if state is not None else frozenset()
    lacking = [item for item in found if item.stack == stack and item.urn not in known]
    if not lacking:
        return state
    deployment = restored(state.deployment if state is not None else None, stack, lacking, cluster, "")
    return parse_state(stack, deployment, None, b"")


def kept_of(found: Found, states: Mapping[str, StackState], cluster: Cluster) -> dict[str, StackState]:
    """Return the states of stacks that lack retained objects, including those objects. `states` are the city's."""
    wholes = {item.stack: with_kept(item.stack, states.get(item.stack), found.kept, cluster) for item in found.kept}
    return {stack: whole for stack, whole in wholes.items() if whole is not None and whole is not states.get(stack)}


def retained(deployment: Deployment, urns: Iterable[str], *, retain: bool = True) -> Deployment:
    """Return the deployment with `retainOnDelete` set for the resources, or cleared if `retain` is false."""
    wanted = set(urns)
    done = copy.deepcopy(deployment)
    for item in done.get("resources") or ():
        if item["urn"] in wanted:
            item["retainOnDelete"] = retain
    return done


def released(deployment: Deployment) -> Deployment:
    """Return the deployment with nothing retained, for a `destroy` with --delete-data."""
    return retained(deployment, (item["urn"] for item in deployment.get("resources") or ()), retain=False)


def _closes(item: StateResource) -> bool:
    return only_closes(str(item.inputs.get("apiVersion")), str(item.inputs.get("kind")), item.inputs)


def _place(item: StateResource) -> tuple[str, str]:
    """Return the namespace (empty for none) and the name of a resource's object."""
    meta: Any = item.outputs.get("metadata") or item.inputs.get("metadata") or {}
    if not isinstance(meta, Mapping):
        return "", ""
    return str(meta.get("namespace") or ""), str(meta.get("name") or "")


def _named(claims: Sequence[str]) -> str:
    if not claims:
        return "volumes perhaps: its cluster cannot be asked"
    more = f" and {len(claims) - _MOST_NAMED} more" if len(claims) > _MOST_NAMED else ""
    return f"the volume claim{'s' if len(claims) > 1 else ''} {', '.join(claims[:_MOST_NAMED])}{more}"


def _claims(namespaces: Iterable[str], cluster: Cluster | None) -> Claims:
    """Return the names of the volume claims by namespace, including those that are in no state."""
    if cluster is None:
        # Nobody can be asked, so all namespaces are retained to be safe.
        return dict.fromkeys(namespaces, ())

    async def look(client: KubeClient) -> Claims:
        served = await client.resource("v1", "PersistentVolumeClaim")
        found: dict[str, list[str]] = {}
        for item in await client.list(served, metadata_only=True):
            found.setdefault(item["metadata"]["namespace"], []).append(item["metadata"]["name"])
        return {name: sorted(claims) for name, claims in found.items()}

    return ask(cluster, look)
