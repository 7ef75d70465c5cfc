"""Writes single values into the text of a YAML file; comments, order and layout of everything else stay.

The changed text has to be read again and compared: with anchors and unusual layouts a value may end up elsewhere.
"""

from __future__ import annotations

import re

from wecityctl.spec.nodes import Map, Mark, Seq

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|$)")


class CannotWriteError(Exception):
    """The value's place is written in a way that is not changed by a program."""


def offset_of(text: str, line: int, column: int) -> int:
    """The offset of a line and column, which count from 1."""
    start = 0
    for _ in range(line - 1):
        found = _LINE.match(text, start)
        assert found is not None
        start = found.end()
    return start + column - 1


def with_scalar(text: str, mark: Mark, old: str, new: str) -> str:
    """`text` with the scalar `old` at `mark` replaced, in the quotes it has. Raises `CannotWriteError`."""
    start = offset_of(text, mark.line, mark.column)
    quote = text[start : start + 1] if text[start : start + 1] in ("'", '"') else ""
    written = f"{quote}{old}{quote}"
    end = start + len(written)
    if not text.startswith(written, start) or (not quote and not re.match(r"\s*(?:$|[\r\n,\]}]|\s#)", text[end:])):
        raise CannotWriteError
    return f"{text[:start]}{quote}{new}{quote}{text[end:]}"


def with_field(text: str, node: Map, key: str, value: str) -> str:
    """`text` with another field in a mapping, behind its first one; `value` is YAML in one line."""
    start = offset_of(text, node.start.line, node.start.column)
    if text[start : start + 1] == "{":
        return _in_braces(text, node, start, f"{key}: {value}")
    if not node:
        raise CannotWriteError
    first = next(iter(node))
    at, content = node.keys_at[first], node[first]
    if isinstance(content, str) and node.values_at[first].line == at.line:
        end = offset_of(text, at.line + 1, 1)
        line = f"{' ' * (at.column - 1)}{key}: {value}{newline_of(text)}"
        before = text[:end] if text[:end].endswith(("\n", "\r")) else f"{text[:end]}{newline_of(text)}"
        return f"{before}{line}{text[end:]}"
    return f"{text[:start]}{key}: {value}{newline_of(text)}{' ' * (at.column - 1)}{text[start:]}"


def _in_braces(text: str, node: Map, start: int, field: str) -> str:
    if not node:
        return f"{text[: start + 1]}{field}{text[start + 1 :]}"
    name = node.get("name")
    if isinstance(name, str):
        end = offset_of(text, *node.values_at["name"][:2])
        quote = text[end : end + 1] if text[end : end + 1] in ("'", '"') else ""
        written = f"{quote}{name}{quote}"
        if text.startswith(written, end):
            end += len(written)
            return f"{text[:end]}, {field}{text[end:]}"
    return f"{text[: start + 1]}{field}, {text[start + 1 :]}"


def with_item(text: str, node: Seq, value: str) -> str:
    """`text` with another item at the beginning of a list; `value` is YAML in one line. Raises `CannotWriteError`."""
    start = offset_of(text, node.start.line, node.start.column)
    match text[start : start + 1]:
        case "[":
            return f"{text[: start + 1]}{value}{', ' if node else ''}{text[start + 1 :]}"
        case "-":
            indent = " " * (node.start.column - 1)
            return f"{text[:start]}- {value}{newline_of(text)}{indent}{text[start:]}"
        case _:
            raise CannotWriteError


def with_document(text: str, document: str) -> str:
    """`text` with another document at its end."""
    newline = newline_of(text)
    document = document.replace("\n", newline)
    if not text.strip():
        return document
    end = "" if text.endswith(("\n", "\r")) else newline
    return f"{text}{end}---{newline}{document}"


def newline_of(text: str) -> str:
    """The line break that the text uses."""
    return "\r\n" if "\r\n" in text else "\n"
