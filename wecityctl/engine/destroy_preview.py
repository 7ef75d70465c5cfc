"""What a `destroy` would remove and keep, from the states alone: no engine runs and nothing is changed."""

from __future__ import annotations

import time
from collections.abc import Mapping

from wecityctl.engine import removal
from wecityctl.engine.backend import Backend
from wecityctl.engine.landing import DATA, holds_data, is_landing
from wecityctl.engine.state import ROOT_TYPE, StackState
from wecityctl.errors import WecityError
from wecityctl.inputs import Cluster
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.events import ResourceChange, RunFinished, RunResult, RunStarted, Sink, StackFinished, StackResult
from wecityctl.model.words import counted
from wecityctl.plan import Plan, make_plan


def preview_destroy(
    plan: Plan,
    catalogue: Catalogue,
    backend: Backend,
    clusters: Mapping[str, Cluster],
    unreachable: Mapping[str, WecityError],
    sink: Sink,
    *,
    delete_data: bool,
) -> RunResult:
    """The result that a `destroy` of the plan's stacks would have, in its order.

    Stacks on a cloud that is not in `clusters` are shown from their state as well; what keeps the cloud from answering,
    by name in `unreachable`, is their reason. Raises `AuthenticationError` where the passphrase opens nothing.
    """
    begun = time.monotonic()
    full = make_plan(plan.city, catalogue, plan.placement)
    layers = {stack.name: stack for stack in plan.stacks}
    is_whole = {stack.name for stack in full.stacks} <= set(layers)
    leftovers = removal.left_over(backend.list_stacks(), full) if is_whole else ()
    # Part of a city keeps the secret store and what is left of earlier files.
    names = [name for name, stack in layers.items() if is_whole or stack.layer != "secrets"]
    order = removal.removal_order([*names, *leftovers], plan)
    sink(RunStarted("destroy", plan.city.name, tuple(order), order))
    results = []
    for name in order:
        cloud = layers[name].cloud if name in layers else name.rpartition(".")[2]
        result = _of_stack(name, backend.read_state(name), clusters.get(cloud), delete_data=delete_data)
        if result.changes and cloud in unreachable:
            result = StackResult(name, "skipped", result.changes, reason=unreachable[cloud].message)
        sink(StackFinished(result))
        results.append(result)
    done = RunResult("destroy", plan.city.name, tuple(results), time.monotonic() - begun, 0, planned=True)
    sink(RunFinished(done))
    return done


def _of_stack(name: str, state: StackState | None, cluster: Cluster | None, *, delete_data: bool) -> StackResult:
    if state is None:
        return StackResult(name, "skipped", reason="does not exist")
    if name.split(".")[1:] == ["secrets"]:
        why = "deleted with the data" if delete_data else "kept with the data; --delete-data deletes it"
        return StackResult(name, "skipped", reason=why)
    if is_landing(name) and not delete_data and holds_data(state):
        return StackResult(name, "skipped", reason=f"kept with its data ({DATA}); --delete-data deletes it")
    kept = frozenset() if delete_data else removal.data_urns(state, cluster)
    changes = tuple(
        ResourceChange(item.urn, item.type, item.name, "delete")
        for item in reversed(state.resources)
        if item.type != ROOT_TYPE and not item.is_provider and item.urn not in kept
    )
    reason = f"{counted(len(kept), 'object')} kept with the data; --delete-data deletes them" if kept else ""
    return StackResult(name, "succeeded", changes, reason=reason)
