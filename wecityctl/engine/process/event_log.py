"""Translates the engine's event log (one JSON event per line) into our events and a summary of the changes.

The engine masks secrets in its log; this module replaces its masks by `[secret]`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from wecityctl.model.events import (
    Diagnostic,
    Event,
    KeptObject,
    PropertyChange,
    ResourceChange,
    ResourceFinished,
    ResourceOp,
    ResourceStarted,
    ResourceWaiting,
    Severity,
)

SECRET = "[secret]"  # noqa: S105
UNKNOWN = "[unknown]"
_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET_MARK = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105
_UNKNOWN_MARK = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
# The start of both Kubernetes providers' message for fields owned by other managers.
_CONFLICT = "field conflict detected"
# The engine's summary messages, which name no resource. Each failure was reported before.
_SUMMARY = re.compile(r"update failed|skipped \w+ resource")
_STEP = re.compile(r'\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]|\.?([^.\[]+)')

_OPS: Mapping[str, ResourceOp] = {
    "create": "create",
    "update": "update",
    "delete": "delete",
    "replace": "replace",
    "create-replacement": "replace",
    "delete-replaced": "replace",
    "discard-replaced": "replace",
    "read": "read",
    "read-replacement": "replace",
    "import": "import",
    "import-replacement": "replace",
    "refresh": "refresh",
    "same": "same",
}
# A resource counts under the highest-ranked of its steps.
_RANK: Mapping[ResourceOp, int] = {
    "same": 0,
    "read": 1,
    "refresh": 1,
    "update": 2,
    "import": 3,
    "create": 4,
    "delete": 5,
    "replace": 6,
}


class EventReader:
    """Parses the log from chunks of bytes, emits our events, and collects the summary."""

    def __init__(self, stack: str, send: Callable[[Event], None], *, refreshing: bool = False) -> None:
        self._stack = stack
        self._send = send
        self._refreshing = refreshing
        self._rest = b""
        self._changes: dict[str, ResourceChange] = {}
        self._same: set[str] = set()
        self._kept: dict[str, KeptObject] = {}
        self._failed: set[str] = set()
        self._waiting: dict[str, str] = {}
        self._active: dict[str, ResourceOp] = {}
        self._under_way: dict[str, str] = {}
        self._conflicts: set[str] = set()
        self.errors: dict[str, None] = {}
        self.warnings: dict[str, None] = {}
        self.cancelled = False
        self.finished = False

    @property
    def changes(self) -> tuple[ResourceChange, ...]:
        """Every resource that was or would be changed, in order of start, without those that failed."""
        return tuple(change for change in self._told() if change.urn not in self._failed)

    @property
    def failed(self) -> tuple[ResourceChange, ...]:
        """Every resource whose change failed, in order of start."""
        return tuple(change for change in self._told() if change.urn in self._failed)

    @property
    def kept(self) -> tuple[KeptObject, ...]:
        """The resources that only leave the state, and whose objects stay in the cluster."""
        return tuple(self._kept.values())

    @property
    def conflicts(self) -> tuple[str, ...]:
        """The URNs of the failed changes that conflicted with other field managers."""
        return tuple(change.urn for change in self.failed if change.urn in self._conflicts)

    def _told(self) -> Iterator[ResourceChange]:
        return (change for change in self._changes.values() if change.op not in ("same", "read"))

    @property
    def unchanged(self) -> int:
        """The number of resources that were compared and left as they are."""
        return len(self._same - {urn for urn, change in self._changes.items() if change.op != "same"})

    @property
    def under_way(self) -> tuple[str, ...]:
        """The operations in progress, each with the last known reason for waiting."""
        return tuple(
            f"{name_of(urn)} ({op}): {self._waiting[urn]}" if urn in self._waiting else f"{name_of(urn)} ({op})"
            for urn, op in self._under_way.items()
        )

    def feed(self, data: bytes) -> None:
        """Parse another chunk of the log; it may end within a line."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.strip():
                self._take(json.loads(line))

    def _take(self, event: dict[str, Any]) -> None:
        if (body := event.get("resourcePreEvent")) is not None:
            meta = body["metadata"]
            if is_shown(meta["type"]) and meta["op"] != "replace":
                self._under_way[meta["urn"]] = meta["op"]
            self._started(meta)
        elif (body := event.get("resOutputsEvent") or event.get("resOpFailedEvent")) is not None:
            self._under_way.pop(body["metadata"]["urn"], None)
            self._finished(body["metadata"], failed="resOpFailedEvent" in event)
        elif (body := event.get("diagnosticEvent")) is not None:
            self._diagnostic(body)
        elif (body := event.get("errorEvent")) is not None:
            self._problem("error", str(body.get("error", "")), "")
        elif (body := event.get("policyEvent")) is not None:
            self._problem("error", str(body.get("message", "")), str(body.get("resourceUrn", "")))
        elif event.get("cancelEvent") is not None:
            # Sent at every end of the engine; the exit code tells whether the user cancelled it.
            self.finished = True

    def _started(self, meta: dict[str, Any]) -> None:
        op = self._op(meta)
        if op is None:
            if _is_retained(meta) and is_shown(meta["type"]):
                urn = meta["urn"]
                self._kept[urn] = KeptObject(urn, meta["type"], name_of(urn), "no longer in the files")
            return
        urn = meta["urn"]
        if op == "same":
            self._same.add(urn)
            return
        self._note(meta, op)
        if meta["op"] != "replace":
            self._active[urn] = op
            self._send(ResourceStarted(self._stack, urn, meta["type"], name_of(urn), op))

    def _finished(self, meta: dict[str, Any], *, failed: bool) -> None:
        urn = meta["urn"]
        # A component's end is logged twice: after its registration and after its outputs.
        if urn not in self._active or meta["op"] == "replace":
            return
        started = self._active.pop(urn)
        if failed:
            self._failed.add(urn)
        op = started
        if started == "refresh" and not failed:
            # The result of a refresh is known only at its end: gone, changed, or unchanged.
            op = _found(meta)
            self._changes.pop(urn, None)
            if op == "same":
                self._same.add(urn)
            else:
                self._note(meta, op)
        self._send(ResourceFinished(self._stack, urn, meta["type"], name_of(urn), op, failed))

    def _op(self, meta: dict[str, Any]) -> ResourceOp | None:
        """Return the step's operation; `None` if it is not shown."""
        op = _OPS.get(meta["op"])
        if _is_retained(meta):
            # The resource is only dropped from the state; the object stays and is reported as retained.
            return None
        # Within an `up`, a refresh only prepares the following steps, which report the changes.
        return op if is_shown(meta["type"]) and (op != "refresh" or self._refreshing) else None

    def _note(self, meta: dict[str, Any], op: ResourceOp) -> None:
        urn = meta["urn"]
        known = self._changes.get(urn)
        if known is not None and _RANK[known.op] >= _RANK[op] and (known.properties or not meta.get("detailedDiff")):
            return
        if known is not None and _RANK[known.op] > _RANK[op]:
            op = known.op
        properties = tuple(property_changes(meta)) if op in ("update", "replace", "refresh") else ()
        if known is not None and not properties:
            properties = known.properties
        self._changes[urn] = ResourceChange(urn, meta["type"], name_of(urn), op, properties)

    def _diagnostic(self, body: dict[str, Any]) -> None:
        message = str(body.get("message", "")).strip()
        urn = str(body.get("urn", ""))
        if not message:
            return
        if body.get("ephemeral"):
            if urn and self._waiting.get(urn) != message:
                self._waiting[urn] = message
                self._send(ResourceWaiting(self._stack, urn, name_of(urn), message))
            return
        severity = str(body.get("severity", "info"))
        if severity == "debug":
            return
        self._problem(severity.partition("#")[0], message, urn)

    def _problem(self, severity: str, message: str, urn: str) -> None:
        if self._failed and _SUMMARY.fullmatch(message):
            return
        named = f"{name_of(urn)}: {message}" if urn and is_shown(type_of(urn)) else message
        if severity == "error":
            self.errors.setdefault(named)
            if is_conflict(message):
                self._conflicts.add(urn)
        elif severity == "warning":
            self.warnings.setdefault(named)
        known = severity if severity in ("info", "warning", "error") else "info"
        self._send(Diagnostic(self._stack, cast("Severity", known), message, urn))


