"""Reads from an advisory how bad its vulnerability is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wecityctl.model.severity import Severity

_WORDS = {"moderate": "medium", "important": "high", "negligible": "low", "unimportant": "low"}


def severity_of(entry: Mapping[str, Any], affected: Mapping[str, Any]) -> Severity:
    """The severity of an advisory for one affected package: its CVSS score, otherwise its database's word for it.

    What is said of the package wins over what is said of the whole advisory.
    """
    for source in (affected, entry):
        scores = [score for score in _scores(source) if score is not None]
        if scores:
            return _rating(max(scores))
    for source in (affected, entry):
        for part in ("ecosystem_specific", "database_specific"):
            said = source.get(part)
            for key in ("severity", "urgency"):
                word = str(said.get(key, "")).lower() if isinstance(said, Mapping) else ""
                word = _WORDS.get(word, word)
                if word in list(Severity):
                    return Severity(word)
    return Severity.UNKNOWN


def _scores(source: Mapping[str, Any]) -> Iterator[float | None]:
    from cvss import CVSS2, CVSS3, CVSS4, CVSSError

    kinds = {"CVSS_V2": CVSS2, "CVSS_V3": CVSS3, "CVSS_V4": CVSS4}
    stated = source.get("severity")
    for item in stated if isinstance(stated, list) else ():
        kind = kinds.get(str(item.get("type"))) if isinstance(item, Mapping) else None
        if kind is not None:
            try:
                yield float(kind(str(item.get("score"))).scores()[0])
            except (CVSSError, ValueError, TypeError):
                yield None


def _rating(score: float) -> Severity:
    """The rating of a base score. Source: the CVSS v3.1 specification, qualitative severity rating scale."""
    limits = ((9.0, Severity.CRITICAL), (7.0, Severity.HIGH), (4.0, Severity.MEDIUM))
    return next((rating for limit, rating in limits if score >= limit), Severity.LOW)
