"""Handles retained objects around a stack's run: marks them, finds them, and restores them to the state.

`retained` reads and writes the marks. The stacks' programs and `takedown` decide what is retained.
"""

from __future__ import annotations

from wecityctl.engine.context.context import Context
from wecityctl.engine.removal.marks import Found, Retained
from wecityctl.engine.removal.retained import find, mark, namespaces_of, restored, unmark
from wecityctl.engine.removal.takedown import kept_objects, with_kept
from wecityctl.engine.state.checkpoint import Deployment, StackState
from wecityctl.errors import WecityError
from wecityctl.inputs import Cluster
from wecityctl.model.events import KeptObject
from wecityctl.model.stacknames import LAYERS


class Keeping:
    """The retained objects of one run; each cluster is queried once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._found: dict[str, Found] = {}
        self._marked: set[str] = set()
        self._at: dict[str, Cluster] = {}

    def stacks(self) -> tuple[str, ...]:
        """Return the stacks with retained objects on reachable clusters. They may be in no state and not in the
        configuration.
        """
        for cluster in self._context.clusters.values():
            try:
                self._at |= {item.stack: cluster for item in self._on(cluster)}
            except WecityError:
                continue  # its stacks fail with that, each in its turn
        return tuple(self._at)

    @property
    def doubts(self) -> tuple[str, ...]:
        """A sentence for each mark that is not trusted."""
        return tuple(dict.fromkeys(text for found in self._found.values() for text in found.doubts))

    def kept(self, stack: str) -> tuple[KeptObject, ...]:
        """Return the objects that an earlier run retained and that the stack's state lacks."""
        state, whole = self._context.state(stack), self.whole(stack)
        known = state.urns if state is not None else frozenset()
        return (
            tuple(item for item in kept_objects(whole, self.cluster(stack)) if item.urn not in known) if whole else ()
        )

    def whole(self, stack: str) -> StackState | None:
        """Return the stack's state including its retained objects; `None` if the state lacks none."""
        cluster, state = self.cluster(stack), self._context.state(stack)
        if cluster is None:
            return None
        whole = with_kept(stack, state, self._of(stack, cluster), cluster)
        return None if whole is state else whole

    def mark(self, stack: str) -> None:
        """Mark the objects that the engine will retain when it deletes them from the stack's state."""
        cluster, state = self.cluster(stack), self._context.state(stack)
        if cluster is not None and state is not None and state.deployment is not None:
            mark(state.deployment, cluster)
            self._marked.add(stack)

    def restore(self, stack: str) -> bool:
        """Put the stack's retained objects back into its state. Returns whether there were any."""
        cluster, deployment = self.cluster(stack), self.deployment(stack)
        if cluster is None or deployment is None:
            return False
        self._context.backend.ensure_stack(stack)
        self._context.backend.store.write(stack, deployment)
        self._context.reread(stack)
        return True

    def deployment(self, stack: str) -> Deployment | None:
        """Return the stack's deployment including its retained objects; `None` if the state lacks none."""
        cluster = self.cluster(stack)
        if cluster is None:
            return None
        marked = self._of(stack, cluster)
        if marked:
            self._marked.add(stack)
        state = self._context.state(stack)
        known = state.urns if state is not None else frozenset()
        lacking = [item for item in marked if item.urn not in known]
        if not lacking:
            return None
        deployment = state.deployment if state is not None else None
        if deployment is not None and self._context.options.operation == "preview":
            # The caller writes it to another back end.
            deployment = self._context.backend.sealed(stack)
        return restored(deployment, stack, lacking, cluster, self._context.provider.version)

    def settle(self, stack: str) -> None:
        """Remove the marks of objects that are in the stack's state again. Call it after a successful run."""
        cluster = self.cluster(stack)
        if cluster is None or stack not in self._marked:
            return
        self._found.pop(cluster.cloud, None)
        state = self._context.reread(stack)
        known = state.urns if state is not None else frozenset()
        unmark([item for item in self._of(stack, cluster) if item.urn in known], cluster)

    def _of(self, stack: str, cluster: Cluster) -> tuple[Retained, ...]:
        return tuple(item for item in self._on(cluster) if item.stack == stack)

    def _on(self, cluster: Cluster) -> tuple[Retained, ...]:
        if cluster.cloud not in self._found:
            self._found[cluster.cloud] = find(cluster, self._context.plan.city.name, lambda: self._spaces(cluster))
        return self._found[cluster.cloud].kept

    def _spaces(self, cluster: Cluster) -> frozenset[str]:
        states = map(self._context.state, self._context.backend.list_stacks())
        return namespaces_of((state for state in states if state is not None), cluster)

    def cluster(self, stack: str) -> Cluster | None:
        """Return the stack's cluster; `None` if it has none or the cluster is stopped."""
        planned = self._context.stacks.get(stack)
        if planned is not None and (not LAYERS[planned.layer].needs_cluster or not planned.cloud):
            return None
        if planned is not None and planned.cloud in self._context.stopped:
            return None
        return self._context.cluster_of(stack) or self._at.get(stack)
