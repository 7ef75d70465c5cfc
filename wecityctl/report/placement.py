"""Formats a placement and its reasons: a table and lines for users, plain values for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from wecityctl.placement import Constraint, Decision, Placement, Refusal
from wecityctl.placement.filters import listed_clouds

if TYPE_CHECKING:
    from rich.table import Table

# Returns the position of a constraint in the files; empty if there is none.
Locate = Callable[[Constraint], str]


def table_of(placement: Placement) -> Table:
    """Return a table with one row for each capability and app."""
    from wecityctl.report.tables import new_table

    table = new_table(("WHAT", "CLOUD", "POOLS", "COST/H", "WHY"), prose=("POOLS", "WHY"), right=("COST/H",))
    for item in placement.decisions:
        cost = "–" if item.cost_per_hour is None else money(item.cost_per_hour)
        table.add_row(item.subject, item.cloud, ", ".join(item.pools) or "–", cost, item.reason)
    return table


def lines_of(placement: Placement) -> Iterator[str]:
    """Yield the total cost, how close it is to the optimum, and the moves."""
    rest = "optimal" if placement.gap == 0 else f"at most {placement.gap:.2%} above the best"
    if placement.cost_per_hour:
        known, unpriced = _known_cost(placement)
        missing = ""
        if unpriced:
            clouds = list(dict.fromkeys(item.cloud for item in unpriced))
            missing = f" without the {len(unpriced)} on {listed_clouds(clouds)}, for which no prices are known"
        yield f"{money(known)} {placement.currency} an hour{missing}, {rest}"
    for move in placement.moves:
        yield f"{move}"


def _known_cost(placement: Placement) -> tuple[Decimal, list[Decision]]:
    """Return the total cost on clouds with prices, and the decisions for clouds without."""
    known = sum((item.cost_per_hour for item in placement.decisions if item.cost_per_hour is not None), Decimal(0))
    return known, [item for item in placement.decisions if item.cost_per_hour is None]


def explanation_of(placement: Placement, locate: Locate) -> Iterator[str]:
    """Yield for each capability and app the rejected clouds, and each constraint with its position."""
    for item in placement.decisions:
        yield f"{item.subject} → {item.cloud}: {item.reason}"
        for refusal in item.refused:
            yield from _refusal_lines(item, refusal, locate)


def _refusal_lines(item: Decision, refusal: Refusal, locate: Locate) -> Iterator[str]:
    head = f"  not {refusal.cloud} ({refusal.kind})"
    if refusal.kind == "capacity" or not refusal.constraints:
        place = next((found for each in refusal.constraints if (found := locate(each))), "")
        yield f"{head}: {refusal.text}" + (f"  [{place}]" if place else "")
        return
    for number, constraint in enumerate(refusal.constraints):
        text = constraint.text.removeprefix(item.subject).lstrip(" ,:")
        place = locate(constraint)
        lead = f"{head}: " if number == 0 else "    and: "
        yield f"{lead}{text}" + (f"  [{place}]" if place else "")


def as_json(city: str, placement: Placement, locate: Locate) -> dict[str, Any]:
    """Return the placement as plain values; money as decimal strings.

    `assumed_cost_per_hour` is the assumed cost on clouds without prices; its sum with `cost_per_hour` is comparable
    with `bound`.
    """
    known, unpriced = _known_cost(placement)
    return {
        "city": city,
        "entry": placement.entry,
        "currency": placement.currency,
        "cost_per_hour": str(known),
        "assumed_cost_per_hour": str(placement.cost_per_hour - known),
        "unpriced_clouds": list(dict.fromkeys(item.cloud for item in unpriced)),
        "bound": str(placement.bound),
        "gap": placement.gap,
        "decisions": [_decision_json(item, locate) for item in placement.decisions],
        "moves": [
            {"subject": move.subject, "from": move.source, "to": move.target, "has_data": move.has_data}
            for move in placement.moves
        ],
    }


def _decision_json(item: Decision, locate: Locate) -> dict[str, Any]:
    return {
        "subject": item.subject,
        "cloud": item.cloud,
        "pools": list(item.pools),
        "cost_per_hour": None if item.cost_per_hour is None else str(item.cost_per_hour),
        "reason": item.reason,
        "refused": [
            {
                "cloud": refusal.cloud,
                "kind": refusal.kind,
                "text": refusal.text,
                "constraints": [constraint_json(each, locate) for each in refusal.constraints],
            }
            for refusal in item.refused
        ],
    }


def constraint_json(constraint: Constraint, locate: Locate) -> dict[str, Any]:
    """Return a constraint as plain values, with its position in the files."""
    return {
        "kind": constraint.kind,
        "subjects": list(constraint.subjects),
        "text": constraint.text,
        "place": locate(constraint),
    }


def money(amount: Decimal) -> str:
    """Return an amount with two to four decimals, without trailing zeros after the second."""
    text = f"{amount:.4f}"
    while text.endswith("0") and len(text.partition(".")[2]) > 2:
        text = text[:-1]
    return text
