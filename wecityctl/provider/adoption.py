"""Decides whether an existing object belongs to a resource: the one rule for creation, preview and pending creations.

Pure. Looking at the cluster is `existing` (for the provider) and `engine.pending` (before a run).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from wecityctl.errors import ConfigurationError
from wecityctl.model.naming import CITY_LABEL, RETAINED_FOR

# On a live object: the URN of the resource that may adopt it. `destroy` sets it on what it retains; people may too.
# Beside it, where `destroy` set it: the resource's record, with which it can be put back into a state.

APPLY_PREFIX: Final = "pulumi-kubernetes-"
# What the official plug-in is called where it creates with POST, as it does from 4.29 on.
UPDATE_MANAGERS: Final = frozenset({"pulumi-kubernetes", "pulumi-kubernetes.exe", "pulumi-resource-kubernetes"})


class RefusedError(ConfigurationError):
    """What a resource asks for would change or delete what is not its own, or data that nobody gave up."""


@dataclass(frozen=True, slots=True)
class Claimant:
    """A resource that is to be created. `managers`: the field managers derived from its URN and the cluster.

    `city` is the label of its object, empty for none. `pending`: the state holds an unfinished creation of it.
    """

    urn: str
    managers: tuple[str, ...]
    city: str = ""
    pending: bool = False


def is_own(live: Mapping[str, Any], claimant: Claimant) -> bool:
    """Whether a live object is the claimant's own.

    It is in three cases: (a) one of the claimant's derived managers has applied it; (b) its creation is pending, a
    Pulumi provider has written the object, and the city labels agree; (c) it is marked as retained for the claimant's
    URN, and is no other city's.
    """
    if not applied_by(live).isdisjoint(claimant.managers):
        return True
    city = city_of(live)
    if claimant.pending and city and city == claimant.city and is_pulumis(live):
        return True
    return _annotation(live, RETAINED_FOR) == claimant.urn and city in ("", claimant.city)


def applied_by(live: Mapping[str, Any]) -> frozenset[str]:
    """The field managers that have applied the object on the server's side."""
    return frozenset(_manager(entry) for entry in _entries(live) if entry.get("operation") == "Apply")


def pulumi_managers(live: Mapping[str, Any]) -> tuple[str, ...]:
    """The managers of Pulumi resources that have applied the object, the latest last."""
    found = [
        (str(entry.get("time", "")), _manager(entry))
        for entry in _entries(live)
        if entry.get("operation") == "Apply" and _manager(entry).startswith(APPLY_PREFIX)
    ]
    return tuple(manager for _, manager in sorted(found))


def is_pulumis(live: Mapping[str, Any]) -> bool:
    """Whether a Kubernetes provider of Pulumi has applied or created the object."""
    created = {_manager(entry) for entry in _entries(live) if entry.get("operation") == "Update"}
    return bool(pulumi_managers(live)) or not created.isdisjoint(UPDATE_MANAGERS)


def belongs_to_another(live: Mapping[str, Any], manager: str) -> bool:
    """Whether another Pulumi resource than the one that applies as `manager` owns the object now."""
    return bool(pulumi_managers(live)) and manager not in applied_by(live)


def city_of(obj: Mapping[str, Any]) -> str:
    """The city that an object names as its own; empty for none."""
    labels = _metadata(obj).get("labels")
    return str(labels.get(CITY_LABEL) or "") if isinstance(labels, Mapping) else ""


def refusal(live: Mapping[str, Any], claimant: Claimant) -> RefusedError:
    """The error for an object that exists and is not the claimant's."""
    kind, namespace, name = str(live.get("kind", "object")), _metadata(live).get("namespace"), _metadata(live)["name"]
    city, what = city_of(live), f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
    owner = f"belongs to the city {city}" if city and city != claimant.city else "is not managed by this resource"
    managers = ", ".join(dict.fromkeys(_manager(entry) for entry in _entries(live))) or "nobody has a record of it"
    target = f"{kind.lower()} {name}" + (f" -n {namespace}" if namespace else "")
    return RefusedError(
        f"{what} exists already and {owner}; it is left as it is",
        details=f"managed by: {managers}",
        resolution="if its resource was renamed, give the new one an alias of the old; to manage the object from now "
        "on, import it, or mark it:\n"
        f"kubectl annotate {target} '{RETAINED_FOR}={claimant.urn}'\n"
        "otherwise choose another name",
    )


def _metadata(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    found = obj.get("metadata")
    return found if isinstance(found, Mapping) else {}


def _annotation(obj: Mapping[str, Any], name: str) -> str:
    annotations = _metadata(obj).get("annotations")
    return str(annotations.get(name) or "") if isinstance(annotations, Mapping) else ""


def _entries(live: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = _metadata(live).get("managedFields") or []
    return [entry for entry in found if isinstance(entry, Mapping) and not entry.get("subresource")]


def _manager(entry: Mapping[str, Any]) -> str:
    return str(entry.get("manager", ""))
