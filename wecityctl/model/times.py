"""Times as users read them: in UTC, with their zone."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(seconds: float) -> str:
    """A time in seconds since 1970 as RFC 3339 has it, to the second and in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def in_utc(time: str) -> str:
    """An RFC 3339 time to the second, in UTC with its `Z`; empty for an empty one. A time without a zone is in UTC.

    What is no time is returned as it is: others write some of these, such as the engine in its locks.
    """
    if not time:
        return ""
    try:
        found = datetime.fromisoformat(time)
        moved = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return time
    return moved.strftime("%Y-%m-%dT%H:%M:%SZ")
