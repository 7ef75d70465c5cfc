"""Restricts what a stack's state may refer to, so that whoever may write one state cannot change others' objects with
it.

The next run has the rights of the user who starts it. A department's deployer may write the states of its own stacks,
and the city's operator runs those too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wecityctl.engine.context.context import Context
from wecityctl.engine.context.kubeconfigs import as_text, of_machine
from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.checkpoint import KUBERNETES_PROVIDER, StackState
from wecityctl.errors import ConfigurationError, WecityError
from wecityctl.inputs import Cluster
from wecityctl.model.naming import PROJECT

_MOST_NAMED = 10
_Objects = dict[tuple[str, ...], str]
_Clusters = tuple[Cluster, ...]


class StateOwnership:
    """The objects in the states of a run's city. Each state is parsed once, however many stacks are compared."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._known: dict[str, tuple[StackState, _Clusters, _Objects]] = {}

    def require_own(self, stack: str) -> None:
        """Raise `ConfigurationError` if the stack's state has resources of other stacks, or objects in another stack's
        state.
        """
        state = self._context.state(stack)
        if state is None:
            return
        prefix = f"urn:pulumi:{stack}::{PROJECT}::"
        strange = [urn for item in _raw(state) if not (urn := str(item.get("urn"))).startswith(prefix)]
        own = self._objects(stack, state)
        for other in self._context.backend.list_stacks() if own and not strange else ():
            there = _state(self._context, other) if other != stack else None
            if there is not None:
                shared = own.keys() & self._objects(other, there).keys()
                strange += [f"{own[key]}, which is {other}'s" for key in sorted(shared)]
        if strange:
            more = [f"and {len(strange) - _MOST_NAMED} more"] if len(strange) > _MOST_NAMED else []
            raise ConfigurationError(
                f"the state of {stack} names what is not its own; nothing was done in it",
                details="\n".join(strange[:_MOST_NAMED] + more),
                resolution="find out who has written that state; `wecityctl state restore` and `import` put another "
                "back",
            )

    def _objects(self, stack: str, state: StackState) -> _Objects:
        # A landing zone may have created a cluster in this run.
        today = (*self._context.clusters.values(), *self._context.stopped.values())
        known = self._known.get(stack)
        # A state that was read again may have changed.
        if known is None or known[0] is not state or known[1] != today:
            known = self._known[stack] = (state, today, _objects(state, self._context.backend, today))
        return known[2]


def _state(context: Context, stack: str) -> StackState | None:
    """Return the other stack's state; `None` also for an unreadable one, which is reported when its turn comes."""
    try:
        return context.state(stack)
    except WecityError:
        return None


def _objects(state: StackState, backend: Backend, today: _Clusters) -> _Objects:
    """Return the state's Kubernetes objects as text for users, by cluster, API group, kind and id."""
    clusters = _clusters(state, backend, today)
    found: _Objects = {}
    for item in _raw(state):
        kind = str(item.get("type") or "")
        if not kind.startswith("kubernetes:") or kind.count(":") != 2:
            continue
        _, version, kind = kind.split(":")
        kind = kind.removesuffix("Patch")
        cluster = clusters.get(str(item.get("provider") or ""), "")
        for name in _names(item):
            found[cluster, version.rpartition("/")[0], kind, name] = f"{kind} {name}"
    return found


def _raw(state: StackState) -> Iterator[Mapping[str, Any]]:
    """Yield all resources in a state, including those pending deletion and those of pending operations."""
    deployment = state.deployment or {}
    yield from deployment.get("resources") or ()
    for operation in deployment.get("pending_operations") or ():
        yield operation.get("resource") or {}


def _clusters(state: StackState, backend: Backend, today: _Clusters) -> dict[str, str]:
    """Return the cluster of each Kubernetes provider, by the provider's reference.

    The cluster is found by the server in the kubeconfig; if no current cluster has it, by the provider's own
    identifier.
    """
    by_server = {server: each.identifier for each in today for server in of_machine(each.kubeconfig)[1]}
    found = {}
    for item in _raw(state):
        if item.get("type") == KUBERNETES_PROVIDER:
            inputs = item.get("inputs") or {}
            text = as_text(backend.reveal(state.deployment or {}, inputs.get("kubeconfig")))
            servers = sorted(of_machine(text)[1] & by_server.keys())
            named = str(inputs.get("clusterIdentifier") or "")
            found[f"{item.get('urn')}::{item.get('id')}"] = by_server[servers[0]] if servers else named
    return found


def _names(item: Mapping[str, Any]) -> set[str]:
    """Return the names of the object: its id, and the names in its inputs and outputs."""
    found = {str(item.get("id") or "")}
    for values in (item.get("inputs"), item.get("outputs")):
        meta = values.get("metadata") if isinstance(values, Mapping) else None
        if isinstance(meta, Mapping) and isinstance(meta.get("name"), str):
            space = meta.get("namespace")
            found.add(f"{space}/{meta['name']}" if isinstance(space, str) and space else meta["name"])
    return found - {""}
