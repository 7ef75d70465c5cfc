"""Computes a stack's state from its last complete state (the base) and the journal entries of a run. Pure functions.

With a service back end the engine sends one entry at the start and end of each operation, in order. In the new state,
resources of the run come first, in the order in which their operations ended, followed by the rest of the base. Both
orders list every resource after its dependencies.

The rules are those of `JournalReplayer` in the engine's `pkg/v3/backend/journal.go` and of `apitype/journal.go` (both
v3.259.0); a test compares the results. States are JSON values, and unknown fields of a resource are preserved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from wecityctl.journal.urns import fix_references, rebuild_dependencies

Resource = dict[str, Any]
Deployment = dict[str, Any]
# A state with a resource that has one of these fields requires an engine that supports the feature. Source:
# `ApplyFeatures`.
_FEATURES: Mapping[str, str] = {
    "refreshBeforeUpdate": "refreshBeforeUpdate",
    "viewOf": "views",
    "resourceHooks": "hooks",
    "taint": "taint",
    "replaceWith": "replaceWith",
    "extensionRef": "extensionParameterization",
    "snippetID": "snippets-prototype",
}
_BYTE_STRING = "byteString"
_SNIPPETS = "snippets-prototype"
# The version of a state's format: with features, and without.
_WITH_FEATURES, _PLAIN = 4, 3
ENTRY_VERSION = 1


class Kind(IntEnum):
    """The kinds of journal entries."""

    BEGIN = 0
    SUCCESS = 1
    FAILURE = 2
    REFRESH_SUCCESS = 3
    OUTPUTS = 4
    WRITE = 5
    SECRETS_MANAGER = 6
    REBUILT_BASE_STATE = 7
    EXTENSION_PARAMETERIZE = 8
    SNIPPETS = 9


class JournalError(ValueError):
    """A journal that cannot be replayed: it has another version, or an entry refers to a missing resource."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A complete state. `version` and `features` describe its format."""

    deployment: Deployment
    version: int
    features: tuple[str, ...]


@dataclass(slots=True)
class _Run:
    """The changes by the entries since the base.

    `operations` maps an operation to the index of its resource in `resources`; `removed_new` contains operations. All
    other numbers are indexes into the base's list of resources.
    """

    resources: list[Resource] = field(default_factory=list)
    operations: dict[int, int] = field(default_factory=dict)
    removed_new: set[int] = field(default_factory=set)
    removed: set[int] = field(default_factory=set)
    replaced: dict[int, Resource] = field(default_factory=dict)
    deleted: set[int] = field(default_factory=set)
    pending_replacement: set[int] = field(default_factory=set)
    begun: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    extensions: dict[str, Any] = field(default_factory=dict)


