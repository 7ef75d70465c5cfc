"""Kubernetes quantities, as far as telling whether two spellings mean the same amount ("1000m" and "1"). Pure.

Syntax: apimachinery's resource.Quantity.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

# Keys under which the built-in kinds keep quantities (resources, quotas, limit ranges, claims, volumes).
_PARENTS: Final = frozenset(
    {
        "allocatable",
        "capacity",
        "default",
        "defaultRequest",
        "hard",
        "limits",
        "max",
        "maxLimitRequestRatio",
        "min",
        "overhead",
        "podFixed",
        "requests",
    }
)
_LEAVES: Final = frozenset({"averageValue", "sizeLimit"})
_SYNTAX: Final = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)")
_FACTORS: Final[Mapping[str, Decimal]] = {
    **{
        suffix: Decimal(10) ** power
        for suffix, power in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)
    },
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)},
}


def same_amount(path: tuple[str | int, ...], old: Any, new: Any) -> bool:
    """Whether the two values stand where a quantity does and mean the same amount."""
    if not path or not (path[-1] in _LEAVES or (len(path) > 1 and path[-2] in _PARENTS)):
        return False
    left, right = _amount(old), _amount(new)
    return left is not None and left == right


def _amount(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    found = _SYNTAX.fullmatch(str(value))
    if found is None:
        return None
    number, exponent, suffix = found.groups()
    return Decimal(number + (exponent or "")) * (_FACTORS[suffix] if suffix else 1)
