"""Drift as values: what was found on a cluster that is not as a stack's last run left it.

Pure; found by `drift`, shown by `report`. Nothing here carries a secret: values of Secrets are blinded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any, Literal

from wecityctl.model.security import group_of

# missing: the object is gone. security: a security object differs in any way. conflict: a field that the files state
# was changed by another manager. addition: another manager added something that the files do not state. undeclared: an
# object in the city's namespaces, or with rights over them, that no stack has made. altered: a pod is not
# as the template of its controller.
Drift = Literal["missing", "security", "conflict", "addition", "undeclared", "altered"]

# A security object that was restored so often and changed back each time is left as it is, and its managers named.
RESTORES = 3
_SHOWN = 3
# What is shown of one value, in characters and in lines of a diff; the whole value is in the JSON output.
_LONGEST = 120
_MOST_LINES = 12
# What opens the city or gives rights in it, and holds no data: removed when that is confirmed, if nobody declared it.
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
    """A field that differs: its path as the API server writes it, what is there and what the files state.

    `None` on either side: not there.
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
        """Where texts of several lines differ, as a unified diff for people: from what the files state to what is
        there."""
        if not isinstance(self.live, str) or not isinstance(self.wanted, str) or "\n" not in self.live + self.wanted:
            return ()
        lines = unified_diff(self.wanted.splitlines(), self.live.splitlines(), "files", "cluster", lineterm="", n=1)
        shown = [_short(line) for line in lines]
        more = len(shown) - _MOST_LINES
        return (*shown[:_MOST_LINES], *((f"… {more} more lines",) if more > 0 else ()))


def being_deleted(finalizers: Sequence[str]) -> str:
    """What is said of an object that is being deleted and counts until it is gone."""
    held = f", held by {', '.join(finalizers)}" if finalizers else ""
    return f"is being deleted{held}, and still in force"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"


@dataclass(frozen=True, slots=True)
class Finding:
    """One object that is not as it should be.

    `managers` are the field managers that did it, where the API server knows; `restored` is how often the object was
    restored already and changed back each time (security objects only). `resolved`: the run in which it was found has
    put it right, or a preview's `up` would. `admission` names what changes the object whenever it is written, such as a
    MutatingAdmissionPolicy; then nothing is written. `deleting`: a missing or undeclared object that is still there,
    because `finalizers` hold it. An undeclared object has no `urn`, but its `uid` and since when it is there (`since`,
    RFC 3339); `unmade`: a missing object that the files declare and no state has, because no run has come to make it.
    `shared`: it concerns everybody on the cluster, is told, and is the cluster's owner's to remove; `with_namespace`: a
    `destroy` deletes it with its namespace; `of_stack`: the city's stack whose resource made it, where only its state
    lacks it.
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
        """Whether an `up` may remove it once that is confirmed: never a workload, a volume or a Secret."""
        return (
            self.what == "undeclared"
            and (group_of(self.api_version), self.kind) in _REMOVABLE
            and not (self.shared or self.of_stack)
        )

    @property
    def is_stopped(self) -> bool:
        """Whether it was restored and changed back so often that it is not restored again."""
        return self.what == "security" and self.restored >= RESTORES and not self.admission

    @property
    def is_overruled(self) -> bool:
        """Whether a security object cannot be written as it is stated, so that it is not restored."""
        return self.what == "security" and bool(self.admission)

    @property
    def is_refused(self) -> bool:
        """Whether an `up` leaves it as it is and fails."""
        is_conflict = self.what == "conflict" and not self.admission
        return not self.resolved and (is_conflict or self.is_stopped or self.is_overruled)

    @property
    def is_left(self) -> bool:
        """Whether an `up` tells it and leaves it, without failing: others' additions, and what admission changes."""
        return not self.resolved and not self.is_refused and (self.what == "addition" or bool(self.admission))

    @property
    def notice(self) -> str:
        """What is said of what is left, by every run."""
        way_out = ": `wecityctl up --take-over` removes it" if self.what == "addition" else ""
        return self.told(f"left as it is{way_out}")

    @property
    def title(self) -> str:
        """`NetworkPolicy shop/default-deny`."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @property
    def who(self) -> str:
        """The managers, for people; empty when none is known."""
        return ", ".join(self.managers)

    def __str__(self) -> str:
        return self.told()

    def told(self, what: str = "") -> str:
        """The finding for people, with what is done about it; below that, where texts of several lines differ."""
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
            return f"{self.title} was made by this city's stack {self.of_stack} and is not in its state; `up` adopts it"
        if self.what == "undeclared":
            made = f": made{by}" + (f" at {self.since}" if self.since else "")
            leaving = f"; it {being_deleted(self.finalizers)}" if self.deleting else ""
            return f"{self.title} is not declared" + (made if by or self.since else "") + leaving
        verb = "additions" if self.what == "addition" else "changed"
        more = f" and {len(self.fields) - _SHOWN} more" if len(self.fields) > _SHOWN else ""
        # What others have added may be anything: where it is, is told here, and what it is when it goes.
        names = (item.path if self.what == "addition" else str(item) for item in self.fields[:_SHOWN])
        fields = ", ".join(names)
        if self.admission:
            start = f"{self.title}: cannot be written as stated, {' or '.join(self.admission)} changes it on admission"
        else:
            unknown = " that nobody is on record for" if self.what == "addition" and not by else ""
            start = f"{self.title}: {verb}{by}{unknown}"
        return start + (f": {fields}{more}" if fields else "")
