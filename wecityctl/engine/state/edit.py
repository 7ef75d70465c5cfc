"""Edits a state between runs: drops missing resources, and marks those to be applied again. Pure functions.

Every result is a state that the engine accepts: no reference points to a missing resource.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

from wecityctl.engine.state.checkpoint import ROOT_TYPE, Deployment


def without_resources(deployment: Deployment, urns: Collection[str]) -> Deployment:
    """Return the deployment without these resources, as after the engine's own refresh."""
    done = copy.deepcopy(deployment)
    resources = done.get("resources") or []
    kept = [item for item in resources if item["urn"] not in urns or item.get("delete")]
    root = next((item["urn"] for item in kept if item.get("type") == ROOT_TYPE), "")
    # A state lists resources before their dependants. An old object that is being replaced has the URN of its
    # replacement, but is at the end.
    seen: set[str] = set()
    done["resources"] = []
    for item in kept:
        done["resources"].append(unlinked(item, seen, root))
        seen.add(item["urn"])
    return done


def marked_unfinished(deployment: Deployment, reasons: Mapping[str, str]) -> Deployment:
    """Return the deployment with these resources (by URN) marked, so that the next run updates them even without a
    change.
    """
    done = copy.deepcopy(deployment)
    for item in done.get("resources") or ():
        if item["urn"] in reasons and not item.get("delete"):
            item["initErrors"] = [reasons[item["urn"]]]
    return done


def marked_finished(deployment: Deployment, urns: Collection[str]) -> Deployment:
    """Return the deployment without those marks, so that the resources are updated only if something else changes."""
    done = copy.deepcopy(deployment)
    for item in done.get("resources") or ():
        if item["urn"] in urns:
            item.pop("initErrors", None)
    return done


def unlinked(item: dict[str, Any], names: Collection[str], root: str = "") -> dict[str, Any]:
    """Return the resource without references to any URN outside `names`; `root` replaces a missing parent."""
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
