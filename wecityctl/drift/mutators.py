"""Finds the MutatingAdmissionPolicies and MutatingWebhookConfigurations that could change objects of a kind.

Only their rules are read: selectors and conditions are not evaluated. Read once per cluster, and only when needed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from wecityctl.kube.client import KubeClient
from wecityctl.kube.errors import ApiError
from wecityctl.kube.resource import Object, ResourceType

_GROUP: Final = "admissionregistration.k8s.io"
_POLICY, _BINDING, _WEBHOOKS = (
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration",
)
UNKNOWN: Final = "something that changes objects on admission"
# A display name, and the rules that select requests.
Mutator = tuple[str, Sequence[Mapping[str, Any]]]


class Mutators:
    """The mutating admission plug-ins of one cluster; read when they are first needed."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._lock = asyncio.Lock()
        self._found: tuple[Mutator, ...] | None = None

    async def of(self, kind: ResourceType) -> tuple[str, ...]:
        """Those whose rules match creations or updates of a kind; a general term if they may not be read."""
        async with self._lock:
            if self._found is None:
                self._found = tuple(await self._read())
        names = (name for name, rules in self._found if any(_matches(rule, kind) for rule in rules))
        return tuple(names) or (UNKNOWN,)

    async def digest(self) -> str:
        """A short digest that changes when any of them is created, changed or removed."""
        items = [item for items in await self._lists() for item in items]
        known = sorted((item["metadata"]["uid"], item["metadata"].get("generation") or 0) for item in items)
        return hashlib.sha256(repr(known).encode()).hexdigest()[:16]

    async def _read(self) -> list[Mutator]:
        policies, bindings, webhooks = await self._lists()
        bound = {(item.get("spec") or {}).get("policyName") for item in bindings}
        return [
            *_named(_POLICY, (item for item in policies if item["metadata"]["name"] in bound), _rules_of_policy),
            *_named(_WEBHOOKS, webhooks, _rules_of_webhooks),
        ]

    async def _lists(self) -> Sequence[Sequence[Object]]:
        """The policies, their bindings and the webhooks."""
        served: dict[str, ResourceType] = {}
        for item in await self._client.resources():
            if item.group == _GROUP and (item.kind not in served or item.version == "v1"):
                served[item.kind] = item
        kinds = (_POLICY, _BINDING, _WEBHOOKS)
        return await asyncio.gather(*(self._list(served.get(kind)) for kind in kinds))

    async def _list(self, kind: ResourceType | None) -> Sequence[Object]:
        try:
            return await self._client.list(kind) if kind is not None else ()
        except ApiError:
            # For instance without permission to list them.
            return ()


def _named(kind: str, items: Iterable[Object], rules: Any) -> Iterator[Mutator]:
    for item in items:
        yield f"{kind} {item['metadata']['name']}", tuple(rules(item))


def _rules_of_policy(item: Object) -> Iterator[Mapping[str, Any]]:
    yield from ((item.get("spec") or {}).get("matchConstraints") or {}).get("resourceRules") or ()


def _rules_of_webhooks(item: Object) -> Iterator[Mapping[str, Any]]:
    for webhook in item.get("webhooks") or ():
        yield from webhook.get("rules") or ()


def _matches(rule: Mapping[str, Any], kind: ResourceType) -> bool:
    def has(name: str, *values: str) -> bool:
        return not {"*", *values}.isdisjoint(rule.get(name) or ())

    # A rule for another version of the kind matches too: matchPolicy Equivalent is the default.
    scope = rule.get("scope") or "*"
    return (
        has("apiGroups", kind.group)
        and has("resources", kind.plural, "*/*", f"{kind.plural}/*")
        and has("operations", "CREATE", "UPDATE")
        and (scope == "*" or (scope == "Namespaced") == kind.namespaced)
    )
