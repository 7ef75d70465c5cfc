"""Decides which underlying cloud runs which capability and app, and explains why.

Pure: no state, no cluster, no files.
"""

from wecityctl.placement.model import (
    Constraint,
    Decision,
    InfeasiblePlacementError,
    Limits,
    Move,
    Placement,
    Refusal,
    Source,
)
from wecityctl.placement.place import place

__all__ = [
    "Constraint",
    "Decision",
    "InfeasiblePlacementError",
    "Limits",
    "Move",
    "Placement",
    "Refusal",
    "Source",
    "place",
]
