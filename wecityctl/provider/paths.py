"""Paths into objects: tuples of keys and indexes, and the engine's notation for them. Reads no objects."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from wecityctl.provider.properties import state_key, wire_key

Path: TypeAlias = tuple[str | int, ...]
_TOKEN: Final = re.compile(r'\["((?:[^"\\]|\\.)*)"\]|\[(\d+|\*)\]|([^.\[\]]+)')
ANY: Final = "*"


def render(path: Path) -> str:
    """The engine's notation: `spec.containers[0].image`, `metadata.labels["app.kubernetes.io/name"]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
            continue
        key = state_key(step)
        if any(c in key for c in '."[]'):
            escaped = key.replace('"', '\\"')
            text += f'["{escaped}"]'
        else:
            text += f".{key}" if text else key
    return text


def parse(text: str) -> Path:
    """The inverse of `render`. Also reads the API server's notation (a leading dot, `[*]`)."""
    steps: list[str | int] = []
    for quoted, index, word in _TOKEN.findall(text):
        if index:
            steps.append(ANY if index == ANY else int(index))
        else:
            steps.append(wire_key(quoted.replace('\\"', '"') if quoted else word))
    return tuple(steps)


def covers(pattern: Path, path: Path) -> bool:
    """Whether `path` is equal to or below `pattern`, in which `*` matches any step."""
    return len(pattern) <= len(path) and _agree(pattern, path)


def meets(pattern: Path, path: Path) -> bool:
    """Whether one of the two is equal to or below the other."""
    return _agree(pattern, path)


def _agree(pattern: Path, path: Path) -> bool:
    return all(left in (ANY, right) or right == ANY for left, right in zip(pattern, path, strict=False))
