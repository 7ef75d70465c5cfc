"""Reads from the clusters the objects that enforce the policy rules, and the workloads, in parallel and with time
limits.

Objects that restrict the city's namespaces are compared in full with the declared ones. On request the policy rules are
tested: a test is a server-side dry run of an object that violates one rule, so nothing is ever created.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from wecityctl.errors import TimedOutError, WecityError
from wecityctl.event_loops import run_async
from wecityctl.inputs import Cluster
from wecityctl.kube.identify import VARIABLE, patience
from wecityctl.model.city import City
from wecityctl.model.findings import Finding
from wecityctl.model.naming import CITY_LABEL, FIELD_MANAGER
from wecityctl.model.registries import POD_KINDS
from wecityctl.policy.admission_probes import trial
from wecityctl.policy.enforcement_points import Key, key_of
from wecityctl.policy.model import Manifest
from wecityctl.resource_graph import SECRET, UNKNOWN

if TYPE_CHECKING:
    from wecityctl.drift.undeclared import Found
    from wecityctl.kube.client import KubeClient

Live = Mapping[Key, Mapping[str, Any]]
_PROVIDER = "pulumi-kubernetes-"
_RBAC = "rbac.authorization.k8s.io/v1"
# Kinds read only with the city's label.
_KINDS = (
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding"),
    (_RBAC, "ClusterRole"),
    (_RBAC, "ClusterRoleBinding"),
)
# Kinds read completely in the city's namespaces, because objects of others have an effect there too.
_INSIDE = (
    ("v1", "ServiceAccount"),
    (_RBAC, "Role"),
    (_RBAC, "RoleBinding"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("networking.k8s.io/v1", "Ingress"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    *POD_KINDS,
)


@dataclass(frozen=True, slots=True)
class Tried:
    """The result of testing a rule; `detail` says why it could not be tested."""

    outcome: Literal["refused", "accepted", "not-tried"]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """The live objects of a cluster, their differences from the declared ones, and the test results by rule.

    `differs` describes differences of objects that restrict the city's namespaces. `whole` is false if dry runs could
    not tell the effect of admission, because this identity may not write. `undeclared` are objects that grant rights,
    allow access or set limits and that no stack would register; `expected` are those that the cloud's owner is expected
    to create. `altered` describes pods that differ from their controllers' templates. `silent` are extensions for
    network policies whose API server does not answer.
    """

    live: Live
    differs: Mapping[Key, str] = field(default_factory=dict)
    whole: bool = True
    undeclared: tuple[Finding, ...] = ()
    tried: Mapping[str, Tried] = field(default_factory=dict)
    expected: tuple[Finding, ...] = ()
    altered: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()


def look(
    city: City,
    clusters: Mapping[str, Cluster],
    wanted: Mapping[str, Sequence[Manifest]],
    rules: Sequence[str] = (),
    *,
    partial: bool = False,
) -> dict[str, Look | WecityError]:
    """Return what every cluster has, or why it could not be read. `rules` names the rules to test.

    `wanted` are the objects that the stacks would register on each cloud; `partial`: those of some stacks are not
    known.
    """

    async def look_at_all() -> dict[str, Look | WecityError]:
        looks = (_look_at(city, cluster, wanted.get(cloud, ()), rules, partial) for cloud, cluster in clusters.items())
        found = await asyncio.gather(*looks)
        return dict(zip(clusters, found, strict=True))

    return run_async(look_at_all())


async def _look_at(
    city: City, cluster: Cluster, wanted: Sequence[Manifest], rules: Sequence[str], partial: bool
) -> Look | WecityError:
    from wecityctl.kube.client import KubeClient
    from wecityctl.kube.config import load_access
    from wecityctl.kube.requester import RetryPolicy
    from wecityctl.kube.transport import HttpPool

    seconds = patience()
    try:
        async with asyncio.timeout(seconds), HttpPool() as pool:
            retry = RetryPolicy(total_seconds=seconds)
            client = KubeClient(load_access(cluster.kubeconfig), pool, retry=retry)
            live = await _read(client, city, wanted)
            differs, whole = await _compare(client, f"{CITY_LABEL}={city.name}", wanted, live)
            undeclared, looked = await _undeclared(client, city, cluster.cloud, wanted, partial)
            altered = await _altered(client, live)
            tried = await _try_all(client, city, live, rules)
            return Look(live, differs, whole, undeclared, tried, looked.expected, altered, looked.silent)
    except TimeoutError:
        return TimedOutError(f"no answer within {seconds:g} s", resolution=f"give it more time with {VARIABLE}")
    except WecityError as error:
        return error


async def _read(client: KubeClient, city: City, wanted: Sequence[Manifest]) -> Live:
    """Return all enforcing objects of the city, and everything in its namespaces."""
    names = {key_of(item)[2] for item in wanted if item.get("kind") == "Namespace"}
    asked = [("v1", "Namespace", ""), *((*kind, f"{CITY_LABEL}={city.name}") for kind in _KINDS)]
    asked += [(*kind, "") for kind in _INSIDE]
    spaces, *lists = await asyncio.gather(*(_list(client, *one) for one in asked))
    own = [
        item
        for item in spaces
        if item["metadata"]["name"] in names or (item["metadata"].get("labels") or {}).get(CITY_LABEL) == city.name
    ]
    inside = {item["metadata"]["name"] for item in own}
    found = (item for items in lists for item in items)
    kept = (item for item in found if item["metadata"].get("namespace", "") in inside | {""})
    return {key_of(item): item for item in (*own, *kept)}


async def _undeclared(
    client: KubeClient, city: City, cloud: str, wanted: Sequence[Manifest], partial: bool
) -> tuple[tuple[Finding, ...], Found]:
    """Return the undeclared objects that restrict or open the city's namespaces, and the complete search result."""
    from wecityctl.drift.kinds import SECURITY
    from wecityctl.drift.undeclared import find_on, place

    declared = {place(str(item.get("apiVersion")), *key_of(item)): "" for item in wanted}
    looked = await find_on(client, city, cloud, declared, kinds=SECURITY)
    found = list(looked.findings)
    if partial:
        # Objects outside these namespaces may belong to a stack that is not known.
        names = {key_of(item)[2] for item in wanted if item.get("kind") == "Namespace"}
        found = [item for item in found if item.namespace in names]
    return tuple(found), looked


