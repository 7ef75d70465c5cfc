"""Groups constraints that have one meaning but are written in many places, and summarises a group in one sentence."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from wecityctl.placement.filters import listed
from wecityctl.placement.model import Constraint

Family = Hashable


def family_of(constraint: Constraint) -> Family:
    """The key of the family that a constraint belongs to."""
    subject = constraint.subjects[0]
    match constraint.kind:
        case "zone" | "pin" | "domestic" | "region":
            return (constraint.kind, constraint.text.removeprefix(subject))
        case "architecture" | "accelerators":
            return (constraint.kind, constraint.text.rpartition(": ")[2])
        case "uses" | "route" if len(constraint.subjects) > 1:
            return (constraint.kind, constraint.subjects[1])
        case _:
            return constraint


def as_one(members: Sequence[Constraint]) -> Constraint:
    """A family as one constraint with one sentence."""
    if len(members) == 1:
        return members[0]
    first = members[0]
    subjects = tuple(dict.fromkeys(member.subjects[0] for member in members))
    said = first.text.removeprefix(first.subjects[0])
    said = said.rpartition(": ")[2] if first.kind in ("architecture", "accelerators") else said.strip()
    if first.kind == "route" and len(first.subjects) > 1:
        said = f"each is led to by {first.subjects[1]}, and no way leads there from another cloud"
    elif first.kind == "uses":
        said = f"each uses {first.subjects[1]}, and no declared flow lets that cross clouds"
    elif first.kind not in ("architecture", "accelerators"):
        said = f"each {said}"
    text = f"{listed_subjects(subjects)}: {said}"
    return Constraint(first.kind, subjects, text, first.source)


def listed_subjects(subjects: Sequence[str]) -> str:
    """The number of subjects, and the names of the first ones."""
    return f"{len(subjects)} apps and capabilities ({listed(subjects, 4)})"
