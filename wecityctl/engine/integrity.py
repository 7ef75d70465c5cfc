"""Whether a state is one that the engine accepts, and how one that a failed run left broken is made whole again. Pure.

The rules are those of the engine's own verification (Pulumi pkg/v3 resource/deploy, `Snapshot.VerifyIntegrity`): it
refuses to read a state that breaks one of them.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from wecityctl.engine.state import PROVIDER_PREFIX, Deployment
from wecityctl.errors import WecityError

_Item = Mapping[str, Any]


def flaw(deployment: Deployment | None) -> str:
    """The first reason why the engine would refuse the state; empty for a state that it accepts."""
    if not deployment:
        return ""
    return next(_flaws(deployment), "")


def require_sound(stack: str, deployment: Deployment) -> None:
    """Raise `WecityError` for a state that the engine would refuse; call it before the state is written."""
    found = flaw(deployment)
    if found:
        raise WecityError(
            f"the state of {stack} is left as it was: the engine would refuse the new one",
            details=found,
            resolution="see `Recover` in the documentation: a damaged state",
        )


def with_lost_providers(deployment: Deployment, earlier: Iterable[Deployment]) -> tuple[Deployment, int]:
    """The deployment with the providers that its resources name and that it lacks, and how many those were.

    They come from `earlier` states of the same stack, the newest first. When the deletion of an object fails, the
    engine may delete the object's provider all the same, if its program had registered that one.
    """
    lost = set(_lost(deployment))
    if not lost:
        return deployment, 0
    found: dict[str, Any] = {}
    for state in earlier:
        if lost <= found.keys():
            break
        for item in state.get("resources") or ():
            if _is_provider(item) and _reference(item) in lost:
                found.setdefault(_reference(item), item)
    done = copy.deepcopy(deployment)
    for item in found.values():
        _insert(done["resources"], {key: value for key, value in item.items() if key not in ("delete", "dependencies")})
    return done, len(found)


def _lost(deployment: Deployment) -> Iterator[str]:
    known = {_reference(item) for item in deployment.get("resources") or () if _is_provider(item)}
    for item in deployment.get("resources") or ():
        if item.get("provider") and item["provider"] not in known and not item.get("pendingReplacement"):
            yield item["provider"]


def _insert(resources: list[dict[str, Any]], provider: dict[str, Any]) -> None:
    """Put the provider after its parent, and so before whatever uses it."""
    places = [index for index, item in enumerate(resources) if item["urn"] == provider.get("parent")]
    if places:
        resources.insert(places[-1] + 1, provider)
    else:
        # Its parent has gone too: it then hangs below nothing, which the engine allows.
        provider.pop("parent", None)
        resources.insert(0, provider)


def _flaws(deployment: Deployment) -> Iterator[str]:
    manifest = deployment.get("manifest") or {}
    version = str(manifest.get("version") or "")
    if str(manifest.get("magic") or "") != (hashlib.sha256(version.encode()).hexdigest() if version else ""):
        yield "its manifest was changed by hand"
    standing: dict[str, int] = {}
    providers: set[str] = set()
    for item in deployment.get("resources") or ():
        urn = str(item.get("urn") or "")
        if not urn or not item.get("type"):
            yield f"resource {urn or '(without a name)'} has no URN or no type"
        if item.get("id") and not item.get("custom"):
            yield f"{urn} is a component and has an id"
        if _is_provider(item):
            providers.add(_reference(item))
        if item.get("provider") and item["provider"] not in providers and not item.get("pendingReplacement"):
            yield f"{urn} refers to the provider {item['provider']}, which is not there or comes after it"
        for what, needed in _needs(item):
            if needed not in standing:
                yield f"{urn} has the {what} {needed}, which is not there or comes after it"
        standing[urn] = standing.get(urn, 0) + (not item.get("delete"))
        if standing[urn] > 1:
            yield f"{urn} is there twice"


def _needs(item: _Item) -> Iterator[tuple[str, str]]:
    if item.get("parent"):
        yield "parent", item["parent"]
    yield from (("dependency", urn) for urn in item.get("dependencies") or () if urn)
    for urns in (item.get("propertyDependencies") or {}).values():
        yield from (("dependency", urn) for urn in urns or () if urn)
    if item.get("deletedWith"):
        yield "dependency", item["deletedWith"]
    yield from (("dependency", urn) for urn in item.get("replaceWith") or () if urn)


def _is_provider(item: _Item) -> bool:
    return str(item.get("type") or "").startswith(PROVIDER_PREFIX)


def _reference(item: _Item) -> str:
    return f"{item.get('urn')}::{item.get('id')}"
