"""What a stack's state may name: whoever may write one stack's state does not change others' objects through it.

The next run works with the rights of whoever starts it. A department's deployer may write the states of its own stacks,
and the city's operator runs them too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wecityctl.engine.run.context import Context
from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.checkpoint import KUBERNETES_PROVIDER, StackState
from wecityctl.engine.state.kubeconfigs import as_text, of_machine
from wecityctl.errors import ConfigurationError, WecityError
from wecityctl.inputs import Cluster
from wecityctl.model.naming import PROJECT

_MOST_NAMED = 10
_Objects = dict[tuple[str, ...], str]
_Clusters = tuple[Cluster, ...]


class Territory:
    """What the states of a run's city name. Each state is looked through once, however many stacks are compared."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._known: dict[str, tuple[StackState, _Clusters, _Objects]] = {}

    def require_own(self, stack: str) -> None:
        """Raise `ConfigurationError` where the stack's state names other stacks' resources, or objects that are in
        another stack's state of the city."""
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
        # A landing zone may have made a cluster in this very run.
        today = (*self._context.clusters.values(), *self._context.stopped.values())
        known = self._known.get(stack)
        # A state that was read again is another one.
        if known is None or known[0] is not state or known[1] != today:
            known = self._known[stack] = (state, today, _objects(state, self._context.backend, today))
        return known[2]


def _state(context: Context, stack: str) -> StackState | None:
    """The other stack's state; `None` also for one that cannot be read, which is told when its turn comes."""
    try:
        return context.state(stack)
    except WecityError:
        return None


def _objects(state: StackState, backend: Backend, today: _Clusters) -> _Objects:
    """The state's Kubernetes objects, each as people read it, by cluster, API group, kind and id."""
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
    """All resources in a state, those too that wait to be deleted, or that something was being done with."""
    deployment = state.deployment or {}
    yield from deployment.get("resources") or ()
    for operation in deployment.get("pending_operations") or ():
        yield operation.get("resource") or {}


def _clusters(state: StackState, backend: Backend, today: _Clusters) -> dict[str, str]:
    """The cluster of each Kubernetes provider, by the provider's reference: the one whose server it talks to, and
    where that is none of today's, the one that it names."""
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
    """How the object is called: by its id, and by what was recorded of it."""
    found = {str(item.get("id") or "")}
    for values in (item.get("inputs"), item.get("outputs")):
        meta = values.get("metadata") if isinstance(values, Mapping) else None
        if isinstance(meta, Mapping) and isinstance(meta.get("name"), str):
            space = meta.get("namespace")
            found.add(f"{space}/{meta['name']}" if isinstance(space, str) and space else meta["name"])
    return found - {""}
