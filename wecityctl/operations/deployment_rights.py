"""Determines what this identity may change: an operator the whole city, a tenant's deployer only that tenant's stacks.

Each cluster's authorizer is asked before anything is changed. An identity that may not `manage` a city runs `up` for
the tenants that it may `deploy`; the stacks that these depend on are used as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from wecityctl.errors import AuthenticationError, WecityError
from wecityctl.inputs import Cluster, Clusters
from wecityctl.model.events import Operation, ResourceChange, RunResult
from wecityctl.plan import Plan, Stack
from wecityctl.policy.admission import (
    DEPLOY,
    GUARDED_GROUP,
    GUARDED_RESOURCE,
    MANAGE,
    TENANT_RESOURCE,
    tenant_resource,
)

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
# The verbs needed to create, change and delete an object; a replacement needs all of them.
_VERBS: Mapping[str, tuple[str, ...]] = {
    "create": ("create", "patch"),
    "update": ("patch",),
    "delete": ("delete",),
    "replace": ("create", "patch", "delete"),
}


@dataclass(frozen=True, slots=True)
class Right:
    """A verb on a resource of an API group; limited to a name and a namespace if these are not empty."""

    verb: str
    group: str
    resource: str
    name: str = ""
    namespace: str = ""

    def __str__(self) -> str:
        kind = f"{self.resource}.{self.group}" if self.group else self.resource
        name = f"/{self.name}" if self.name else ""
        return f"{self.verb} {kind}{name}" + (f" in namespace {self.namespace}" if self.namespace else "")


@dataclass(frozen=True, slots=True)
class Duties:
    """What a run may change. `given` are the plan's stacks that it uses as they are; `tenants` are those it may deploy
    if it may not manage the city.
    """

    given: frozenset[str] = frozenset()
    tenants: tuple[str, ...] = ()


@dataclass(slots=True)
class _Answers:
    """The answers of the clusters' authorizers for this identity."""

    city: str
    clusters: Mapping[str, Cluster]
    manages: dict[str, bool] = field(default_factory=dict)

    def ask(self, stacks: Iterable[Stack]) -> frozenset[str]:
        """Return the stacks that this identity may change. An unreachable cloud is left to the run itself."""
        found = set()
        for cloud, stacks_there in _by_cloud(stacks).items():
            cluster = self.clusters.get(cloud)
            tenants = sorted({stack.subject for stack in stacks_there if stack.layer == "tenant"})
            wanted = [
                Right(MANAGE, GUARDED_GROUP, GUARDED_RESOURCE, self.city),
                *(Right(DEPLOY, GUARDED_GROUP, TENANT_RESOURCE, tenant_resource(self.city, each)) for each in tenants),
            ]
            manages, *deploys = allowed(cluster, wanted) if cluster is not None else [True] * len(wanted)
            self.manages[cloud] = manages
            may = {tenant for tenant, answer in zip(tenants, deploys, strict=True) if answer}
            found |= {
                stack.name for stack in stacks_there if manages or (stack.layer == "tenant" and stack.subject in may)
            }
        return frozenset(found)


def _by_cloud(stacks: Iterable[Stack]) -> dict[str, list[Stack]]:
    found: dict[str, list[Stack]] = {}
    for stack in stacks:
        if stack.cloud:
            found.setdefault(stack.cloud, []).append(stack)
    return found


def duties(plan: Plan, asked: Collection[str], operation: Operation, clusters: Clusters) -> Duties:
    """Return what this identity may change in a run of `plan`; `asked` are the stacks that the user named.

    Raises `AuthenticationError` if it may not change one of those. A preview changes nothing and is always allowed.
    Embedded clouds are not restricted.
    """
    city = plan.city
    elsewhere = {cloud.name for cloud in city.clouds if cloud.provider != "local"}
    answers = _Answers(city.name, {name: cluster for name, cluster in clusters.found.items() if name in elsewhere})
    own = answers.ask(plan.stacks)
    if all(answers.manages.values()):
        return Duties()
    tenants = tuple(dict.fromkeys(stack.subject for stack in plan.stacks if stack.name in own and stack.subject))
    given = frozenset(stack.name for stack in plan.stacks) - own
    if operation == "preview":
        return Duties(given, tenants) if own else Duties()
    # What a tenant's apps use on other clouds is created by the operator, in a stack with the tenant's name.
    interconnect = {stack.name for stack in plan.stacks if stack.layer == "crossing" and stack.subject in tenants}
    refused = sorted(set(asked) - own - interconnect) if operation == "up" else sorted(asked)
    if refused or not own:
        cloud = next(name for name, manages in answers.manages.items() if not manages)
        raise AuthenticationError(
            f"these credentials may not change {_listed(refused) or city.name}",
            details=f"cloud {cloud}: the right is missing to "
            + str(Right(MANAGE, GUARDED_GROUP, GUARDED_RESOURCE, city.name))
            + (f"; there is the right to deploy {', '.join(tenants)}" if tenants else ""),
            resolution=_way_out(tenants, operation),
        )
    return Duties(given, tenants)


