"""A point in the past from which logs and events are shown: a duration before now, or a time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_DURATION = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Since:
    """Either `seconds` before now, by the clock of whoever is asked, or a `time` in RFC 3339."""

    seconds: int = 0
    time: str = ""

    @classmethod
    def parse(cls, text: str) -> Since:
        """Parse `90s`, `10m`, `1h30m`, `2d`, or an RFC 3339 time with its zone. Raises `ValueError`."""
        words = text.strip()
        match = _DURATION.fullmatch(words)
        if words and match is not None:
            days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
            total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
            if total:
                return cls(seconds=total)
        try:
            found = datetime.fromisoformat(words.upper())
        except ValueError:
            found = None
        if found is None or found.tzinfo is None or "T" not in words.upper():
            raise ValueError(f"{text!r} is neither a duration nor a time: write 10m, 2h, or 2026-05-01T08:00:00Z")
        return cls(time=found.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))

    def begin(self, now: datetime) -> datetime:
        """The point in time, seen from `now`."""
        return datetime.fromisoformat(self.time) if self.time else now - timedelta(seconds=self.seconds)
