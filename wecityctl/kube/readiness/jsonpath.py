"""The subset of Kubernetes' JSONPath that waiting needs: fields, indexes, wildcards and equality filters.

`{.status.loadBalancer.ingress[0].ip}`, `{.status.conditions[?(@.type=="Ready")].status}`, `{.metadata.labels.a\\.b}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from wecityctl.errors import ConfigurationError

_STEP = re.compile(
    r"""\.(?P<field>(?:\\.|[^.\[\]{}\\])+)
      | \[\s*(?P<index>-?\d+)\s*\]
      | \[\s*['"](?P<key>[^'"]+)['"]\s*\]
      | (?:\[\s*|\.)(?P<wild>\*)(?:\s*\])?
      | \[\?\(\s*@\.(?P<name>[\w.\-/]+)\s*==\s*(?P<value>"[^"]*"|'[^']*'|[\w.\-]+)\s*\)\s*\]""",
    re.VERBOSE,
)

Step = tuple[str, Any]


def parse(expression: str) -> tuple[Step, ...]:
    """Parse an expression, with or without its braces, into steps. Raises `ConfigurationError`."""
    text = expression.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    text = text.removeprefix("$")
    if text and text[0] not in ".[":
        text = f".{text}"
    steps: list[Step] = []
    position = 0
    while position < len(text):
        found = _STEP.match(text, position)
        if found is None:
            raise ConfigurationError(f"the JSONPath {expression!r} cannot be read at {text[position:]!r}")
        steps.append(_step(found))
        position = found.end()
    if not steps:
        raise ConfigurationError(f"the JSONPath {expression!r} is empty")
    return tuple(steps)


def find(steps: Sequence[Step], value: Any) -> list[Any]:
    """Every value that the steps select."""
    values = [value]
    for kind, what in steps:
        values = [found for each in values for found in _follow(kind, what, each)]
    return values


def as_text(value: Any) -> str:
    """A value as text, to be compared with the user's."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _step(found: re.Match[str]) -> Step:
    if found["wild"] or found["field"] == "*":
        return "all", None
    if found["field"] is not None:
        return "field", re.sub(r"\\(.)", r"\1", found["field"])
    if found["key"] is not None:
        return "field", found["key"]
    if found["index"] is not None:
        return "index", int(found["index"])
    return "filter", (tuple(found["name"].split(".")), found["value"].strip("\"'"))


def _follow(kind: str, what: Any, value: Any) -> list[Any]:
    if kind == "field":
        return [value[what]] if isinstance(value, dict) and what in value else []
    if kind == "all":
        return list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, list) else []
    if not isinstance(value, list):
        return []
    if kind == "index":
        return [value[what]] if -len(value) <= what < len(value) else []
    names, wanted = what
    path = [("field", name) for name in names]
    return [item for item in value if any(as_text(v) == wanted for v in find(path, item))]
