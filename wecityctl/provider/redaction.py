"""Removes secret values from messages. The API server quotes rejected values, and errors end up in logs."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any, Final

from wecityctl.provider.properties import Secret

MASK: Final = "[secret]"
# Shorter values ("1", "no") are not worth protecting, and masking them would make the message unreadable.
_SHORTEST: Final = 3


def redact(text: str, *objects: Mapping[str, Any]) -> str:
    """`text` without any secret leaf of the objects, in plain text or in base64."""
    found: set[str] = set()
    for obj in objects:
        found.update(_secret_texts(obj, secret=False))
    for secret in sorted(found, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def _secret_texts(value: Any, *, secret: bool) -> Iterator[str]:
    if isinstance(value, Secret):
        yield from _secret_texts(value.value, secret=True)
    elif isinstance(value, Mapping):
        is_secret_object = value.get("kind") == "Secret"
        for key, item in value.items():
            yield from _secret_texts(item, secret=secret or (is_secret_object and key in ("data", "stringData")))
    elif isinstance(value, list):
        for item in value:
            yield from _secret_texts(item, secret=secret)
    elif secret and isinstance(value, str | int | float) and not isinstance(value, bool):
        yield from _forms(str(value))


def _forms(text: str) -> Iterator[str]:
    if len(text) < _SHORTEST:
        return
    yield text
    yield base64.b64encode(text.encode()).decode()
    escaped = text.encode("unicode_escape").decode()
    if escaped != text:
        yield escaped
    try:
        decoded = base64.b64decode(text, validate=True).decode()
    except ValueError:  # not base64, or not text when decoded
        return
    if len(decoded) >= _SHORTEST:
        yield decoded
        for line in decoded.splitlines():
            if len(line) >= _SHORTEST:
                yield line
