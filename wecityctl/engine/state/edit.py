"""Changes to a state between runs: what is gone is dropped, what must be applied again is marked. Pure.

Every result is a state that the engine takes: nothing refers to a resource that is not in it.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

from wecityctl.engine.state.checkpoint import ROOT_TYPE, Deployment


def without_resources(deployment: Deployment, urns: Collection[str]) -> Deployment:
    """The deployment without these resources, as the engine's own refresh leaves it."""
    done = copy.deepcopy(deployment)
    resources = done.get("resources") or []
    kept = [item for item in resources if item["urn"] not in urns or item.get("delete")]
    root = next((item["urn"] for item in kept if item.get("type") == ROOT_TYPE), "")
    # A state lists what is referred to before what refers to it. An old object whose replacement was made shares its
    # URN with that, but stands at the end.
    seen: set[str] = set()
    done["resources"] = []
    for item in kept:
        done["resources"].append(unlinked(item, seen, root))
        seen.add(item["urn"])
    return done


def marked_unfinished(deployment: Deployment, reasons: Mapping[str, str]) -> Deployment:
    """The deployment in which these resources (by URN) are updated by the next run even when nothing else differs."""
    done = copy.deepcopy(deployment)
    for item in done.get("resources") or ():
        if item["urn"] in reasons and not item.get("delete"):
            item["initErrors"] = [reasons[item["urn"]]]
    return done


def marked_finished(deployment: Deployment, urns: Collection[str]) -> Deployment:
    """The deployment in which these resources are looked at only where something else differs."""
    done = copy.deepcopy(deployment)
    for item in done.get("resources") or ():
        if item["urn"] in urns:
            item.pop("initErrors", None)
    return done


def unlinked(item: dict[str, Any], names: Collection[str], root: str = "") -> dict[str, Any]:
    """The resource without references to any but `names`; with `root`, that takes a missing parent's place."""
    if item.get("dependencies"):
        item["dependencies"] = [urn for urn in item["dependencies"] if urn in names]
    if item.get("propertyDependencies"):
        item["propertyDependencies"] = {
            key: [urn for urn in urns or () if urn in names] for key, urns in item["propertyDependencies"].items()
        }
    if item.get("deletedWith") and item["deletedWith"] not in names:
        del item["deletedWith"]
    if root and item.get("parent") and item["parent"] not in names:
        item["parent"] = root
    return item
