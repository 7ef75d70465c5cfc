"""Converts events and results to JSON, for the NDJSON stream of `-o json` and the file of `--report-file`.

Both start with a format version: its minor number grows when fields are added, its major number when one changes its
meaning.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from wecityctl.model.events import Event, RunFinished, RunResult, StackFinished, StackResult

FORMAT_VERSION = "1.3"


def event_json(event: Event, at: float) -> dict[str, Any]:
    """Return one event of the stream as plain values. `at` is in seconds since the run began."""
    kind = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    if isinstance(event, StackFinished):
        body = {"result": stack_json(event.result)}
    elif isinstance(event, RunFinished):
        body = {"result": run_json(event.result)}
    else:
        body = asdict(event)
    return {"event": kind, "at": round(at, 3), **body}


def run_json(result: RunResult) -> dict[str, Any]:
    """Return the result of a run as plain values: the machine-readable report."""
    return {
        "format_version": FORMAT_VERSION,
        "operation": result.operation,
        "city": result.city,
        "exit_code": result.exit_code,
        "has_changes": result.has_changes,
        "planned": result.operation == "preview" or result.planned,
        "seconds": round(result.seconds, 3),
        "provider": result.provider,
        "removals": list(result.removals),
        "entry_urls": list(result.entry_urls),
        "notes": list(result.notes),
        "starts": list(result.starts),
        "counts": {"failed": len(result.failed), "refused": len(result.refused)},
        "stacks": [stack_json(item) for item in result.results],
    }


def stack_json(result: StackResult) -> dict[str, Any]:
    return {
        **asdict(result),
        "has_changes": result.has_changes,
        "refused": list(result.refused),
        "seconds": round(result.seconds, 3),
    }
