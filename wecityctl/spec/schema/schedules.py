"""Times: cron expressions, time zones and durations, each an annotated type with its check and its JSON Schema."""

from __future__ import annotations

import re
import zoneinfo
from functools import cache

from wecityctl.guesses import nearest
from wecityctl.model.quantity import DURATION, parse_duration
from wecityctl.spec.nodes import shorten
from wecityctl.spec.schema.refuse import checked, refuse

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# What each field of a cron expression is called, its lowest and highest value, and the names that stand for values.
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, ("", *_MONTHS)),
    ("day of the week", 0, 6, _DAYS),
)
_PART = re.compile(r"(?P<low>\*|[0-9]+|[a-z]{3})(?:-(?P<high>[0-9]+|[a-z]{3}))?(?:/(?P<step>[0-9]+))?")
_MACROS = ("@hourly", "@daily", "@weekly", "@monthly", "@yearly")
# The days of each month at the most.
_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
MAX_DURATION = 86_400 * 7


def _schedule(text: str) -> str:
    """A cron expression as Kubernetes reads it. Source: github.com/robfig/cron/v3, ParseStandard."""
    expected = 'minute, hour, day, month and weekday, such as "0 3 * * *" for 3 o\'clock each day'
    if text in _MACROS:
        return text
    words = text.split()
    if len(words) != len(_FIELDS):
        macro = nearest(text, _MACROS) if text.startswith("@") else ""
        raise refuse(f"{shorten(text)!r} is not a schedule", expected, macro)
    values = [_values(word, *field) for word, field in zip(words, _FIELDS, strict=True)]
    days, months = values[2], values[3]
    # With a restricted weekday as well, either of both days will do.
    if words[4].startswith("*") and not any(day <= _LENGTHS[month - 1] for month in months for day in days):
        raise refuse(f"{shorten(text)!r} never comes: no such month has such a day", expected)
    return text


def _values(word: str, what: str, lowest: int, highest: int, names: tuple[str, ...]) -> set[int]:
    """The values that one field of a cron expression stands for."""
    expected = f"numbers from {lowest} to {highest}, *, ranges such as {lowest}-{highest} and steps such as */5"
    found: set[int] = set()
    for part in word.lower().split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise refuse(f"{shorten(word)!r} is no {what}", expected)
        ends = [_number(item, names) for item in (match["low"], match["high"] or "") if item not in ("", "*")]
        if match["low"] == "*":
            ends = [lowest, highest] if not match["high"] else []
        elif not match["high"] and match["step"]:
            ends.append(highest)
        step = int(match["step"] or 1)
        if not ends or step < 1 or min(ends) < lowest or max(ends) > highest or ends[0] > ends[-1]:
            raise refuse(f"{shorten(word)!r} is no {what}", expected)
        found.update(range(ends[0], ends[-1] + 1, step))
    return found


def _number(text: str, names: tuple[str, ...]) -> int:
    if text.isdigit():
        return int(text[:9])
    return names.index(text) if text in names else -1


@cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def _time_zone(text: str) -> str:
    if text in _zones():
        return text
    guess = nearest(text, sorted(_zones()))
    raise refuse(f"{shorten(text)!r} is not a time zone", "a name such as Asia/Shanghai or Etc/UTC", guess)


def _duration(text: str) -> str:
    expected = "a duration such as 30s, 10m, 2h or 1h30m, of at most seven days"
    if not DURATION.fullmatch(text) or not text:
        raise refuse(f"{shorten(text)!r} is not a duration", expected, f"{text}s" if text.isdigit() else "")
    if not 0 < parse_duration(text) <= MAX_DURATION:
        raise refuse(f"{shorten(text)!r} is too short or too long", expected)
    return text


Schedule = checked(_schedule)
TimeZone = checked(_time_zone)
Duration = checked(_duration, pattern=f"^(?:{DURATION.pattern})$")
