"""Renames the fields of a city's files that were renamed in the format (`renamed_fields`).

Only keys that the YAML reader located are changed, so comments and layout are kept.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wecityctl.errors import InvalidCityError, Problem
from wecityctl.spec.files import SourceFile, find_environments, find_files, read_text
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

    Raises `InvalidCityError` if a file cannot be read, if a document has a field under both names, or if a key is not
    written as it reads: with an escape, an anchor, an alias or a tag.
    """
    base, found = find_files(path)
    overlays, others = find_environments(path)
    files = (*base, *(file for overlay in overlays.values() for file in overlay))
    problems = [*found, *others]
    migrated = []
    for file in files:
        text, problem = read_text(file)
        if problem is not None:
            problems.append(problem)
            continue
        parsed = parse_yaml(text, file.name)
        problems += parsed.problems
        renamings: list[Renaming] = []
        lines = text.splitlines()
        for document in parsed.documents:
            for item in _renamings(document, lines):
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


def _renamings(document: Document, lines: Sequence[str]) -> Iterator[Renaming | Problem]:
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
        elif _start(lines[mark.line - 1], mark.column - 1, old) < 0:
            yield Problem(
                document.file,
                mark.line,
                mark.column,
                ".".join(path),
                f"the field is now called {new!r}, and its key is written with an escape, an anchor, an alias or a tag",
                f"the key {new!r}, written by hand",
            )
        else:
            yield Renaming(document.file, mark.line, mark.column, old, new)


def _start(line: str, column: int, key: str) -> int:
    """Where the characters of a key at `column` (from 0) start, behind its quote; -1 if it is not written as it reads.

    An anchor could be used elsewhere, so a key that has one is not renamed.
    """
    quote = line[column : column + 1]
    start = column + (quote in ("'", '"'))
    end = line[start + len(key) : start + len(key) + 1]
    is_whole = end == quote if start > column else end in ("", ":", " ", "\t")
    return start if line.startswith(key, start) and is_whole else -1


def _renamed(text: str, renamings: Sequence[Renaming]) -> str:
    """The text with every key renamed. Handles quoted keys and keeps line endings."""
    lines = text.splitlines(keepends=True)
    for item in sorted(renamings, key=lambda each: (each.line, each.column), reverse=True):
        line = lines[item.line - 1]
        start = _start(line.rstrip("\r\n"), item.column - 1, item.old)
        lines[item.line - 1] = line[:start] + item.new + line[start + len(item.old) :]
    return "".join(lines)
