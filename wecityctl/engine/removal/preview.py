"""Previews a `destroy`: computes what it would remove and retain, from the states and the marks. Changes nothing.

`takedown` decides what is retained, as in the run itself.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from wecityctl.engine.removal import removal
from wecityctl.engine.removal.marks import Found
from wecityctl.engine.removal.retained import find, namespaces_of
from wecityctl.engine.removal.takedown import deletions, is_secrets, kept_objects, left_alone, untouched, with_kept
from wecityctl.engine.removal.unmanaged import TakenDown, look_beside
from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.checkpoint import StackState
from wecityctl.errors import WecityError
from wecityctl.inputs import Cluster, Clusters
from wecityctl.model.events import Emit, RunFinished, RunResult, RunStarted, StackFinished, StackResult
from wecityctl.model.stacknames import LAYERS, StackName
from wecityctl.plan import Plan


def preview_destroy(plan: Plan, clusters: Clusters, backend: Backend, emit: Emit, *, delete_data: bool) -> RunResult:
    """Return the result that a `destroy` of the plan's stacks would have, in its order.

    Stacks on an unreachable cloud are shown from their state, with the error as their reason. Raises
    `AuthenticationError` if the passphrase does not decrypt the states.
    """
    begun = time.monotonic()
    layers = {stack.name: stack for stack in plan.stacks}
    is_whole = not plan.is_part
    leftovers = removal.left_over(backend.list_stacks(), plan.whole) if is_whole else ()
    # A run on part of a city does not delete the secret store or stacks that were removed from the configuration.
    names = [name for name, stack in layers.items() if is_whole or LAYERS[stack.layer].has_program]
    found, unreachable = _found(plan.city.name, backend, clusters.found, clusters.failed)
    kept_at = {item.stack: cloud for cloud, each in found.items() for item in each.kept}
    elsewhere = [name for name in kept_at if is_whole and name not in (*names, *leftovers)]
    order = removal.removal_order([*names, *leftovers, *elsewhere], plan)
    emit(RunStarted("destroy", plan.city.name, tuple(order), order))
    results: list[StackResult] = []
    taken: list[TakenDown] = []
    for name in order:
        cloud = layers[name].cloud if name in layers else kept_at.get(name, StackName.parse(name).cloud)
        cluster, state = clusters.found.get(cloud), backend.read_state(name)
        whole = with_kept(name, state, found.get(cloud, Found()).kept, cluster) if cluster is not None else state
        result = _of_stack(name, state, whole, cluster, delete_data=delete_data)
        if result.changes and cloud in unreachable:
            result = replace(result, outcome="skipped", reason=unreachable[cloud].message)
        elif cluster is not None and whole is not None and cloud not in unreachable:
            taken.append(TakenDown(name, cluster, whole, result.kept))
        results.append(result)
    beside = look_beside(plan.city, taken, {name: backend.store.read(name)[0] for name in backend.list_stacks()})
    beside.tell(emit)
    results = [beside.within(result, planned=True) for result in results]
    for result in results:
        emit(StackFinished(result))
    notes = (*dict.fromkeys(text for each in found.values() for text in each.doubts), *beside.notes)
    done = RunResult("destroy", plan.city.name, tuple(results), time.monotonic() - begun, 0, notes=notes, planned=True)
    emit(RunFinished(done))
    return done


def _found(
    city: str, backend: Backend, clusters: Mapping[str, Cluster], unreachable: Mapping[str, WecityError]
) -> tuple[Mapping[str, Found], Mapping[str, WecityError]]:
    """Return what earlier runs have retained on each cloud, and the error of each unreachable cloud."""
    found: dict[str, Found] = {}
    failed = dict(unreachable)

    def spaces(cluster: Cluster) -> frozenset[str]:
        states = map(backend.read_state, backend.list_stacks())
        return namespaces_of((state for state in states if state is not None), cluster)

    for cloud, cluster in clusters.items():
        try:
            found[cloud] = find(cluster, city, partial(spaces, cluster))
        except WecityError as error:
            failed[cloud] = error
    return found, failed


def _of_stack(
    name: str, state: StackState | None, whole: StackState | None, cluster: Cluster | None, *, delete_data: bool
) -> StackResult:
    """Return the result for one stack. `whole` is its state including what earlier runs have retained."""
    known = state.urns if state is not None else frozenset()
    if why := left_alone(name, whole if delete_data else state, delete_data=delete_data):
        kept = kept_objects(whole, cluster) if whole is not None and whole is not state else ()
        return untouched(name, why, tuple(item for item in kept if item.urn not in known))
    assert whole is not None
    if is_secrets(name):
        return StackResult(name, "skipped", reason="deleted with the data")
    kept = () if delete_data else kept_objects(whole, cluster)
    return StackResult(name, "succeeded", deletions(whole, kept), kept=kept)
