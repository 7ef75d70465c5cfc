"""Collects what a city's clouds have otherwise than its states: drift, kept objects, and objects that were not made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from wecityctl.errors import WecityError
from wecityctl.inputs import Cluster
from wecityctl.model.events import KeptObject
from wecityctl.model.findings import Finding
from wecityctl.operations.status.values import BalancerStatus, Examined, StackStatus

if TYPE_CHECKING:
    from wecityctl.engine.cluster.lost import Registered
    from wecityctl.engine.state.backend import Backend
    from wecityctl.engine.state.checkpoint import StackState
    from wecityctl.model.outputs import LandingOutputs
    from wecityctl.plan import Plan
    from wecityctl.resource_graph import Recording


def examine_clouds(
    plan: Plan, backend: Backend, clusters: Mapping[str, Cluster], registered: Registered = tuple
) -> Examined:
    """Compare the plan's stacks with every cluster.

    `registered` returns the URNs that the stacks would register. It is called only if a cluster has objects of a Pulumi
    provider that are in no state.
    """
    from wecityctl.engine.cluster.examination import examine
    from wecityctl.engine.cluster.lost import with_their_stacks
    from wecityctl.engine.cluster.undeclared import look, unseen_notes
    from wecityctl.engine.removal.retained import find, namespaces_of
    from wecityctl.engine.removal.takedown import kept_objects, kept_of

    states = {name: state for name in backend.list_stacks() if (state := backend.read_state(name)) is not None}
    deployments = {name: state.deployment for name, state in states.items()}
    found: list[Finding] = []
    kept: dict[str, tuple[KeptObject, ...]] = {}
    notes: list[str] = []
    failed: dict[str, WecityError] = {}
    looked: set[str] = set()
    for cloud, cluster in clusters.items():
        here = [stack.name for stack in plan.stacks if stack.cloud == cloud and stack.layer != "landing"]
        made = [name for name in here if name in states]
        try:
            marks = find(cluster, plan.city.name, partial(namespaces_of, states.values(), cluster))
            notes += [text for text in marks.doubts if text not in notes]
            wholes = kept_of(marks, states, cluster)
            deployments |= {name: whole.deployment for name, whole in wholes.items()}
            # Retained objects are compared too: they were declared, and anybody could change them meanwhile.
            found += examine(
                cluster, backend, [wholes.get(name) or states[name] for name in dict.fromkeys((*made, *wholes))]
            )
            for name, whole in wholes.items():
                known = states[name].urns if name in states else frozenset()
                kept[name] = tuple(item for item in kept_objects(whole, cluster) if item.urn not in known)
            # Two clouds may be the same cluster.
            there = (*made, *wholes)
            if there and cluster.identifier not in looked:
                undeclared = look(cluster, plan.city, deployments, there[0])
                told = with_their_stacks(undeclared.findings, cluster, registered, partial(_urns, states))
                # An undeclared object of a known stack is reported under that stack, whatever its namespace.
                found += [replace(item, stack=item.of_stack or item.stack) for item in told]
                notes += unseen_notes(cloud, undeclared)
                looked.add(cluster.identifier)
        except WecityError as error:
            failed[cloud] = error
    return Examined(tuple(found), kept, failed, tuple(notes))


def _urns(states: Mapping[str, StackState], stack: str) -> frozenset[str]:
    return states[stack].urns if stack in states else frozenset()


def find_lacking(
    stacks: Sequence[StackStatus],
    record: Callable[[tuple[str, ...]], Sequence[Recording]],
    backend: Backend,
    clusters: Mapping[str, Cluster],
) -> tuple[Finding, ...]:
    """Return the objects that failed or interrupted runs of `stacks` did not create.

    `record` runs the stacks' programs offline. Clusters that do not answer are skipped, because that is reported
    already.
    """
    from wecityctl.engine.cluster.never_created import find_never_created

    undone = [item for item in stacks if item.state in ("failed", "incomplete") and item.cloud in clusters]
    if not undone:
        return ()
    recordings = record(tuple(item.stack for item in undone))
    found: list[Finding] = []
    for cloud, cluster in clusters.items():
        here = {item.stack for item in undone if item.cloud == cloud}
        states = {name: state for name in here if (state := backend.read_state(name)) is not None}
        try:
            found += find_never_created(
                cluster, backend.city, [item for item in recordings if item.stack in here], states
            )
        except WecityError:
            continue
    return tuple(found)


def balancer_statuses(provisioned: Mapping[str, LandingOutputs]) -> tuple[BalancerStatus, ...]:
    """Return the load balancers in the outputs of landing zones, by cloud."""
    return tuple(
        BalancerStatus(cloud, zone, identifier, found.addresses.get(zone, ""), zone in found.public_zones)
        for cloud, found in provisioned.items()
        for zone, identifier in sorted(found.balancers.items())
    )