def is_conflict(error: str) -> bool:
    """Whether an error of the engine is a conflict with other field managers."""
    return _CONFLICT in error.lower()


def name_of(urn: str) -> str:
    """Return the logical name at the end of a URN."""
    return urn.rpartition("::")[2]


def type_of(urn: str) -> str:
    """Return the resource's own type: the last of the type chain in its URN."""
    parts = urn.split("::")
    return parts[2].rpartition("$")[2] if len(parts) > 3 else ""


def is_shown(kind: str) -> bool:
    """Whether resources of that type are shown to users."""
    # The root and the providers are internal to the engine: renewed access to a cluster is not a change of the city.
    return kind != "pulumi:pulumi:Stack" and not kind.startswith("pulumi:providers:")


def _is_retained(meta: dict[str, Any]) -> bool:
    """Whether a step drops a resource from the state and leaves its object in the cluster."""
    return meta["op"] == "delete" and bool((meta.get("old") or {}).get("retainOnDelete"))


def _found(meta: dict[str, Any]) -> ResourceOp:
    old, new = meta.get("old"), meta.get("new")
    if new is None:
        return "delete"
    if meta.get("detailedDiff"):
        return "refresh"
    return "same" if _same_live((old or {}).get("outputs"), new.get("outputs")) else "refresh"


