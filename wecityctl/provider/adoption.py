"""Decides whether an existing object belongs to a resource. Creation, preview and pending creations share this rule.

Pure. `existing` (in the provider) and `engine.pending` (before a run) read the cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from wecityctl.errors import ConfigurationError
from wecityctl.model.naming import CITY_LABEL, COMPONENT_LABEL, NAME_LABEL, PART_OF_LABEL, RETAINED_FOR

# Set on a live object: the URN of the resource that may adopt it. `destroy` sets it on objects that it retains, and
# users may set it too. `destroy` also stores the resource's record next to it, so that it can be put back into a state.

APPLY_PREFIX: Final = "pulumi-kubernetes-"
# The field managers that the official plug-in uses when it creates an object with POST, which it does since 4.29.
UPDATE_MANAGERS: Final = frozenset({"pulumi-kubernetes", "pulumi-kubernetes.exe", "pulumi-resource-kubernetes"})


class RefusedError(ConfigurationError):
    """A resource would change or delete an object that is not its own, or data whose deletion was not confirmed."""


@dataclass(frozen=True, slots=True)
class Claimant:
    """A resource that is to be created.

    `managers` are the field managers derived from its URN and the cluster. `city` is the city label of its object,
    empty for none. `pending` says that the state holds an unfinished creation of it. `data_of` is the app whose data
    its object holds (`data_owner`).
    """

    urn: str
    managers: tuple[str, ...]
    city: str = ""
    pending: bool = False
    data_of: str = ""


def is_own(live: Mapping[str, Any], claimant: Claimant) -> bool:
    """Whether a live object is the claimant's own.

    One of three conditions is enough: (a) one of the claimant's derived managers has applied the object; (b) the
    creation is pending, a Pulumi provider has written the object, and the city labels agree; (c) the object is marked
    as retained for the claimant's URN and does not belong to another city. None is where the object holds another
    app's data: URNs have no app in them, and what apps and components are called together may come out the same.
    """
    if _holds_other_data(live, claimant):
        return False
    if not applied_by(live).isdisjoint(claimant.managers):
        return True
    city = city_of(live)
    if claimant.pending and city and city == claimant.city and is_pulumis(live):
        return True
    return _annotation(live, RETAINED_FOR) == claimant.urn and city in ("", claimant.city)


def applied_by(live: Mapping[str, Any]) -> frozenset[str]:
    """The field managers that have applied the object with server-side apply."""
    return frozenset(_manager(entry) for entry in _entries(live) if entry.get("operation") == "Apply")


def pulumi_managers(live: Mapping[str, Any]) -> tuple[str, ...]:
    """The field managers of Pulumi resources that have applied the object, the latest last."""
    found = [
        (str(entry.get("time", "")), _manager(entry))
        for entry in _entries(live)
        if entry.get("operation") == "Apply" and _manager(entry).startswith(APPLY_PREFIX)
    ]
    return tuple(manager for _, manager in sorted(found))


def is_pulumis(live: Mapping[str, Any]) -> bool:
    """Whether a Pulumi Kubernetes provider has applied or created the object."""
    created = {_manager(entry) for entry in _entries(live) if entry.get("operation") == "Update"}
    return bool(pulumi_managers(live)) or not created.isdisjoint(UPDATE_MANAGERS)


def belongs_to_another(live: Mapping[str, Any], manager: str) -> bool:
    """Whether a Pulumi resource other than the one that applies as `manager` owns the object now."""
    return bool(pulumi_managers(live)) and manager not in applied_by(live)


def city_of(obj: Mapping[str, Any]) -> str:
    """The city that an object's label names; empty for none."""
    labels = _metadata(obj).get("labels")
    return str(labels.get(CITY_LABEL) or "") if isinstance(labels, Mapping) else ""


def data_owner(obj: Mapping[str, Any]) -> str:
    """`TENANT/APP` of a volume claim that an app has, as its labels say; empty for other objects."""
    labels = _metadata(obj).get("labels")
    if obj.get("kind") != "PersistentVolumeClaim" or not isinstance(labels, Mapping):
        return ""
    tenant, app = labels.get(PART_OF_LABEL), labels.get(NAME_LABEL)
    return f"{tenant}/{app}" if labels.get(COMPONENT_LABEL) == "app" and tenant and app else ""


def _holds_other_data(live: Mapping[str, Any], claimant: Claimant) -> bool:
    return data_owner(live) != claimant.data_of and bool(data_owner(live) and claimant.data_of)


def refusal(live: Mapping[str, Any], claimant: Claimant) -> RefusedError:
    """The error for an object that exists and does not belong to the claimant."""
    kind, namespace, name = str(live.get("kind", "object")), _metadata(live).get("namespace"), _metadata(live)["name"]
    city, what = city_of(live), f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
    owner = f"belongs to the city {city}" if city and city != claimant.city else "is not managed by this resource"
    managers = ", ".join(dict.fromkeys(_manager(entry) for entry in _entries(live))) or "nobody has a record of it"
    target = f"{kind.lower()} {name}" + (f" -n {namespace}" if namespace else "")
    if _holds_other_data(live, claimant):
        tenant, _, app = claimant.data_of.partition("/")
        return RefusedError(
            f"{what} exists already and has the files of app {data_owner(live)}; it is left as it is",
            details=f"managed by: {managers}",
            resolution="choose another name for the component or its volume; to give this app the files:\n"
            f"kubectl label {target} --overwrite {PART_OF_LABEL}={tenant} {NAME_LABEL}={app}",
        )
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