class Replayer:
    """Applies a run's journal entries in order; `state` returns the stack's state after them."""

    def __init__(self, base: Deployment | None, *, engine: str) -> None:
        """`base` is the deployment at the start of the run, `None` for a new stack; `engine` is the version to write
        into states, such as `v3.259.0`.
        """
        self._base: Deployment = deepcopy(base) if base else {}
        self._engine = engine
        self._run = _Run()
        self._has_refresh = False
        self._has_byte_string = False

    def add(self, entry: Mapping[str, Any]) -> None:
        """Apply one entry. Raises `JournalError`; earlier entries stay applied."""
        require_known(entry)
        self._has_byte_string |= bool(entry.get("requiresByteString"))
        state = entry.get("state")
        match _kind(entry):
            case Kind.BEGIN:
                self._run.begun[_operation(entry)] = entry
            case Kind.FAILURE:
                self._run.begun.pop(_operation(entry), None)
            case Kind.SUCCESS:
                self._run.begun.pop(_operation(entry), None)
                self._succeed(entry, state)
            case Kind.REFRESH_SUCCESS:
                self._run.begun.pop(_operation(entry), None)
                self._has_refresh = True
                self._put(entry, state)
            case Kind.OUTPUTS:
                if state is not None:
                    self._put(entry, state)
            case Kind.WRITE:
                self._base = deepcopy(dict(entry.get("newSnapshot") or {}))
            case Kind.SECRETS_MANAGER:
                self._base["secrets_providers"] = entry.get("secretsProvider")
            case Kind.SNIPPETS:
                self._base["snippets"] = entry.get("snippets") or []
            case Kind.REBUILT_BASE_STATE:
                self._base = self.state(time="").deployment
                self._run = _Run()
            case Kind.EXTENSION_PARAMETERIZE:
                self._run.extensions[str(entry.get("extensionRef"))] = entry.get("extension")

    def _succeed(self, entry: Mapping[str, Any], state: Resource | None) -> None:
        run = self._run
        if state is not None:
            run.operations[_operation(entry)] = len(run.resources)
            run.resources.append(dict(state))
        if (old := entry.get("removeOld")) is not None:
            run.removed.add(self._in_base(old))
        if (new := entry.get("removeNew")) is not None:
            run.removed_new.add(int(new))
        if (old := entry.get("deleteOld")) is not None:
            run.deleted.add(self._in_base(old))
        if (new := entry.get("deleteNew")) is not None:
            run.resources[self._place(new)]["delete"] = True
        if (old := entry.get("pendingReplacementOld")) is not None:
            run.pending_replacement.add(self._in_base(old))
        if (new := entry.get("pendingReplacementNew")) is not None:
            run.resources[self._place(new)]["pendingReplacement"] = True
        self._has_refresh |= bool(entry.get("isRefresh"))

    def _put(self, entry: Mapping[str, Any], state: Resource | None) -> None:
        """Replace the entry's resource, in the base or among those of the run, by `state`; remove it if `state` is
        `None`.
        """
        if (old := entry.get("removeOld")) is not None:
            if state is None:
                self._run.removed.add(self._in_base(old))
            else:
                self._run.replaced[self._in_base(old)] = dict(state)
        if (new := entry.get("removeNew")) is not None:
            if state is None:
                self._run.removed_new.add(int(new))
            else:
                self._run.resources[self._place(new)] = dict(state)

    def _in_base(self, place: object) -> int:
        resources = self._base.get("resources") or []
        if not isinstance(place, int) or not 0 <= place < len(resources):
            raise JournalError(f"a journal entry names resource {place!r} of a state that has {len(resources)}")
        return place

    def _place(self, operation: object) -> int:
        if not isinstance(operation, int) or operation not in self._run.operations:
            raise JournalError(f"a journal entry names operation {operation!r}, which has made no resource")
        return self._run.operations[operation]

    def state(self, *, time: str) -> Rebuilt:
        """Return the state after the entries so far; `time` is its RFC 3339 timestamp."""
        run, base = self._run, self._base
        removed = {self._place(operation) for operation in run.removed_new}
        resources = [deepcopy(resource) for place, resource in enumerate(run.resources) if place not in removed]
        for place, resource in enumerate(base.get("resources") or ()):
            if place not in run.removed:
                resources.append(self._of_base(place, resource))
        operations = [deepcopy(entry["operation"]) for entry in run.begun.values() if entry.get("operation")]
        # Pending creations stay until they are resolved.
        operations += [
            deepcopy(item) for item in base.get("pending_operations") or () if item.get("type") == "creating"
        ]
        features = self._features([*resources, *(item["resource"] for item in operations)])
        if self._has_refresh:
            rebuild_dependencies(resources)
        fix_references(resources, base.get("snippets") or ())
        magic = hashlib.sha256(self._engine.encode()).hexdigest()
        found: Deployment = {
            "manifest": {"time": time, "magic": magic, "version": self._engine},
            "secrets_providers": base.get("secrets_providers"),
            "resources": resources,
            "pending_operations": operations,
            "metadata": base.get("metadata") or {},
            "snippets": base.get("snippets"),
            "extensions": {**run.extensions, **(base.get("extensions") or {})},
        }
        kept = {name: value for name, value in found.items() if value or name == "metadata"}
        return Rebuilt(kept, _WITH_FEATURES if features else _PLAIN, tuple(sorted(features)))

    def _of_base(self, place: int, resource: Resource) -> Resource:
        run = self._run
        if place in run.replaced:
            return deepcopy(run.replaced[place])
        found = deepcopy(resource)
        if place in run.pending_replacement:
            found["pendingReplacement"] = True
        if place in run.deleted:
            found["delete"] = True
        return found

    def _features(self, resources: Iterable[Resource]) -> set[str]:
        found: set[str] = set()
        for resource in resources:
            found.update(feature for name, feature in _FEATURES.items() if resource.get(name))
            if self._has_byte_string:
                found.add(_BYTE_STRING)
        if self._base.get("snippets"):
            found.add(_SNIPPETS)
        return found


