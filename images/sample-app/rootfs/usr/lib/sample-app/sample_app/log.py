"""The app's log: one JSON object a line, for whatever collects a container's output."""

from __future__ import annotations

import json
import sys
from typing import Any


def say(event: str, **facts: Any) -> None:
    """Write one event."""
    sys.stdout.write(json.dumps({"event": event, **facts}, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()
