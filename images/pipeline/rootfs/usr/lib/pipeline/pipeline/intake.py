"""The way of records from any source: decide, store, count, and say what was refused and why."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sample_app.log import say

from pipeline.description import Description
from pipeline.filtering import decide
from pipeline.store import Store, Taken

# Records that one request, message or file may have, and its bytes.
RECORDS_MOST = 10_000
BYTES_MOST = 1 << 20
_SHOWN = 20


class WholeError(Exception):
    """Why a request, message or file is none as a whole; no record of it is stored."""


def records_of_json(text: bytes) -> list[Any]:
    """The records of a JSON text: a list of objects, or one object. Raises `WholeError`."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WholeError(f"it is no JSON: {error}") from error
    return found if isinstance(found, list) else [found]


def take(description: Description, store: Store, source: str, raws: Iterable[Any], group: str = "") -> dict[str, Any]:
    """Store the records that are good, and keep the others apart; what became of them, as JSON.

    Raises `WholeError` for too many, and `PipelineError` if the database fails; then nothing is stored.
    """
    now = datetime.now(UTC)
    decisions = []
    for raw in raws:
        if len(decisions) == RECORDS_MOST:
            raise WholeError(f"it has more than {RECORDS_MOST} records")
        decisions.append(decide(description, raw, now, group))
    taken = store.take(source, decisions)
    found = _told(taken)
    say("taken", source=source, accepted=taken.accepted, late=taken.late, duplicate=taken.duplicate,
        refused=len(taken.refused))  # fmt: skip
    return found


def _told(taken: Taken) -> dict[str, Any]:
    refused = [{"record": index, "field": each.field, "reason": each.reason} for index, each in taken.refused[:_SHOWN]]
    return {
        "accepted": taken.accepted,
        "late": taken.late,
        "duplicate": taken.duplicate,
        "refused": len(taken.refused),
        "first_refused": refused,
    }