def _way_out(tenants: Sequence[str], operation: Operation) -> str:
    operator = "use the credentials of the city's operator"
    if tenants and operation != "destroy":
        return f"run `up` with {' '.join(f'--only {name}' for name in tenants)}, or {operator}"
    return operator


def require_rights(plan: Plan, foreseen: RunResult, clusters: Mapping[str, Cluster], files: str) -> None:
    """Raise `AuthenticationError` if this identity lacks a right for the changes in the preview `foreseen`.

    A deployer may not change the limits of its namespaces: a new quota, or an app's first use of a capability, needs
    the operator. The check covers all changes, so that no stack is changed in part.
    """
    missing: list[str] = []
    for result in foreseen.results:
        stack = plan.stack(result.stack)
        changes = [change for change in (*result.changes, *result.failed) if change.type.startswith("kubernetes:")]
        if cluster := clusters.get(stack.cloud):
            missing += [f"cloud {stack.cloud}: {right}" for right in lacking(cluster, changes)]
    if missing:
        raise AuthenticationError(
            f"these credentials may not make all of the changes; nothing was changed: {len(missing)} rights are missing"
            if len(missing) > 1
            else "these credentials may not make all of the changes; nothing was changed: a right is missing",
            details="\n".join(missing),
            resolution=f"have the city's operator run `wecityctl up {files} --only {_subject(plan, foreseen)}` once; "
            "what bounds a tenant and what lies in the capabilities' namespaces is the operator's to change",
        )


def _subject(plan: Plan, foreseen: RunResult) -> str:
    changed = [plan.stack(result.stack).subject for result in foreseen.results if result.changes or result.failed]
    return next(filter(None, changed), "TENANT")


def lacking(cluster: Cluster, changes: Sequence[ResourceChange]) -> list[Right]:
    """Return the rights that this identity lacks for changes of Kubernetes objects. Raises the client's errors."""
    from wecityctl.engine.cluster.query import ask

    async def look(client: KubeClient) -> list[Right]:
        wanted: dict[Right, None] = {}
        named: dict[Right, dict[str, None]] = {}
        for change in changes:
            _, version, kind = change.type.split(":")
            served = await client.resource(version.removeprefix("core/"), kind)
            namespace, _, name = change.name.rpartition("/")
            for verb in _VERBS.get(change.op, ()):
                right = Right(verb, served.group, served.plural, namespace=namespace)
                wanted[right] = None
                named.setdefault(right, {})[name] = None
        # A role may allow some objects of a kind by their names. Creating them cannot be allowed by name.
        lacking: list[Right] = []
        for right in await _denied(client, wanted):
            exact = [replace(right, name=name) for name in named[right] if right.verb != "create"]
            missing = await _denied(client, exact)
            lacking += missing if len(missing) < len(exact) else [right]
        return lacking

    return ask(cluster, look)


async def _denied(client: KubeClient, rights: Iterable[Right]) -> list[Right]:
    asked = list(rights)
    answers = await asyncio.gather(*(_is_allowed(client, right) for right in asked))
    return [right for right, answer in zip(asked, answers, strict=True) if not answer]


def allowed(cluster: Cluster, rights: Sequence[Right]) -> list[bool]:
    """Return for each right whether this identity has it; all true if the cluster does not answer."""
    from wecityctl.engine.cluster.query import ask

    async def look(client: KubeClient) -> list[bool]:
        return list(await asyncio.gather(*(_is_allowed(client, right) for right in rights)))

    try:
        return ask(cluster, look)
    except WecityError:
        # The run meets the same error and reports it in full.
        return [True] * len(rights)


async def _is_allowed(client: KubeClient, right: Right) -> bool:
    attributes = {
        "verb": right.verb,
        "group": right.group,
        "resource": right.resource,
        "name": right.name,
        "namespace": right.namespace,
    }
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }
    answer = await client.request("POST", _REVIEWS, body=body)
    return bool((answer.get("status") or {}).get("allowed"))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
