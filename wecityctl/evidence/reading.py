"""Reads from the clusters what enforces the red lines, side by side and each in bounded time; tries them when asked.

A trial is a server-side dry run of an object that crosses one line: nothing is made, whatever the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from wecityctl.errors import TimedOutError, WecityError
from wecityctl.inputs import Cluster
from wecityctl.kube.identify import VARIABLE, patience
from wecityctl.model.city import City
from wecityctl.model.naming import FIELD_MANAGER
from wecityctl.policy.admission import CITY_LABEL
from wecityctl.policy.enforcers import Key, key_of
from wecityctl.policy.model import Manifest
from wecityctl.policy.trials import trial

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient

Live = Mapping[Key, Mapping[str, Any]]
_RBAC = "rbac.authorization.k8s.io/v1"
_KINDS = (
    ("v1", "Namespace"),
    ("v1", "ServiceAccount"),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding"),
    (_RBAC, "ClusterRole"),
    (_RBAC, "ClusterRoleBinding"),
    (_RBAC, "Role"),
    (_RBAC, "RoleBinding"),
)
_NETWORK_POLICY = ("networking.k8s.io/v1", "NetworkPolicy")


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a trial; `detail` says why a line could not be tried."""

    outcome: Literal["refused", "accepted", "not-tried"]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What is in a cluster, and what came of the trials by rule."""

    live: Live
    tried: Mapping[str, Tried] = field(default_factory=dict)


def look(city: City, clusters: Mapping[str, Cluster], rules: Sequence[str] = ()) -> dict[str, Look | WecityError]:
    """What every cluster has, or why it could not be read; `rules` names those that are tried."""

    async def look_at_all() -> dict[str, Look | WecityError]:
        found = await asyncio.gather(*(_look_at(city, cluster, rules) for cluster in clusters.values()))
        return dict(zip(clusters, found, strict=True))

    return asyncio.run(look_at_all())


async def _look_at(city: City, cluster: Cluster, rules: Sequence[str]) -> Look | WecityError:
    from wecityctl.kube.client import KubeClient
    from wecityctl.kube.config import load_access
    from wecityctl.kube.requester import RetryPolicy
    from wecityctl.kube.transport import HttpPool

    seconds = patience()
    try:
        async with asyncio.timeout(seconds), HttpPool() as pool:
            retry = RetryPolicy(total_seconds=seconds)
            client = KubeClient(load_access(cluster.kubeconfig), pool, retry=retry)
            live = await _read(client, f"{CITY_LABEL}={city.name}")
            return Look(live, await _try_all(client, city, live, rules))
    except TimeoutError:
        return TimedOutError(f"no answer within {seconds:g} s", resolution=f"give it more time with {VARIABLE}")
    except WecityError as error:
        return error


async def _read(client: KubeClient, selector: str) -> Live:
    """Everything of the city's that enforces something, and every network policy: those of others add to what is
    allowed."""
    wanted = [*((kind, selector) for kind in _KINDS), (_NETWORK_POLICY, "")]
    lists = await asyncio.gather(*(_list(client, *kind, labels) for kind, labels in wanted))
    return {key_of(item): item for items in lists for item in items}


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
