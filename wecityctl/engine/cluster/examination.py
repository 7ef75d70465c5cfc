"""Compares whole stacks with their clusters and returns findings, for runs, `status` and the compliance report."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wecityctl.drift.restore_counts import RestoreCounts
from wecityctl.engine.cluster import probe
from wecityctl.engine.cluster.query import ask
from wecityctl.engine.secrets.crypto import has_secrets
from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.checkpoint import KUBERNETES_PROVIDER, StackState, StateResource
from wecityctl.errors import WecityError
from wecityctl.inputs import Cluster
from wecityctl.model.findings import Finding
from wecityctl.model.security import is_security_kind

if TYPE_CHECKING:
    from wecityctl.drift.examine import Case
    from wecityctl.drift.recorded_object import RecordedObject
    from wecityctl.kube.client import KubeClient


def examine(cluster: Cluster, backend: Backend, states: Sequence[StackState]) -> tuple[Finding, ...]:
    """Return all differences between the states of these stacks and the cluster; changes nothing.

    Raises the Kubernetes client's errors, and `AuthenticationError` if the passphrase does not decrypt the states.
    """
    restored = RestoreCounts(backend.url, backend.city)
    return tuple(
        counted(finding, restored, cluster)
        for case in examine_cases(cluster, backend, states)
        for finding in case.findings
    )


def counted(finding: Finding, restored: RestoreCounts, cluster: Cluster) -> Finding:
    """Return the finding with the number of times its object was already restored or created again."""
    is_gone = finding.what == "missing" and is_security_kind(finding.api_version, finding.kind)
    if finding.what != "security" and not is_gone:
        return finding
    return replace(finding, restored=restored.count(cluster.identifier, key_of(finding)))


def key_of(found: Finding | RecordedObject) -> str:
    """Return apiVersion, kind, namespace and name of an object as one string, in the probe's format."""
    return probe.SEPARATOR.join((found.api_version, found.kind, found.namespace, found.name))


def examine_cases(cluster: Cluster, backend: Backend, states: Sequence[StackState]) -> tuple[Case, ...]:
    """Examine like `examine`, but return each object with the data needed to correct it."""
    from wecityctl.drift.examine import examine as examine_objects

    objects = [item for state in states for item in recorded_objects(cluster, backend, state)]
    if not objects:
        return ()
    return ask(cluster, lambda client: examine_objects(client, probe.selector(backend.city), objects))


def written_otherwise(
    cluster: Cluster, backend: Backend, state: StackState, urns: Collection[str]
) -> tuple[Finding, ...]:
    """Return the security objects among `urns` whose stored result differs from what was declared, with the likely
    cause.

    If other managers own part of the object, they made the change, and the object is to be restored. Otherwise
    something changes it on admission, which leaves no manager's name. Compares the state with itself; the cluster is
    only asked for the names of its admission webhooks and policies.
    """
    from wecityctl.drift import classify, stated
    from wecityctl.drift.examine import served
    from wecityctl.drift.mutators import UNKNOWN, Mutators

    found = []
    written = tuple(resource for resource in state.resources if resource.urn in urns)
    for item in _recorded(backend, replace(state, resources=written)):
        if item.is_security:
            found.append((item, stated.unlike(item.body, item.outputs)))
        elif item.is_namespace:
            found.append((item, classify.namespace_labels(item, item.outputs)))
    differing = [(item, fields) for item, fields in found if fields]
    others = [(item, fields, classify.foreign_managers(item.outputs, item.manager)) for item, fields in differing]
    changed = tuple(classify.finding(item, "security", who, fields) for item, fields, who in others if who)
    wrong = [(item, fields) for item, fields, who in others if not who]
    if not wrong:
        return changed

    async def name_causes(client: KubeClient) -> list[tuple[str, ...]]:
        mutators = Mutators(client)
        return [await mutators.of(await served(client, item)) for item, _ in wrong]

    try:
        causes = ask(cluster, name_causes)
    except WecityError:
        causes = [(UNKNOWN,)] * len(wrong)
    return changed + tuple(
        classify.finding(item, "security", (), fields, admission=cause)
        for (item, fields), cause in zip(wrong, causes, strict=True)
    )


def recorded_objects(cluster: Cluster, backend: Backend, state: StackState) -> tuple[RecordedObject, ...]:
    """Return the objects that the state has on this cluster; none if the state belongs to another cluster."""
    for resource in state.resources:
        known = resource.inputs.get("clusterIdentifier") if resource.type == KUBERNETES_PROVIDER else None
        if isinstance(known, str) and known and known != cluster.identifier:
            return ()
    return tuple(_recorded(backend, state))


def _recorded(backend: Backend, state: StackState) -> Iterator[RecordedObject]:
    from wecityctl.drift.recorded_object import RecordedObject

    def clear(value: Mapping[str, Any]) -> dict[str, Any]:
        if not has_secrets(value):
            return dict(value)
        assert state.deployment is not None
        return dict(backend.reveal(state.deployment, dict(value)))

    for resource in state.resources:
        meta, manager = resource.outputs.get("metadata"), resource.outputs.get("__fieldManager")
        # A resource whose creation was interrupted has no manager yet; the engine handles it.
        if not _is_object(resource) or not isinstance(meta, Mapping) or not isinstance(manager, str):
            continue
        yield RecordedObject(
            state.stack,
            resource.urn,
            str(resource.outputs.get("apiVersion")),
            str(resource.outputs.get("kind")),
            str(meta.get("namespace") or ""),
            str(meta.get("name")),
            manager,
            clear(resource.inputs),
            clear({key: value for key, value in resource.outputs.items() if not key.startswith("__")}),
            has_secrets(resource.inputs) or has_secrets(resource.outputs),
        )


def _is_object(resource: StateResource) -> bool:
    # A patch of an object that the stack does not own has a type of its own and is left out.
    kind = resource.type.rpartition(":")[2]
    return resource.custom and resource.type.startswith("kubernetes:") and kind == resource.outputs.get("kind")