_VOLATILE = frozenset({"status", "metadata.resourceVersion", "metadata.managedFields", "metadata.generation"})


def _same_live(old: Any, new: Any, path: str = "") -> bool:
    if path in _VOLATILE:
        return True
    if isinstance(old, dict) and isinstance(new, dict):
        keys = old.keys() | new.keys()
        return all(_same_live(old.get(key), new.get(key), f"{path}.{key}" if path else key) for key in keys)
    return bool(old == new)


def property_changes(meta: dict[str, Any]) -> Iterator[PropertyChange]:
    """Yield the changed properties of one step with old and new values; secrets are masked."""
    old, new = meta.get("old") or {}, meta.get("new") or {}
    detailed = meta.get("detailedDiff")
    if detailed is None:
        detailed = {key: {"diffKind": "update", "inputDiff": True} for key in meta.get("diffs") or ()}
    for path, diff in sorted(detailed.items()):
        kind, _, replace = str(diff["diffKind"]).partition("-")
        if path.startswith("__"):
            continue
        before = old.get("inputs" if diff.get("inputDiff") else "outputs")
        found = value_at(before, path)
        if found is None and not diff.get("inputDiff"):
            found = value_at(old.get("inputs"), path)
        yield PropertyChange(
            path,
            kind if kind in ("add", "delete") else "update",  # type: ignore[arg-type]
            None if kind == "add" else blind(found),
            None if kind == "delete" else blind(value_at(new.get("inputs"), path)),
            bool(replace),
        )


def value_at(tree: Any, path: str) -> Any:
    """Return the value at a property path such as `spec.containers[0].image` or `data["a.b"]`.

    If a secret is on the way, the secret is returned.
    """
    current = tree
    for quoted, index, plain in _STEP.findall(path):
        if is_secret(current):
            return current
        if isinstance(current, list) and index:
            current = current[int(index)] if int(index) < len(current) else None
        elif isinstance(current, dict):
            current = current.get(quoted.replace('\\"', '"') if quoted else plain or index)
        else:
            return None
    return current


def is_secret(value: Any) -> bool:
    """Whether `value` is the state's mark of a secret."""
    return isinstance(value, dict) and value.get(_SIGNATURE) == _SECRET_MARK


def blind(value: Any) -> Any:
    """Return `value` with `[secret]` and `[unknown]` in place of secrets and unknown values."""
    if is_secret(value):
        return SECRET
    if value == _UNKNOWN_MARK:
        return UNKNOWN
    if isinstance(value, dict):
        return {key: blind(item) for key, item in value.items()}
    if isinstance(value, list):
        return [blind(item) for item in value]
    return value
