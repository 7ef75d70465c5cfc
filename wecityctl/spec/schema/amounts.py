"""Numbers with a unit or a range: quantities of CPU and bytes, prices, ports, percentages, counts.

Quantities and prices may be written with or without quotes; the user's own writing is kept as text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal, DecimalException
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from wecityctl.model.quantity import DURATION, parse_duration, parse_quantity
from wecityctl.spec.nodes import Unquoted, shorten
from wecityctl.spec.scalars import NUMBER
from wecityctl.spec.schema.refuse import refuse

_LARGEST = Decimal(2**63 - 1)
# Below this the kernel ends a container before it has begun.
_LEAST_MEMORY = 4 * 1024**2
_PRICE = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,12})?")
_LOOSE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")
_UNITS = {"k": "k", "m": "M", "g": "G", "t": "T", "p": "P", "e": "E"}


def _as_text(value: object) -> object:
    """A number as the user wrote it; anything else is left for the text check to refuse."""
    if isinstance(value, Unquoted) and value.kind == NUMBER:
        return value.text
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _value_of(text: str) -> Decimal | None:
    """The quantity's value in base units, or `None` if it is none that Kubernetes could hold."""
    if len(text) > 40:
        return None
    try:
        value = parse_quantity(text)
        return value if 0 <= value <= _LARGEST else None
    except (ValueError, DecimalException):
        return None


def _cpu(text: str) -> str:
    expected = "CPUs such as 2, 0.5 or 500m"
    value = _value_of(text)
    if value is None:
        raise refuse(f"{shorten(text)!r} is not a quantity", expected, _cpu_guess(text))
    if re.search(r"[KMGTPE]i?$", text):
        raise refuse(f"{shorten(text)!r} is no number of CPUs but of bytes", expected)
    if value == 0 or (value * 1000) % 1:
        raise refuse(f"{shorten(text)!r} is not a whole number of thousandths of a CPU above zero", expected)
    return text


def _cpu_guess(text: str) -> str:
    match = _LOOSE.fullmatch(text)
    if match is None or match[2].lower() not in ("", "m", "core", "cores", "cpu", "cpus", "vcpu", "vcpus", "c"):
        return ""
    return match[1] + ("m" if match[2].lower() == "m" else "")


def _bytes(text: str) -> str:
    expected = "bytes such as 512Mi, 10Gi or 2Ti (no space, no B)"
    value = _value_of(text)
    if value is None:
        raise refuse(f"{shorten(text)!r} is not a quantity", *_bytes_guess(text, expected))
    if text.endswith("m") or value < 1:
        guess = text[:-1] + "Mi" if text.endswith("m") else ""
        raise refuse(f"{shorten(text)!r} is less than a byte ('m' means thousandths)", expected, guess)
    if value % 1:
        raise refuse(f"{shorten(text)!r} is not a whole number of bytes", expected)
    return text


def _memory(text: str) -> str:
    value = parse_quantity(_bytes(text))
    if value >= _LEAST_MEMORY:
        return text
    guess = f"{text}Mi" if text.isdigit() else ""
    raise refuse(f"{shorten(text)!r} is too little memory for any process", "at least 4Mi, such as 512Mi", guess)


def _bytes_guess(text: str, expected: str) -> tuple[str, str]:
    """Both ways to write what is likely meant, as `4G` and `4Gi` differ by 7 %."""
    match = _LOOSE.fullmatch(text)
    unit = match[2].lower().removesuffix("b").removesuffix("yte").removesuffix("bytes") if match else ""
    letter = _UNITS.get(unit.removesuffix("i"), "")
    if match is None or not letter:
        return expected, ""
    binary = f"{match[1]}{letter.upper()}i"
    if unit.endswith("i"):
        return expected, binary
    return f"{match[1]}{letter} (powers of 1000) or {binary} (powers of 1024)", binary


def _price(text: str) -> str:
    if _PRICE.fullmatch(text):
        return text
    raise refuse(f"{shorten(text)!r} is not a price", 'a decimal number such as "0.10", in spec.prices.currency')


def _amount(check: Callable[[str], str], pattern: str) -> Any:
    schema = {"type": ["string", "number"], "pattern": pattern}
    return Annotated[str, BeforeValidator(_as_text), AfterValidator(check), WithJsonSchema(schema)]


def _ranged(low: int, high: int, what: str) -> Any:
    def check(number: int) -> int:
        if low <= number <= high:
            return number
        raise refuse(f"{number} is not {what}", f"a whole number from {low} to {high}")

    schema = {"type": "integer", "minimum": low, "maximum": high}
    return Annotated[int, AfterValidator(check), WithJsonSchema(schema)]


def _as_seconds(value: object) -> object:
    """A duration is refused with its seconds; anything else is left for the check of whole numbers."""
    if isinstance(value, str) and value and DURATION.fullmatch(value):
        raise refuse(f"the text {shorten(value)!r} is given", "a whole number of seconds", str(parse_duration(value)))
    return value


def _seconds(high: int, what: str) -> Any:
    return Annotated[_ranged(1, high, what), BeforeValidator(_as_seconds)]


CpuQuantity = _amount(_cpu, r"^[0-9]*\.?[0-9]+m?$")
_BYTES = r"^[0-9]*\.?[0-9]+([KMGTPE]i|[kMGTPE]|[eE][0-9]+)?$"
BytesQuantity = _amount(_bytes, _BYTES)
MemoryQuantity = _amount(_memory, _BYTES)
Price = _amount(_price, f"^{_PRICE.pattern}$")
Port = _ranged(1, 65535, "a TCP port")
NodePort = _ranged(30000, 32767, "a node port")
Percent = _ranged(1, 100, "a percentage")
Share = _ranged(1, 99, "a share of the requests in percent")
RequestRate = _ranged(1, 100_000, "a number of requests in a second")
Burst = _ranged(0, 100_000, "a number of requests")
Requests = _ranged(1, 1_000_000, "a number of requests")
Replicas = _ranged(1, 1000, "a number of replicas")
Pods = _ranged(0, 1000, "a number of pods")
NodeCount = _ranged(1, 5000, "a number of nodes")
Level = _ranged(1, 4, "a level of GB/T 22239")
KeptBackups = _ranged(1, 1000, "a number of backups")
RetentionDays = _ranged(1, 3660, "a number of days")
Updates = _ranged(2, 10_000, "a number of updates")
DeviceCount = _ranged(0, 1024, "a number of devices per node")
Connections = _ranged(1, 5000, "a number of connections")
StatementSeconds = _seconds(86400, "a number of seconds up to a day")
Seconds = _seconds(3600, "a number of seconds up to an hour")
UserId = _ranged(1, 2**31 - 1, "a numeric user other than root")
