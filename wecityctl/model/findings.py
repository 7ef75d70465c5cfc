"""Drift findings: differences between a cluster and what the last run of a stack left there.

Pure values. The package `drift` finds them and `report` displays them. Values of Secrets are redacted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any, Literal

from wecityctl.model.security import group_of
from wecityctl.model.words import listed

# missing: the object is gone. security: a security object differs in any way. conflict: another manager changed a field
# that the files state. addition: another manager added something that the files do not state. undeclared: an object in
# the city's namespaces, or with rights over them, that no stack created. altered: a pod differs from the template of
# its controller.
Drift = Literal["missing", "security", "conflict", "addition", "undeclared", "altered"]

# After this number of restores that were each reverted, a security object is left as it is and its managers are named.
RESTORES = 3
_SHOWN = 3
# A text with one of these is quoted, so that it is seen where it ends.
_SEPARATORS = frozenset(",;()")
# Limits for displaying one value, in characters and in lines of a diff. The JSON output has the whole value.
_LONGEST = 120
_MOST_LINES = 12
# Kinds that open the network or grant rights, and hold no data. Undeclared ones can be removed after confirmation.
_REMOVABLE = frozenset(
    {
        ("networking.k8s.io", "NetworkPolicy"),
        ("rbac.authorization.k8s.io", "Role"),
        ("rbac.authorization.k8s.io", "RoleBinding"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    }
)


@dataclass(frozen=True, slots=True)
class FieldDrift:
    """A field that differs: its path as the API server writes it, the live value and the one that the files state.

    `None` on either side: the field does not exist there.
    """

    path: str
    live: Any = None
    wanted: Any = None

    def __str__(self) -> str:
        if self.live is None and self.wanted is None:
            return self.path
        if self.wanted is None or self.live is None:
            return f"{self.path} ({'added' if self.wanted is None else 'removed'})"
        if self.diff or isinstance(self.live, dict | list) or isinstance(self.wanted, dict | list):
            return f"{self.path} (changed)"
        return f"{self.path} ({_short(self.live)} instead of {_short(self.wanted)})"

    @property
    def diff(self) -> tuple[str, ...]:
        """A unified diff from the stated to the live text; empty unless both are strings and one has several lines."""
        if not isinstance(self.live, str) or not isinstance(self.wanted, str) or "\n" not in self.live + self.wanted:
            return ()
        lines = unified_diff(self.wanted.splitlines(), self.live.splitlines(), "files", "cluster", lineterm="", n=1)
        shown = [_shortened(line) for line in lines]
        more = len(shown) - _MOST_LINES
        return (*shown[:_MOST_LINES], *((f"… {more} more lines",) if more > 0 else ()))


def being_deleted(finalizers: Sequence[str]) -> str:
    """The message for an object that is being deleted and stays in force until it is gone."""
    held = f", held by {', '.join(finalizers)}" if finalizers else ""
    return f"is being deleted{held}, and still in force"


def _short(value: Any) -> str:
    text = str(value)
    if isinstance(value, str) and (_SEPARATORS & set(text) or not text):
        # Otherwise it could not be told where the value ends.
        text = json.dumps(text, ensure_ascii=False)
    return _shortened(text)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"


@dataclass(frozen=True, slots=True)
class Finding:
    """One object that differs from the desired state.

    `managers` are the field managers that changed it, if the API server knows them. `restored` counts the restores that
    were each reverted (security objects only). `resolved`: the run that found it corrected it, or, in a preview, `up`
    would. `admission` names what changes the object on every write, such as a MutatingAdmissionPolicy; the object is
    not written then. `deleting`: a missing or undeclared object that still exists because of `finalizers`. An
    undeclared object has no `urn`, but a `uid` and its creation time (`since`, RFC 3339). `unmade`: a missing object
    that the files declare and no state has, because no run has created it yet. `shared`: the object affects everybody
    on the cluster; it is reported, and only the cluster's owner may remove it. `with_namespace`: `destroy` deletes it
    with its namespace. `of_stack`: the stack of the city whose resource created it, if only the state lacks it.
    """

    stack: str
    urn: str
    api_version: str
    kind: str
    namespace: str
    name: str
    what: Drift
    managers: tuple[str, ...] = ()
    fields: tuple[FieldDrift, ...] = ()
    restored: int = 0
    resolved: bool = False
    admission: tuple[str, ...] = ()
    deleting: bool = False
    finalizers: tuple[str, ...] = ()
    since: str = ""
    uid: str = ""
    shared: bool = False
    with_namespace: bool = False
    of_stack: str = ""
    unmade: bool = False

    @property
    def is_removable(self) -> bool:
        """Whether `up` may remove it after confirmation. Workloads, volumes and Secrets are never removed."""
        return (
            self.what == "undeclared"
            and (group_of(self.api_version), self.kind) in _REMOVABLE
            and not (self.shared or self.of_stack)
        )

    @property
    def is_stopped(self) -> bool:
        """Whether it is not restored again, because earlier restores were reverted `RESTORES` times."""
        return self.what == "security" and self.restored >= RESTORES and not self.admission

    @property
    def is_overruled(self) -> bool:
        """Whether it is a security object that admission changes on every write, so that it is not restored."""
        return self.what == "security" and bool(self.admission)

    @property
    def is_refused(self) -> bool:
        """Whether `up` leaves the object as it is and fails."""
        is_conflict = self.what == "conflict" and not self.admission
        return not self.resolved and (is_conflict or self.is_stopped or self.is_overruled)

    @property
    def is_left(self) -> bool:
        """Whether `up` reports and keeps it without failing: additions by others, and changes made on admission."""
        return not self.resolved and not self.is_refused and (self.what == "addition" or bool(self.admission))

    @property
    def notice(self) -> str:
        """The message about an object that is left as it is, which every run prints."""
        way_out = ": `wecityctl up --take-over` removes it" if self.what == "addition" else ""
        return self.told(f"left as it is{way_out}")

    @property
    def title(self) -> str:
        """`NetworkPolicy shop/default-deny`."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @property
    def who(self) -> str:
        """The managers as text; empty if none is known."""
        return listed(self.managers)

    def __str__(self) -> str:
        return self.told()

    def told(self, what: str = "") -> str:
        """The finding as text, followed by `what` is done about it and by the diffs of multi-line texts."""
        diffs = (line for item in self.fields[:_SHOWN] if item.diff for line in (f"{item.path}:", *item.diff))
        return "\n    ".join((f"{self._sentence}; {what}" if what else self._sentence, *diffs))

    @property
    def _sentence(self) -> str:
        if self.unmade:
            return f"{self.title} is not there: no run has come to make it"
        if self.what == "missing":
            if not self.deleting:
                return f"{self.title} is gone from the cluster"
            held = f"; finalizers hold it: {', '.join(self.finalizers)}" if self.finalizers else ""
            return f"{self.title} is being deleted{held}"
        by = f" by {self.who}" if self.managers else ""
        if self.of_stack:
            made = f"{self.title} was made by this city's stack {self.of_stack} and is not in its state"
            # A Job that has ended is not adopted: what it did may have been undone since.
            return f"{made}; `up` {'makes it again' if self.kind == 'Job' else 'adopts it'}"
        if self.what == "undeclared":
            made = f": made{by}" + (f" at {self.since}" if self.since else "")
            leaving = f"; it {being_deleted(self.finalizers)}" if self.deleting else ""
            return f"{self.title} is not declared" + (made if by or self.since else "") + leaving
        verb = "additions" if self.what == "addition" else "changed"
        more = f" and {len(self.fields) - _SHOWN} more" if len(self.fields) > _SHOWN else ""
        # Additions may contain anything, so only their path is shown. The value is shown when it is removed.
        names = (item.path if self.what == "addition" else str(item) for item in self.fields[:_SHOWN])
        fields = ", ".join(names) if more or self.what == "addition" else listed(tuple(names))
        if self.admission:
            start = f"{self.title}: cannot be written as stated, {' or '.join(self.admission)} changes it on admission"
        else:
            unknown = " that nobody is on record for" if self.what == "addition" and not by else ""
            start = f"{self.title}: {verb}{by}{unknown}"
        return start + (f": {fields}{more}" if fields else "")
