"""How bad a known vulnerability is."""

from __future__ import annotations

from enum import StrEnum


class Severity(StrEnum):
    """The qualitative ratings of CVSS; `unknown` where the advisory says nothing that can be read."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    UNKNOWN = "unknown"

    @property
    def rank(self) -> int:
        """Its place in a list that begins with the worst."""
        return list(Severity).index(self)

    def reaches(self, limit: Severity) -> bool:
        """Whether it is at least as bad as `limit`. What is not known reaches every limit."""
        return self is Severity.UNKNOWN or self.rank <= limit.rank
