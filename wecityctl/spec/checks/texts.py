"""Checks every text in the files: no empty values, placeholders, control characters, or secrets in plain text.

These checks read the raw documents, so they also apply to documents that do not match their schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from wecityctl.errors import Problem
from wecityctl.model.binding_values import references
from wecityctl.model.disclosure import (
    file_holds_a_secret,
    holds_a_secret,
    names_a_secret,
    options_hold_a_secret,
    value_holds_a_secret,
)
from wecityctl.spec.checks.check import Check
from wecityctl.spec.nodes import Document, Map, Mark, PathItem, Seq, format_path, shorten
from wecityctl.spec.parsed_city import ParsedCity

_PLACEHOLDER = re.compile(
    r"(?<![A-Za-z])(?i:CHANGE[-_]?ME|CHANGEIT|REPLACE[-_]?ME|FILL[-_]?ME(?:[-_]?IN)?|INSERT[-_]HERE)(?![A-Za-z])"
    r"|(?<![A-Za-z])(?i:YOUR[-_](?:[A-Z]+[-_])*(?:HERE|NAME|DOMAIN|PASSWORD|SECRET|TOKEN|KEY))(?![A-Za-z])"
    r"|(?<![A-Za-z])(?:CHANGE ME|REPLACE ME|TODO|FIXME|TBD|XXX+)(?![A-Za-z])"
    r"|待填写?|请填写|待定"
    r"|AKIAIOSFODNN7EXAMPLE|wJalrXUtnFEMI"
)
_BRACKETS = re.compile(r"<[A-Za-z][A-Za-z0-9 _.-]*>|\{\{[^{}]*\}\}|\$\{[A-Za-z_]\w*\}")
# Content for programs, in which angle brackets are syntax and `${NAME}` is a variable of theirs.
_FREE_FIELDS = frozenset({"files", "env", "command", "args"})
_FREE_BRACKETS = re.compile(r"<[A-Za-z][A-Za-z0-9 _.-]*>|\{\{[^{}]*\}\}")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def empty_values(parsed_city: ParsedCity) -> Iterator[Problem]:
    """`key:` without a value is reported, because it does not mean the same as a missing key."""
    for document in parsed_city.documents:
        for path, mark, value in _leaves(document):
            if value is None:
                yield _at(document, mark, path, "has no value", "a value, or the line left out")


def placeholders(parsed_city: ParsedCity) -> Iterator[Problem]:
    """No value is a placeholder such as CHANGEME, TODO or <your-domain>."""
    for document in parsed_city.documents:
        for path, mark, value in _leaves(document):
            if not isinstance(value, str):
                continue
            found = _PLACEHOLDER.search(value)
            if found is None and ("<" in value or "{" in value):
                free = not _FREE_FIELDS.isdisjoint(path)
                found = _FREE_BRACKETS.fullmatch(value) if free else _BRACKETS.search(value)
            if found is not None:
                yield _at(document, mark, path, f"placeholder {shorten(found[0])!r} is still there", "its real value")


def control_characters(parsed_city: ParsedCity) -> Iterator[Problem]:
    """No text has control characters, which escapes such as "\\0" can produce and no API accepts."""
    for document in parsed_city.documents:
        for path, mark, value in _leaves(document):
            if isinstance(value, str) and (found := _CONTROL.search(value)):
                yield _at(document, mark, path, f"has the control character U+{ord(found[0]):04X}", "text without it")


def secrets_in_clear(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Passwords, tokens and keys are named under `secrets` and never written in the files."""
    expected = "its name in the component's `secrets`; the value belongs in the city's secret store"
    for document in parsed_city.documents:
        for path, mark, value in _leaves(document, keys=False):
            if not isinstance(value, str) or not value:
                continue
            is_env = len(path) >= 2 and path[-2] == "env"
            if is_env and names_a_secret(str(path[-1]), value) and not references(value):
                message = f"{shorten(str(path[-1]))!r} looks like a secret in clear"
                yield replace(_at(document, mark, path, message, expected), hides=True)
            elif _holds_a_secret(path, value):
                message = "has a password or private key in clear"
                yield replace(_at(document, mark, path, message, expected), hides=True)
    for app in parsed_city.apps:
        for index, component in enumerate(app.value.components):
            for field, words in (("command", component.command), ("args", component.args)):
                if options_hold_a_secret(words):
                    path = ("spec", "components", index, field)
                    yield replace(app.problem(path, "has an option with a secret in clear", expected), hides=True)


def _holds_a_secret(path: tuple[PathItem, ...], value: str) -> bool:
    """Whether the value contains a secret. The rules differ for `files`, `env` and `command`."""
    if len(path) >= 2 and path[-2] == "files":
        return file_holds_a_secret(str(path[-1]), value)
    if "command" in path or "args" in path or (len(path) >= 2 and path[-2] == "env"):
        return value_holds_a_secret(value)
    return holds_a_secret(value)


def _leaves(document: Document, *, keys: bool = True) -> Iterator[tuple[tuple[PathItem, ...], Mark, Any]]:
    """Yield every scalar with its path and mark. With `keys`, also yield every mapping key as a value."""
    pending: list[tuple[tuple[PathItem, ...], Any]] = [((), document.value)]
    while pending:
        path, node = pending.pop()
        if isinstance(node, Map):
            for key, value in node.items():
                here = (*path, key)
                if keys:
                    yield here, node.keys_at[key], key
                if isinstance(value, Map | Seq):
                    pending.append((here, value))
                else:
                    yield here, node.values_at[key], value
        elif isinstance(node, Seq):
            for index, value in enumerate(node):
                if isinstance(value, Map | Seq):
                    pending.append(((*path, index), value))
                else:
                    yield (*path, index), node.items_at[index], value


def _at(document: Document, mark: Mark, path: tuple[PathItem, ...], message: str, expected: str) -> Problem:
    return Problem(mark.file or document.file, mark.line, mark.column, format_path(path), message, expected)


CHECKS: tuple[Check, ...] = (
    empty_values,
    placeholders,
    control_characters,
    secrets_in_clear,
)
