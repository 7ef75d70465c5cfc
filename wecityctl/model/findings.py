"""Drift as values: what was found on a cluster that is not as a stack's last run left it.

Pure; found by `drift`, shown by `report`. Nothing here carries a secret: values of Secrets are blinded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

# missing: the object is gone. security: a security object differs in any way. conflict: a field that the files state
# was changed by another manager. addition: another manager added something that the files do not state. undeclared: an
# object in the city's namespaces, or with rights over them, that no stack has made.
Drift = Literal["missing", "security", "conflict", "addition", "undeclared"]

# A security object that was restored so often and changed back each time is left as it is, and its managers named.
RESTORES = 3
_SHOWN = 3
# What opens the city or gives rights in it, and holds no data: removed when that is confirmed, if nobody declared it.
_REMOVABLE = frozenset({"NetworkPolicy", "Role", "RoleBinding", "ClusterRoleBinding"})


@dataclass(frozen=True, slots=True)
class FieldDrift:
    """A field that differs: its path as the API server writes it, what is there and what the files state.

    `None` on either side: not there. Additions have no values, for they may be anything.
    """

    path: str
    live: Any = None
    wanted: Any = None

    def __str__(self) -> str:
        if self.live is None and self.wanted is None:
            return self.path
        if self.wanted is None or self.live is None:
            return f"{self.path} ({'added' if self.wanted is None else 'removed'})"
        if isinstance(self.live, dict | list) or isinstance(self.wanted, dict | list):
            return f"{self.path} (changed)"
        return f"{self.path} ({self.live} instead of {self.wanted})"


@dataclass(frozen=True, slots=True)
class Finding:
    """One object that is not as it should be.

    `managers` are the field managers that did it, where the API server knows; `restored` is how often the object was
    restored already and changed back each time (security objects only). `resolved`: the run in which it was found has
    put it right, or a preview's `up` would. An undeclared object has no `urn`, but its `uid` and since when it is there
    (`since`, RFC 3339).
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
    since: str = ""
    uid: str = ""

    @property
    def is_removable(self) -> bool:
        """Whether an `up` may remove it once that is confirmed: never a workload, a volume or a Secret."""
        return self.what == "undeclared" and self.kind in _REMOVABLE

    @property
    def is_stopped(self) -> bool:
        """Whether it was restored and changed back so often that it is not restored again."""
        return self.what == "security" and self.restored >= RESTORES

    @property
    def is_refused(self) -> bool:
        """Whether an `up` leaves it as it is and fails."""
        return not self.resolved and (self.what == "conflict" or self.is_stopped)

    @property
    def title(self) -> str:
        """`NetworkPolicy shop/default-deny`."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @property
    def who(self) -> str:
        """The managers, for people; empty when none is known."""
        return ", ".join(self.managers)

    def __str__(self) -> str:
        if self.what == "missing":
            return f"{self.title} is gone from the cluster"
        by = f" by {self.who}" if self.managers else ""
        if self.what == "undeclared":
            made = f": made{by}" + (f" at {self.since}" if self.since else "")
            return f"{self.title} is not declared" + (made if by or self.since else "")
        verb = "additions" if self.what == "addition" else "changed"
        more = f" and {len(self.fields) - _SHOWN} more" if len(self.fields) > _SHOWN else ""
        fields = ", ".join(map(str, self.fields[:_SHOWN]))
        return f"{self.title}: {verb}{by}" + (f": {fields}{more}" if fields else "")
