"""Writes the stage of an app and the records of its life into a city's files. Comments and layout are kept. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator

from wecityctl.errors import ConfigurationError
from wecityctl.model.lifecycle import Record
from wecityctl.spec.insertion import CannotWriteError, newline_of, with_scalar
from wecityctl.spec.nodes import Mark, SourceLocation

_API_VERSION = "wecity.dev/v1alpha1"


def with_stage(text: str, place: SourceLocation, old: str, new: str) -> str:
    """The text of an App's file with another stage. `place` is that of the stage's value.

    Raises `ConfigurationError` if the value is not written as it reads, with an anchor, an alias or a tag.
    """
    try:
        return with_scalar(text, Mark(place.line, place.column), old, new)
    except CannotWriteError:
        raise ConfigurationError(
            f"{place}: the stage is written with an anchor, an alias, a tag or an escape",
            resolution=f"write `stage: {old}` there, and run it again",
        ) from None


def new_document(tenant: str, app: str, record: Record) -> str:
    """A Lifecycle document with its first record."""
    head = (
        f"apiVersion: {_API_VERSION}\nkind: Lifecycle\nmetadata: {{name: {app}, tenant: {tenant}}}\n"
        "spec:\n  # Written by `wecityctl app`.\n  records:\n"
    )
    return head + _item(record, 4)


def with_record(text: str, last: SourceLocation, record: Record) -> str:
    """The text of a file that ends with a Lifecycle document, and one more record. `last` is the place of its last one.

    Raises `ConfigurationError` if the records are not written as a list with hyphens at the end of the file.
    """
    line = text.splitlines()[last.line - 1]
    indent = len(line) - len(line.lstrip(" "))
    if not line.lstrip(" ").startswith("- "):
        raise ConfigurationError(
            f"{last}: the records are not written as a list with hyphens",
            resolution="write `- action: …` at the beginning of a line for each of them, and run it again",
        )
    newline = newline_of(text)
    end = "" if text.endswith(("\n", "\r")) else newline
    return text + end + _item(record, indent).replace("\n", newline)


def _item(record: Record, indent: int) -> str:
    lines = list(_fields(record))
    space = " " * indent
    return f"{space}- {lines[0]}\n" + "".join(f"{space}  {line}\n" for line in lines[1:])


def _fields(record: Record) -> Iterator[str]:
    yield f"action: {record.action}"
    yield f"by: {_quoted(record.by)}"
    yield f"at: {_quoted(record.at)}"
    yield f"digest: {record.digest}"
    yield f"stage: {record.stage}"
    if record.note:
        yield f"note: {_quoted(record.note)}"
    if record.keep_until:
        yield f"keepUntil: {_quoted(record.keep_until)}"
    if record.checks:
        yield "checks:"
    for check in record.checks:
        findings = "".join(f"\n      - {_quoted(item)}" for item in check.findings)
        yield from f"  - name: {check.name}\n    result: {check.result}".split("\n")
        if findings:
            yield from f"    findings:{findings}".split("\n")


def _quoted(text: str) -> str:
    """A string in double quotes; JSON's are YAML's too."""
    return json.dumps(text, ensure_ascii=False)
