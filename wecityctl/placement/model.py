"""The values of a placement: assignments, reasons, moves and conflicts. Frozen and picklable, independent of the
solver.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, TypeAlias

from wecityctl.errors import ConfigurationError
from wecityctl.model.city import City

ConstraintKind = Literal[
    "zone",
    "pin",
    "architecture",
    "domestic",
    "accelerators",
    "node-size",
    "region",
    "uses",
    "requires",
    "route",
    "affinity",
    "anti-affinity",
    "capacity",
]
# The goals by which another feasible cloud was preferred.
Preference = Literal["stability", "spread", "cost", "balance", "order"]
Key: TypeAlias = tuple[Literal["capability", "app"], str]


def capability_key(name: str) -> Key:
    return ("capability", name)


def app_key(tenant: str, name: str) -> Key:
    return ("app", f"{tenant}/{name}")


def subject_of(key: Key) -> str:
    """The key in messages, such as `capability postgresql` or `app health/code`."""
    return f"{key[0]} {key[1]}"


@dataclass(frozen=True, slots=True)
class Source:
    """The place of a constraint in the files: a document by kind and name (apps as `<tenant>/<app>`), and the path in
    it.
    """

    kind: str
    name: str
    path: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint on the placement. `subjects` are the items that it applies to; `text` is a sentence."""

    kind: ConstraintKind
    subjects: tuple[str, ...]
    text: str
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a cloud was rejected: by constraints, or by a preference for another."""

    cloud: str
    kind: ConstraintKind | Preference
    text: str
    constraints: tuple[Constraint, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The cloud of one item.

    `pools` are the eligible ones (none if the cloud declares none). `cost_per_hour` is `None` if the cloud has no
    prices.
    """

    subject: str
    cloud: str
    pools: tuple[str, ...]
    cost_per_hour: Decimal | None
    reason: str
    refused: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class Move:
    """An item that changes its cloud: it is deleted on one and recreated on the other."""

    subject: str
    source: str
    target: str
    has_data: bool = False

    def __str__(self) -> str:
        data = (
            " and starts empty there; its volumes stay behind unless their deletion is asked for"
            if self.has_data
            else ""
        )
        return (
            f"{self.subject} moves from cloud {self.source} to cloud {self.target}: "
            f"it is made anew on {self.target}{data}; on {self.source} it is deleted"
        )

    @property
    def owner(self) -> tuple[Literal["capability", "app"], str]:
        kind, _, name = self.subject.partition(" ")
        return ("capability" if kind == "capability" else "app", name)


@dataclass(frozen=True, slots=True)
class Placement:
    """Cloud names by capability name and by (tenant, app), and the cloud of the entry point.

    The other fields describe the result. `cost_per_hour` is the cost at the clouds' prices. `bound` is a lower bound
    for every placement with as few moves. `gap` is the difference relative to the cost (0: optimal).
    """

    capabilities: Mapping[str, str]
    apps: Mapping[tuple[str, str], str]
    entry: str
    decisions: tuple[Decision, ...] = ()
    moves: tuple[Move, ...] = ()
    cost_per_hour: Decimal = Decimal(0)
    bound: Decimal = Decimal(0)
    gap: float = 0.0
    currency: str = ""

    @property
    def bare(self) -> Placement:
        """Only the assignment, from which stacks are built, so that nothing but a move changes them."""
        return Placement(self.capabilities, self.apps, self.entry)

    def cloud_of(self, key: Key) -> str:
        """The cloud of a capability or an app; `""` if it is not placed."""
        kind, name = key
        if kind == "capability":
            return self.capabilities.get(name, "")
        tenant, _, app = name.partition("/")
        return self.apps.get((tenant, app), "")

    def clouds_of_tenant(self, tenant: str) -> tuple[str, ...]:
        return tuple(sorted({cloud for (owner, _), cloud in self.apps.items() if owner == tenant}))

    def clouds_of_platform(self, city: City, platform: str) -> tuple[str, ...]:
        return tuple(sorted({self.capabilities[item.name] for item in city.capabilities if item.platform == platform}))


class InfeasiblePlacementError(ConfigurationError):
    """No placement meets every constraint.

    `conflict` are constraints that cannot hold together. If it `is_minimal`, dropping any one of them resolves it.
    """

    def __init__(
        self, conflict: tuple[Constraint, ...], places: Mapping[Source, str] | None = None, *, is_minimal: bool = True
    ) -> None:
        self.conflict = conflict
        self.places = dict(places or {})
        self.is_minimal = is_minimal
        lines = [self._line(item) for item in conflict]
        super().__init__(
            "the city cannot be placed: these constraints cannot hold together"
            if len(conflict) > 1
            else "the city cannot be placed: one constraint cannot be met",
            details="\n".join(lines),
            resolution=self._resolution(),
        )

    def __reduce__(self) -> tuple[Callable[..., InfeasiblePlacementError], tuple[object, ...]]:
        return (_infeasible, (self.conflict, self.places, self.is_minimal))

    def located(self, places: Mapping[Source, str]) -> InfeasiblePlacementError:
        """The same error, with each constraint's place in the files."""
        return InfeasiblePlacementError(self.conflict, places, is_minimal=self.is_minimal)

    def _resolution(self) -> str:
        if not self.is_minimal:
            return (
                "loosen some of them: the search for the smallest conflict ended at its limit, "
                "so that not all of them may be needed for it"
            )
        return "loosen any one of them" if len(self.conflict) > 1 else "loosen it"

    def place_of(self, item: Constraint) -> str:
        """The place of the constraint in the files; empty if unknown."""
        return self.places.get(item.source, "") if item.source is not None else ""

    def _line(self, item: Constraint) -> str:
        place = self.place_of(item)
        return f"{place}: {item.text}" if place else item.text


def _infeasible(
    conflict: tuple[Constraint, ...], places: Mapping[Source, str], is_minimal: bool
) -> InfeasiblePlacementError:
    return InfeasiblePlacementError(conflict, places, is_minimal=is_minimal)


@dataclass(frozen=True, slots=True)
class Limits:
    """The solver's limits.

    Limits per goal are in deterministic units (about a second each). The gaps at which cost and balance are good enough
    apply to a city with more than `exact_up_to` choices.
    """

    cost: float = 4.0
    other: float = 1.0
    gap: float = 0.0005
    balance_gap: float = 0.02
    exact_up_to: int = 400
    seed: int = 0
