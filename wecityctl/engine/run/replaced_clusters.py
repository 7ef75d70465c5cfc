"""A cluster that was replaced by another: what the state says of an old one is forgotten, or the run refused.

An embedded cloud made anew and a landing zone's replaced cluster are ours: the old one is gone, nobody can be asked to
delete anything there, so replacing its objects could never succeed. That a context of somebody else's cluster leads
elsewhere today is most likely a mistake: nothing is done until it is said to be meant.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from wecityctl.engine.run.context import Context
from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.checkpoint import Deployment, StackState
from wecityctl.engine.state.edit import unlinked
from wecityctl.errors import ConfigurationError
from wecityctl.model.events import Diagnostic, Emit
from wecityctl.model.words import counted
from wecityctl.plan import Stack


def require_same_clusters(context: Context) -> None:
    """Raise `ConfigurationError` where an adopted cluster is not the one that the states know."""
    for name, stack in context.stacks.items():
        cluster, state = context.clusters.get(stack.cloud), context.state(name)
        if cluster is None or state is None or stack.cloud in context.options.new_clusters:
            continue
        if context.plan.city.cloud(stack.cloud).provider != "kubernetes":
            continue
        for resource in state.resources:
            known = resource.inputs.get("clusterIdentifier") if resource.is_provider else None
            if isinstance(known, str) and known and known != cluster.identifier:
                raise ConfigurationError(
                    f"cloud {stack.cloud}: its context {cluster.context!r} leads to another cluster than the one that "
                    "holds the city",
                    details=f"kube-system there is {cluster.identifier}, the state of {name} knows {known}",
                    resolution="name the right context; if the old cluster is given up, add "
                    f"--new-cluster {stack.cloud}: what is on it is forgotten, not deleted, and all is made on the new",
                )


def forget_old_clusters(context: Context, emit: Emit) -> None:
    """Drop from the states what was on clusters that were replaced by others."""
    for name in context.stacks.keys() - context.options.given:
        forget_old_cluster(context, name, emit)


def forget_old_cluster(context: Context, name: str, emit: Emit) -> None:
    """Drop from a stack's state what was on another cluster than its cloud's of today, where that one is given up."""
    stack = context.stacks[name]
    cluster, state = context.clusters.get(stack.cloud), context.state(name)
    if cluster is None or state is None or not _is_given_up(context, stack):
        return
    count = _forget(context.backend, state, cluster.identifier)
    if count:
        context.reread(name)
        text = f"cloud {stack.cloud} has a new cluster: {counted(count, 'resource')} of the old one forgotten"
        emit(Diagnostic(name, "warning", text))


def _is_given_up(context: Context, stack: Stack) -> bool:
    cloud = context.plan.city.cloud(stack.cloud)
    return cloud.provider == "local" or cloud.has_landing_zone or cloud.name in context.options.new_clusters


def _forget(backend: Backend, state: StackState, identifier: str) -> int:
    if state.deployment is None:
        return 0
    kept, count = without_other_clusters(state.deployment, identifier)
    if count:
        backend.store.write(state.stack, kept)
    return count


def without_other_clusters(deployment: Deployment, identifier: str) -> tuple[Deployment, int]:
    """The deployment without the providers of other clusters and all that is theirs, and how many resources that was.

    A replacement that has begun leaves the old and the new under one URN: only the provider's id tells them apart.
    """
    done = copy.deepcopy(deployment)
    resources = done.get("resources") or []
    providers = {_reference(item): _is_of_another(item, identifier) for item in resources if _is_provider(item)}
    # A destroy that has failed on the old cluster may have left objects whose provider is gone.
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


def _is_of_another(item: Mapping[str, Any], identifier: str) -> bool:
    known = (item.get("inputs") or {}).get("clusterIdentifier")
    return isinstance(known, str) and bool(known) and known != identifier
