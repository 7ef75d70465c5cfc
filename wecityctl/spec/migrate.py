"""Renames the fields of a city's files that were renamed in the format (`renamed_fields`).

Only keys that the YAML reader located are changed, so comments and layout are kept.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wecityctl.errors import InvalidCityError, Problem
from wecityctl.spec.files import SourceFile, find_files, read_text
from wecityctl.spec.nodes import Document, Map
from wecityctl.spec.renamed_fields import RENAMED
from wecityctl.spec.yamltree import parse_yaml

_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class Renaming:
    """A key to rename: file, line and column (from 1), old and new name."""

    file: str
    line: int
    column: int
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class MigratedFile:
    """A file with its new text and the renamed keys, in file order."""

    file: SourceFile
    text: str
    renamings: tuple[Renaming, ...]

    @property
    def path(self) -> Path:
        return self.file.path


def migrate(path: Path) -> tuple[MigratedFile, ...]:
    """Compute the new texts of the files of the city at `path` that need a change. Writes nothing.

    Raises `InvalidCityError` if a file cannot be read, or if a document has a field under both names.
    """
    files, found = find_files(path)
    problems = list(found)
    migrated = []
    for file in files:
        text, problem = read_text(file)
        if problem is not None:
            problems.append(problem)
            continue
        parsed = parse_yaml(text, file.name)
        problems += parsed.problems
        renamings: list[Renaming] = []
        for document in parsed.documents:
            for item in _renamings(document):
                if isinstance(item, Problem):
                    problems.append(item)
                else:
                    renamings.append(item)
        if renamings:
            mark = _BYTE_ORDER_MARK if file.path.read_bytes().startswith(codecs.BOM_UTF8) else ""
            migrated.append(MigratedFile(file, mark + _renamed(text, renamings), tuple(renamings)))
    if problems:
        raise InvalidCityError(tuple(problems))
    return tuple(migrated)


def _renamings(document: Document) -> Iterator[Renaming | Problem]:
    for (kind, path), new in RENAMED.items():
        if document.kind != kind:
            continue
        parent = document.value
        for item in path[:-1]:
            parent = parent.get(item) if isinstance(parent, Map) else None
        old = path[-1]
        if not isinstance(parent, Map) or old not in parent.keys_at:
            continue
        mark = parent.keys_at[old]
        if new in parent.keys_at:
            yield Problem(
                document.file,
                mark.line,
                mark.column,
                ".".join(path),
                f"the field is there under its new name {new!r} too",
                f"one of them: {new!r}",
            )
        else:
            yield Renaming(document.file, mark.line, mark.column, old, new)


def _renamed(text: str, renamings: Sequence[Renaming]) -> str:
    """The text with every key renamed. Handles quoted keys and keeps line endings."""
    lines = text.splitlines(keepends=True)
    for item in sorted(renamings, key=lambda each: (each.line, each.column), reverse=True):
        line, start = lines[item.line - 1], item.column - 1
        if line[start : start + 1] in ("'", '"'):
            start += 1
        if not line.startswith(item.old, start):
            raise AssertionError(f"{item.file}:{item.line}:{item.column} does not have the key {item.old}")
        lines[item.line - 1] = line[:start] + item.new + line[start + len(item.old) :]
    return "".join(lines)
