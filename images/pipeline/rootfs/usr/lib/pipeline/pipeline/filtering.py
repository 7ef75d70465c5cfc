"""Decides of each record whether it is what the description says. Knows no source and no database."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pipeline.description import Description, Field

# How far the clock of who sends may be ahead.
AHEAD = timedelta(minutes=5)
TEXT_MOST = 1000


@dataclass(frozen=True, slots=True)
class Accepted:
    """A record with a value for each field, None where an optional one is missing."""

    values: dict[str, Any]
    late: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that is kept apart: which field is wrong, empty if the whole is, and why; `record` is its text."""

    field: str
    reason: str
    record: str


class _WrongError(Exception):
    """Why a value is none of its field."""


def decide(description: Description, raw: Any, now: datetime, group: str = "") -> Accepted | Refused:
    """What becomes of a record, as JSON gives it. `group` is the only one that its sender may speak for, if any."""

    def refused(name: str, reason: str) -> Refused:
        return Refused(_storable(name[:100]), reason, _storable(json.dumps(raw, ensure_ascii=False)[:4000]))

    if not isinstance(raw, dict):
        return refused("", "is no object")
    if unknown := sorted(raw.keys() - description.fields.keys()):
        return refused(unknown[0], "is no field of the description")
    values: dict[str, Any] = {}
    for name, field in description.fields.items():
        try:
            values[name] = _value(field, raw.get(name))
        except _WrongError as wrong:
            return refused(name, str(wrong))
    if group and values[description.group] != group:
        return refused(description.group, f"is not {group}, which sent it")
    time = values[description.time]
    if time > now + AHEAD:
        return refused(description.time, "is in the future")
    if now - time > timedelta(days=description.keep):
        # It would be deleted at once, and its hour computed of it alone.
        return refused(description.time, f"is longer ago than the {description.keep} days that are kept")
    return Accepted(values, late=now - time > timedelta(seconds=description.late))


def _storable(text: str) -> str:
    """The text without what PostgreSQL stores in none."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def _value(field: Field, raw: Any) -> Any:
    if raw is None:
        if field.optional:
            return None
        raise _WrongError("is missing")
    if field.type == "number":
        return _number(field, raw)
    if not isinstance(raw, str) or len(raw) > TEXT_MOST or "\0" in raw:
        raise _WrongError(f"is no text of at most {TEXT_MOST} characters")
    if field.type == "time":
        return _time(raw)
    try:
        raw.encode()
    except UnicodeEncodeError:
        raise _WrongError("is no valid Unicode") from None
    if field.pattern and not re.fullmatch(field.pattern, raw):
        raise _WrongError(f"does not match {field.pattern}")
    return raw


def _number(field: Field, raw: Any) -> float:
    if isinstance(raw, bool) or not isinstance(raw, (int, float)):
        raise _WrongError("is no number")
    try:
        found = float(raw)
    except OverflowError:
        raise _WrongError("is no finite number") from None
    if not math.isfinite(found):
        raise _WrongError("is no finite number")
    if field.least is not None and found < field.least:
        raise _WrongError(f"is less than {field.least}")
    if field.most is not None and found > field.most:
        raise _WrongError(f"is more than {field.most}")
    return found


def _time(raw: str) -> datetime:
    try:
        found = datetime.fromisoformat(raw)
    except ValueError:
        raise _WrongError("is no time such as 2026-11-28T08:00:00+08:00") from None
    if found.tzinfo is None:
        raise _WrongError("has no time zone")
    if not 1970 <= found.year <= 9000:
        raise _WrongError("is no time after 1970")
    return found


def rows_of_csv(description: Description, text: str) -> Iterator[dict[str, Any]]:
    """The records of a CSV file whose first line names the fields; what is empty is missing.

    Raises `ValueError` if the file as a whole is none.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    if not reader.fieldnames:
        raise ValueError("the file is empty: its first line names the fields")
    try:
        for row in reader:
            # Values beyond the named ones are under None.
            yield {key or "": _from_text(description.fields.get(key), value) for key, value in row.items()}
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error


def _from_text(field: Field | None, value: Any) -> Any:
    if value == "":
        return None
    if field and field.type == "number" and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