async def _altered(client: KubeClient, live: Live) -> tuple[str, ...]:
    """Return a sentence for each pod that differs from its controller's template."""
    from wecityctl.drift import pods

    candidates = [dict(item) for (kind, _, _), item in live.items() if kind == "Pod" and pods.may_differ(dict(item))]
    return tuple(str(pods.finding(pod, fields)) for pod, fields in await pods.compare(client, candidates))


async def _compare(
    client: KubeClient, selector: str, wanted: Sequence[Manifest], live: Live
) -> tuple[Mapping[Key, str], bool]:
    """Return the differences of the objects that restrict the city, and whether dry runs could tell the effect of
    admission.

    If this identity may make dry runs of replacements, they also show what an object would be after a write.
    """
    from wecityctl.drift import classify, stated
    from wecityctl.drift.examine import examine, put
    from wecityctl.drift.recorded_object import RecordedObject
    from wecityctl.kube.errors import ApiError, Forbidden, WebhookUnreachable

    objects, found = [], {}
    for item in wanted:
        kind, namespace, name = key = key_of(item)
        there = live.get(key)
        if there is None or not _is_known(item):
            continue
        version = str(item.get("apiVersion"))
        one = RecordedObject("", "", version, kind, namespace, name, _applier(there), item, there)
        if one.is_security:
            objects.append(one)
            fields = stated.unlike(one.body, there)
        else:
            fields = classify.namespace_labels(one, there) if one.is_namespace else []
        if fields:
            who = classify.foreign_managers(there, one.manager)
            found[key] = str(classify.finding(one, "security", who, fields))
    if not objects:
        return found, True
    try:
        first = objects[0]
        await put(client, first, dict(live[key_of(first.inputs)]), dry_run=True)
    except (Forbidden, WebhookUnreachable):
        return found, False
    except ApiError:
        # For example a field that cannot be changed; the comparison reports it.
        pass
    cases = await examine(client, selector, objects)
    told = {
        key_of(case.recorded.inputs): str(finding)
        for case in cases
        for finding in case.findings
        if finding.what == "security"
    }
    return {**found, **told}, True


def _is_known(value: Any) -> bool:
    """Whether a manifest has no unknown or secret values."""
    if isinstance(value, Mapping):
        return all(map(_is_known, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_known, value))
    return value not in (UNKNOWN, SECRET)


def _applier(live: Mapping[str, Any]) -> str:
    """Return the field manager of the Pulumi Kubernetes provider that applied the object; empty for none."""
    entries = (live.get("metadata") or {}).get("managedFields") or ()
    names = (str(item.get("manager", "")) for item in entries if item.get("operation") == "Apply")
    return next((name for name in names if name.startswith(_PROVIDER)), "")


async def _list(client: KubeClient, version: str, kind: str, selector: str) -> Sequence[dict[str, Any]]:
    return await client.list(await client.resource(version, kind), label_selector=selector)


async def _try_all(client: KubeClient, city: City, live: Live, rules: Sequence[str]) -> dict[str, Tried]:
    namespaces = {
        name: item["metadata"].get("labels") or {} for (kind, _, name), item in live.items() if kind == "Namespace"
    }
    trials = {rule: trial(rule, city, namespaces) for rule in rules}
    wanted = {rule: item for rule, item in trials.items() if item is not None}
    answers = await asyncio.gather(*(_try(client, rule, item) for rule, item in wanted.items()))
    return dict(zip(wanted, answers, strict=True))


async def _try(client: KubeClient, rule: str, item: Manifest) -> Tried:
    kind = await client.resource(item["apiVersion"], item["kind"])
    try:
        await client.create(kind, item["metadata"]["namespace"], item, field_manager=FIELD_MANAGER, dry_run=True)
    except WecityError as error:
        told = f"{error.message} {error.details}"
        if f"red line {rule}: " in told:
            return Tried("refused")
        return Tried("not-tried", error.message)
    return Tried("accepted")
