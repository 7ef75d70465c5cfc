"""Checks whether the engine would accept a state, and repairs a state that a failed run has left broken. Pure
functions.

The rules are those of the engine's own verification (Pulumi pkg/v3 resource/deploy, `Snapshot.VerifyIntegrity`); the
engine does not read a state that violates one.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from wecityctl.engine.state.checkpoint import PROVIDER_PREFIX, Deployment
from wecityctl.errors import WecityError

# The error message after a run that has left such a state.
UNSOUND = "the state that the run has left is one that the engine would refuse"
_Item = Mapping[str, Any]


def flaw(deployment: Deployment | None) -> str:
    """Return the first reason why the engine would reject the state; empty if it would accept it."""
    if not deployment:
        return ""
    return next(_flaws(deployment), "")


def require_sound(stack: str, deployment: Deployment) -> None:
    """Raise `WecityError` if the engine would reject the state. Call it before writing the state."""
    found = flaw(deployment)
    if found:
        raise WecityError(
            f"the state of {stack} is left as it was: the engine would refuse the new one",
            details=found,
            resolution="see `Recover` in the documentation: a damaged state",
        )


def with_what_is_lost(deployment: Deployment, earlier: Iterable[Deployment]) -> tuple[Deployment, int]:
    """Return the deployment with missing providers and parents restored, and the number of restored resources.

    They are taken from `earlier` states of the same stack, newest first. If the deletion of an object fails, the engine
    may still delete the object's provider, and the stack's root, if the program had registered those.
    """
    states = list(earlier) if _lost(deployment) else []
    done, back = copy.deepcopy(deployment), list[dict[str, Any]]()
    # A restored resource may lack its own parent, which is then restored before it.
    while lost := _lost(done):
        found = next((item for state in states for item in state.get("resources") or () if _names(item) & lost), None)
        if found is None:
            break
        back.append({key: value for key, value in found.items() if key not in ("delete", "dependencies")})
        _insert(done["resources"], back[-1])
    still = _lost(done) if back else set()
    for item in back:
        if item.get("parent") in still:
            # The engine allows a resource without a parent.
            del item["parent"]
    return done if back else deployment, len(back)


def _lost(deployment: Deployment) -> set[str]:
    """Return the providers (by reference) and parents (by URN) that resources refer to and that are missing."""
    resources = deployment.get("resources") or ()
    known = {name for item in resources for name in _names(item)}
    named = {item["provider"] for item in resources if item.get("provider") and not item.get("pendingReplacement")}
    return (named | {item["parent"] for item in resources if item.get("parent")}) - known


def _names(item: _Item) -> set[str]:
    return {str(item.get("urn")), _reference(item)} if _is_provider(item) else {str(item.get("urn"))}


def _insert(resources: list[dict[str, Any]], lost: dict[str, Any]) -> None:
    """Insert a resource after its parent, or first if the parent is missing, so that it precedes its dependants."""
    places = [index for index, item in enumerate(resources) if item["urn"] == lost.get("parent")]
    resources.insert(places[-1] + 1 if places else 0, lost)


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