def replay(base: Deployment | None, entries: Sequence[Mapping[str, Any]], *, engine: str, time: str) -> Rebuilt:
    """Return the state after a complete journal. Raises `JournalError`.

    Batches may be out of order or repeated: the engine resends a batch whose response was lost.
    """
    replayer = Replayer(base, engine=engine)
    seen = -1
    for entry in sorted(entries, key=_sequence):
        if (number := _sequence(entry)) != seen or not number:
            replayer.add(entry)
        seen = number
    return replayer.state(time=time)


def whole(deployment: Deployment) -> dict[str, Any]:
    """Return the entry that replaces everything before it with a complete state."""
    return {"version": ENTRY_VERSION, "kind": int(Kind.WRITE), "newSnapshot": deployment}


def require_known(entry: object) -> None:
    """Raise `JournalError` for an invalid entry, or one of an unknown version or kind."""
    if not isinstance(entry, Mapping):
        raise JournalError("a journal entry that is no object")
    if entry.get("version") != ENTRY_VERSION:
        raise JournalError(f"a journal entry of version {entry.get('version')!r}, not {ENTRY_VERSION}")
    _kind(entry)
    for name in _NUMBERS:
        if not isinstance(entry.get(name) or 0, int):
            raise JournalError(f"a journal entry whose {name} is no number: {str(entry[name])[:80]!r}")
    if entry.get("state") is not None:
        _require_resource(entry["state"], "a journal entry's state")
    if entry.get("operation") is not None:
        _require_operation(entry["operation"], "a journal entry's operation")
    for name in ("newSnapshot", "secretsProvider", "extension"):
        if not isinstance(entry.get(name) or {}, Mapping):
            raise JournalError(f"a journal entry whose {name} is no object")
    if not isinstance(entry.get("snippets") or [], list):
        raise JournalError("a journal entry whose snippets are no list")
    if entry.get("newSnapshot"):
        _require_deployment(entry["newSnapshot"])


def _require_deployment(value: Mapping[str, Any]) -> None:
    for name in ("resources", "pending_operations", "snippets"):
        if not isinstance(value.get(name) or [], list):
            raise JournalError(f"a state whose {name} are no list")
    for item in value.get("resources") or ():
        _require_resource(item, "a state's resource")
    for item in value.get("pending_operations") or ():
        _require_operation(item, "a state's pending operation")
    for name in ("manifest", "metadata", "secrets_providers", "extensions"):
        if not isinstance(value.get(name) or {}, Mapping):
            raise JournalError(f"a state whose {name} is no object")


def _require_operation(value: object, what: str) -> None:
    if not isinstance(value, Mapping) or not isinstance(value.get("type"), str):
        raise JournalError(f"{what} is none")
    _require_resource(value.get("resource"), what)


def _require_resource(value: object, what: str) -> None:
    """Raise `JournalError` for an invalid resource: the replay relies on the types of these fields."""
    if not isinstance(value, Mapping):
        raise JournalError(f"{what} is no object")
    for name in ("urn", "type"):
        if not isinstance(value.get(name), str) or not value[name]:
            raise JournalError(f"{what} has no {name}")
    for name in ("id", "parent", "provider", "deletedWith"):
        if not isinstance(value.get(name) or "", str):
            raise JournalError(f"{what} has a {name} that is no text")
    for name in ("inputs", "outputs", "propertyDependencies"):
        if not isinstance(value.get(name) or {}, Mapping):
            raise JournalError(f"{what} has {name} that are no object")
    lists = [value.get("dependencies"), *(value.get("propertyDependencies") or {}).values()]
    if any(not isinstance(each or [], list) or any(not isinstance(urn, str) for urn in each or ()) for each in lists):
        raise JournalError(f"{what} has dependencies that are no list of names")


_NUMBERS = (
    "sequenceID",
    "operationID",
    "removeOld",
    "removeNew",
    "deleteOld",
    "deleteNew",
    "pendingReplacementOld",
    "pendingReplacementNew",
)


def _sequence(entry: Mapping[str, Any]) -> int:
    return int(entry.get("sequenceID") or 0)


def _kind(entry: Mapping[str, Any]) -> Kind:
    try:
        return Kind(entry.get("kind", -1))
    except ValueError:
        raise JournalError(f"a journal entry of unknown kind {entry.get('kind')!r}") from None


def _operation(entry: Mapping[str, Any]) -> int:
    return int(entry.get("operationID") or 0)
