"""Handles a cluster that was replaced by a new one: drops the old cluster's resources from the state, or refuses the
run.

If wecityctl created the cluster (an embedded cloud, or one of a landing zone), the old one is gone and its objects
cannot be deleted, so they are dropped. If a context leads to another cluster than before, that is most likely a
mistake: the run is refused until the user confirms the new cluster.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

from wecityctl.engine.context.context import Context
from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.checkpoint import Deployment, StackState
from wecityctl.engine.state.edit import unlinked
from wecityctl.errors import ConfigurationError
from wecityctl.inputs import Cluster
from wecityctl.model.events import Diagnostic, Emit
from wecityctl.model.stacknames import StackName
from wecityctl.model.words import counted
from wecityctl.plan import Stack


def require_same_clusters(context: Context) -> None:
    """Raise `ConfigurationError` if a cluster that wecityctl did not create differs from the one in the states."""
    for name, stack in context.stacks.items():
        cluster, state = context.clusters.get(stack.cloud), context.state(name)
        if cluster is None or state is None or stack.cloud in context.options.new_clusters:
            continue
        if context.plan.city.cloud(stack.cloud).provider != "kubernetes":
            continue
        for resource in state.resources:
            known = resource.inputs.get("clusterIdentifier") if resource.is_provider else None
            if isinstance(known, str) and known and known not in _own(context, stack, cluster):
                raise ConfigurationError(
                    f"cloud {stack.cloud}: its context {cluster.context!r} leads to another cluster than the one that "
                    "holds the city",
                    details=f"kube-system there is {cluster.identifier}, the state of {name} knows {known}",
                    resolution="name the right context; if the old cluster is given up, add "
                    f"--new-cluster {stack.cloud}: what is on it is forgotten, not deleted, and all is made on the new",
                )


def forget_old_clusters(context: Context, emit: Emit) -> None:
    """Drop the resources of replaced clusters from the states."""
    for name in context.stacks.keys() - context.options.given:
        forget_old_cluster(context, name, emit)


def forget_old_cluster(context: Context, name: str, emit: Emit) -> None:
    """Drop from a stack's state the resources of another cluster than its cloud's current one, if
    that one is given up.
    """
    stack = context.stacks[name]
    cluster, state = context.clusters.get(stack.cloud), context.state(name)
    if cluster is None or state is None or not _is_given_up(context, stack):
        return
    count = _forget(context.backend, state, _own(context, stack, cluster))
    if count:
        context.reread(name)
        text = f"cloud {stack.cloud} has a new cluster: {counted(count, 'resource')} of the old one forgotten"
        emit(Diagnostic(name, "warning", text))


def _own(context: Context, stack: Stack, cluster: Cluster) -> frozenset[str]:
    """Return the identifiers of the clusters on which the stack may have resources.

    A stack with a cloud in its name has them on that cloud. Another one, such as the entry, may have moved from any
    cloud of the city: then its run makes its resources on the new cloud and deletes those on the old one.
    """
    if StackName.parse(stack.name).cloud:
        return frozenset({cluster.identifier})
    return frozenset(item.identifier for item in (*context.clusters.values(), *context.stopped.values(), cluster))


def _is_given_up(context: Context, stack: Stack) -> bool:
    cloud = context.plan.city.cloud(stack.cloud)
    return cloud.provider == "local" or cloud.has_landing_zone or cloud.name in context.options.new_clusters


def _forget(backend: Backend, state: StackState, own: Collection[str]) -> int:
    if state.deployment is None:
        return 0
    kept, count = without_other_clusters(state.deployment, own)
    if count:
        backend.store.write(state.stack, kept)
    return count


def without_other_clusters(deployment: Deployment, own: Collection[str]) -> tuple[Deployment, int]:
    """Return the deployment without the providers of clusters other than `own` and their resources, and the number of
    resources dropped.

    An unfinished replacement leaves the old and the new resource under one URN; only the provider's id tells them
    apart.
    """
    done = copy.deepcopy(deployment)
    resources = done.get("resources") or []
    providers = {_reference(item): _is_of_another(item, own) for item in resources if _is_provider(item)}
    # A failed destroy on the old cluster may have left objects whose provider is gone.
    known = {reference for reference, other in providers.items() if not other}
    kept = [
        item
        for item in resources
        if (_reference(item) if _is_provider(item) else item.get("provider") or "") in known | {""}
    ]
    if len(kept) == len(resources):
        return done, 0
    names = {item["urn"] for item in kept}
    done["resources"] = [unlinked(item, names) for item in kept]
    done["pending_operations"] = [
        item for item in done.get("pending_operations") or [] if item["resource"].get("provider") in known
    ]
    (done.get("metadata") or {}).pop("integrity_error", None)
    return done, len(resources) - len(kept)


def _is_provider(item: Mapping[str, Any]) -> bool:
    return str(item.get("type") or "").startswith("pulumi:providers:")


def _reference(item: Mapping[str, Any]) -> str:
    return f"{item['urn']}::{item.get('id')}"


def _is_of_another(item: Mapping[str, Any], own: Collection[str]) -> bool:
    known = (item.get("inputs") or {}).get("clusterIdentifier")
    return isinstance(known, str) and bool(known) and known not in own
