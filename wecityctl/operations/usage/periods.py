"""Parses the period that is counted. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from wecityctl.errors import ConfigurationError
from wecityctl.model.metering import Period
from wecityctl.model.times import rfc3339

# Seconds until the newest sample can be read.
_SETTLING = 15


def period_of(begin: str, end: str, now: datetime) -> Period:
    """The period from `begin` to `end`: dates in UTC, or RFC 3339 times with their zone.

    Without them it is from the start of the month, of that of `end`, until now. It never reaches into the future.
    Raises `ConfigurationError`.
    """
    latest = int(now.timestamp()) - _SETTLING
    until = min(_seconds("--to", end), latest) if end else latest
    if begin:
        since = _seconds("--from", begin)
    else:
        # The end is not part of the period: until the first of a month is the month before.
        last = datetime.fromtimestamp(until - 1, UTC)
        since = int(last.replace(day=1, hour=0, minute=0, second=0).timestamp())
    if since >= until:
        what = "begins in the future" if since >= latest else "has no time in it"
        raise ConfigurationError(
            f"the period {what}: from {rfc3339(since)} until {rfc3339(until)}",
            resolution="write dates such as --from 2026-11-01 --to 2026-12-01, which is all of November",
        )
    return Period(since, until)


def _seconds(option: str, text: str) -> int:
    try:
        found = datetime.fromisoformat(text.strip().upper())
    except ValueError:
        found = None
    is_date = len(text.strip()) == len("2026-11-01")
    if found is None or (found.tzinfo is None and not is_date) or not 1970 < found.year < 9999:
        raise ConfigurationError(
            f"{option} {text!r} is neither a date nor a time with its zone",
            resolution="write 2026-11-01, or 2026-11-01T08:00:00+08:00",
        )
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
