"""Reports objects of a city that are still on its clusters after a `destroy` but in no state, as after the loss of one.

They are not deleted: only the state, or an `up` that adopts it, can prove that an object belongs to the city.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from wecityctl.engine.cluster.lost import is_a_providers
from wecityctl.engine.cluster.undeclared import look
from wecityctl.engine.context.context import Context
from wecityctl.engine.context.landing_outputs import LAYER as LANDING
from wecityctl.errors import WecityError
from wecityctl.inputs import Cluster
from wecityctl.model.events import StackResult
from wecityctl.model.findings import Finding
from wecityctl.model.stacknames import LAYERS
from wecityctl.model.words import counted

_MOST_NAMED: Final = 5


def remaining_notes(context: Context, results: Mapping[str, StackResult]) -> list[str]:
    """Return a note for each cluster with objects that providers of this city created, and that are neither in a state
    nor retained.
    """
    if not results or any(result.outcome == "cancelled" for result in results.values()):
        return []
    backend = context.backend
    deployments = {name: backend.store.read(name)[0] for name in backend.list_stacks()}
    kept = {(item.type.rpartition(":")[2], item.name) for result in results.values() for item in result.kept}
    notes = []
    for cluster in _clusters(context, results):
        try:
            found = look(cluster, context.plan.city, deployments, next(iter(results)))
        except WecityError as error:
            notes.append(f"cloud {cluster.cloud}: not looked for what stays of the city: {error.message}")
            continue
        left = [
            item
            for item in found.findings
            if is_a_providers(item) and (item.kind, item.title.partition(" ")[2]) not in kept
        ]
        if left:
            notes.append(_told(cluster, left))
    return notes


def _clusters(context: Context, results: Mapping[str, StackResult]) -> Iterator[Cluster]:
    """Yield the clusters of the stacks, each once, without those that were destroyed themselves."""
    gone = {context.stacks[name].cloud for name in results if name in context.stacks and context.layer(name) == LANDING}
    known: set[str] = set()
    for name in results:
        planned = context.stacks.get(name)
        if planned is None or not LAYERS[planned.layer].needs_cluster or planned.cloud in gone:
            continue
        cluster = context.cluster_of(name)
        if cluster is not None and cluster.identifier not in known:
            known.add(cluster.identifier)
            yield cluster


def _told(cluster: Cluster, left: list[Finding]) -> str:
    more = f" and {len(left) - _MOST_NAMED} more" if len(left) > _MOST_NAMED else ""
    them, verb = ("them", "stay") if len(left) > 1 else ("it", "stays")
    return (
        f"{counted(len(left), 'object')} of the city {verb} on cloud {cluster.cloud}, for no stack's state has {them}: "
        f"{', '.join(item.title for item in left[:_MOST_NAMED])}{more}; "
        f"an `up` adopts {them}, and a `destroy` after that deletes {them}"
    )
