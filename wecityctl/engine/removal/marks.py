"""Reads the marks of retained objects from live objects, and decides which marks are trusted. Pure functions.

Anybody who may annotate an object can write a mark. A mark is trusted on objects in the city's namespaces, and on
cluster-scoped objects that were applied for the resource named in the mark.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wecityctl.engine.process.event_log import type_of
from wecityctl.engine.removal.retained_record import RecordError, is_resource, parse
from wecityctl.kube.resource import meta
from wecityctl.model.naming import RETAINED_FOR, RETAINED_RECORD
from wecityctl.model.security import group_of
from wecityctl.model.stacknames import StackName
from wecityctl.provider.adoption import applied_by


@dataclass(frozen=True, slots=True)
class Retained:
    """A marked object: the resource it is retained for, that resource's inputs and field manager, and the live object.

    `fault` says why the record is invalid; empty for a valid one.
    """

    urn: str
    type: str
    inputs: Mapping[str, Any]
    manager: str
    live: Mapping[str, Any]
    fault: str = ""

    @property
    def stack(self) -> str:
        """The stack that the object is retained for."""
        return self.urn.removeprefix("urn:pulumi:").partition("::")[0]

    @property
    def id(self) -> str:
        """The id of the resource in a state: `namespace/name` or `name`."""
        namespace, name = meta(self.live).get("namespace"), meta(self.live)["name"]
        return f"{namespace}/{name}" if namespace else str(name)


@dataclass(frozen=True, slots=True)
class Found:
    """The trusted marked objects of a city, and a sentence for each mark that is not trusted."""

    kept: tuple[Retained, ...] = ()
    doubts: tuple[str, ...] = ()


def read(live: Mapping[str, Any]) -> Retained | None:
    """Parse the mark of a live object; `None` without a record, and for an object that is being deleted."""
    metadata = meta(live)
    annotations = _mapping(metadata.get("annotations"))
    urn, text = (str(annotations.get(name) or "") for name in (RETAINED_FOR, RETAINED_RECORD))
    if not urn or not text or metadata.get("deletionTimestamp"):
        return None
    try:
        record = parse(text)
    except RecordError as error:
        return Retained(urn, "", {}, "", live, str(error))
    return Retained(urn, str(record.get("type") or ""), record["inputs"], str(record.get("fieldManager") or ""), live)


def judge(marked: Sequence[Retained], city: str, spaces: Callable[[], Collection[str]]) -> Found:
    """Decide which marks are trusted. `spaces` returns the namespaces in the city's states; it is called only if
    needed.
    """
    doubts = {id(item): _contradiction(item, city) for item in marked}
    own = {item.id for item in marked if _kind(item) == "Namespace" and not doubts[id(item)]}
    if any(place not in own for item in marked if not doubts[id(item)] for place in _places(item)):
        own |= set(spaces())
    for item in marked:
        if strange := [place for place in _places(item) if place not in own]:
            doubts[id(item)] = doubts[id(item)] or f"the namespace {strange[0]} is not the city's"
    named = Counter(item.urn for item in marked if not doubts[id(item)])
    for item in marked:
        # A resource has one object. If two are marked for it, neither is trusted.
        if named[item.urn] > 1:
            doubts[id(item)] = doubts[id(item)] or "another object has the mark of the same resource"
    return Found(
        tuple(item for item in marked if not doubts[id(item)]),
        tuple(_told(item, doubts[id(item)]) for item in marked if doubts[id(item)]),
    )


def _told(item: Retained, why: str) -> str:
    return f"{_kind(item)} {item.id} has the mark of what `destroy` keeps, but {why}: it is left alone"


def _kind(item: Retained) -> str:
    return str(item.live["kind"])


def _places(item: Retained) -> Iterable[str]:
    """Return the namespaces that must be the city's: the object's own, and that of the claim that a
    volume is bound to.
    """
    is_volume = _kind(item) == "PersistentVolume"
    claim = _mapping(_mapping(item.live.get("spec")).get("claimRef")) if is_volume else {}
    return (str(place) for place in (meta(item.live).get("namespace"), claim.get("namespace")) if place)


def _contradiction(item: Retained, city: str) -> str:
    """Return in what a mark contradicts the object that it is on; empty for no contradiction."""
    if StackName.parse(item.stack).city != city:
        return "it names no stack of the city"
    if not is_resource(item.urn):
        return "it names no resource that a stack can have"
    if item.fault:
        return item.fault
    if _kind(item) != "Namespace" and not isinstance(item.live.get("spec"), Mapping):
        return "the object has no `spec`"
    version, kind, stated = str(item.inputs.get("apiVersion")), item.inputs.get("kind"), item.inputs.get("metadata")
    token = f"kubernetes:{version if '/' in version else f'core/{version}'}:{kind}"
    same_kind = (group_of(version), kind) == (group_of(str(item.live["apiVersion"])), item.live["kind"])
    if not same_kind or item.type != token or type_of(item.urn) != token or not _is_named(stated, meta(item.live)):
        return "its record is that of another object"
    if not meta(item.live).get("namespace") and item.manager not in applied_by(item.live):
        return "it was not made for the resource that the mark names"
    return ""


def _is_named(stated: Any, live: Mapping[str, Any]) -> bool:
    """Whether the declared metadata fits the live object. Fields that are not declared were chosen at creation."""
    if not isinstance(stated, Mapping):
        return False
    agrees = all(stated.get(name) in (None, "", live.get(name)) for name in ("name", "namespace"))
    generated = stated.get("generateName")
    return agrees and bool(stated.get("name") or (generated and str(live.get("name")).startswith(generated)))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
