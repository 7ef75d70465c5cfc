"""Parses Kubernetes quantities exactly and writes them in a canonical form.

Source: k8s.io/apimachinery/pkg/api/resource. Values are `Decimal` in base units: CPUs, bytes, pieces.
"""

from __future__ import annotations

import re
from decimal import Decimal

_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
# ASCII digits only: `\d` would accept full-width digits, and `$` a line break at the end.
_SHAPE = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?[0-9]{1,3})?")


def parse_quantity(text: str) -> Decimal:
    """The value of a quantity such as `500m`, `4Gi` or `1e3`. Raises `ValueError` with what was expected."""
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise ValueError("a quantity such as 500m, 2, 512Mi or 10Gi (no space, no trailing B)")
    number, suffix = Decimal(match[1]), match[2] or ""
    if suffix in _BINARY:
        return number * Decimal(1024 ** _BINARY[suffix])
    if suffix in _DECIMAL:
        return number.scaleb(_DECIMAL[suffix])
    return number.scaleb(int(suffix[1:]))


def format_cpu(value: Decimal) -> str:
    """CPUs as Kubernetes prints them: whole numbers plain, fractions in millicores (rounded up)."""
    milli = int((value * 1000).to_integral_value(rounding="ROUND_CEILING"))
    return str(milli // 1000) if milli % 1000 == 0 else f"{milli}m"


def format_bytes(value: Decimal) -> str:
    """Bytes in the largest binary unit that keeps them whole (rounded up to a byte)."""
    count = int(value.to_integral_value(rounding="ROUND_CEILING"))
    for unit, power in reversed(_BINARY.items()):
        if count and count % 1024**power == 0:
            return f"{count // 1024**power}{unit}"
    return str(count)


def rounded_bytes(value: Decimal) -> str:
    """Bytes as people read them: whole in their unit, or else rounded up to three digits of one or more."""
    exact = format_bytes(value)
    if len(exact) <= 8:
        return exact
    count = int(value.to_integral_value(rounding="ROUND_CEILING"))
    for unit, power in reversed(_BINARY.items()):
        if count >= 100 * 1024**power:
            return f"{-(-count // 1024**power)}{unit}"
    return exact


DURATION = re.compile(r"(?:(?P<hours>[0-9]{1,4})h)?(?:(?P<minutes>[0-9]{1,5})m)?(?:(?P<seconds>[0-9]{1,7})s)?")


def parse_duration(text: str) -> int:
    """The seconds of a duration such as `1h30m`. Raises `ValueError` for anything else."""
    match = DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"{text!r} is not a duration")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds
