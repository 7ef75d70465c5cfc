"""Parses YAML text into documents with source locations, from parser events and without recursion.

Limits nesting depth and alias expansion and reports duplicate keys. It does not interpret the values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.cyaml import CParser  # type: ignore[attr-defined]

from wecityctl.errors import Problem
from wecityctl.spec.lookalikes import find_before, find_lookalike
from wecityctl.spec.nodes import Document, Map, Mark, PathItem, Seq, format_path, shorten
from wecityctl.spec.scalars import resolve_plain

MAX_DEPTH = 100
MAX_NODES = 250_000
MAX_ALIASED_NODES = 100_000
MAX_PROBLEMS = 1000
_NOWHERE = Mark(0, 0)
_TEXT_TAGS = ("!", "tag:yaml.org,2002:str")


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """The documents and problems of a file. `complete` is false if the rest of the file could not be read."""

    documents: tuple[Document, ...]
    problems: tuple[Problem, ...]
    complete: bool


class _StopParsingError(Exception):
    """The rest of the file cannot be read; the problem was already added."""


@dataclass(slots=True)
class _Frame:
    """An open mapping or sequence. `size` and `height` count nodes and levels with aliases expanded."""

    node: Map | Seq
    anchor: str | None
    key: str | None = None
    key_mark: Mark = _NOWHERE
    size: int = 1
    height: int = 1
    duplicate: bool = False


@dataclass(slots=True)
class _Anchor:
    value: Any
    size: int
    height: int
    open: bool = False


@dataclass(slots=True)
class _Builder:
    file: str
    documents: list[Document] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    frames: list[_Frame] = field(default_factory=list)
    anchors: dict[str, _Anchor] = field(default_factory=dict)
    start: Mark = _NOWHERE
    root: Any = None
    aliased: int = 0
    nodes: int = 0
    # The file in each mark: empty for a base document, whose file the document names.
    marked: str = ""

    def feed(self, event: Any) -> None:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._scalar(event)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            self._open(event, Map if kind is yaml.MappingStartEvent else Seq)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            self._close()
        elif kind is yaml.AliasEvent:
            self._alias(event)
        elif kind is yaml.DocumentStartEvent:
            self.start, self.root, self.anchors = self._mark(event), None, {}
        elif kind is yaml.DocumentEndEvent and self.root is not None:
            self.documents.append(Document(self.file, self.start, self.root))
        if len(self.problems) > MAX_PROBLEMS:
            raise _StopParsingError

    def path(self) -> tuple[PathItem, ...]:
        items: list[PathItem] = []
        for frame in self.frames:
            if isinstance(frame.node, Seq):
                items.append(len(frame.node))
            elif frame.key is not None:
                items.append(frame.key)
        return tuple(items)

    def report(self, mark: Mark, message: str, expected: str = "") -> None:
        self.problems.append(Problem(self.file, mark.line, mark.column, format_path(self.path()), message, expected))

    def _scalar(self, event: Any) -> None:
        mark, text = self._mark(event), event.value
        if event.tag is not None and event.tag not in _TEXT_TAGS:
            self._refuse_tag(event.tag, mark)
        if self._expects_key():
            self._key(text, mark)
            if event.implicit[0] and not event.style and (odd := find_lookalike(text)):
                self.report(mark, odd.message, odd.expected)
            if not text:
                self.report(mark, "a key is missing before ':'")
            return
        value = resolve_plain(text) if event.implicit[0] and event.tag is None and not event.style else text
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchor(value, 1, 0)
        self._add(value, mark, 1, 0)

    def _open(self, event: Any, kind: type[Map] | type[Seq]) -> None:
        mark = self._mark(event)
        if event.tag is not None and event.tag not in ("!",):
            self._refuse_tag(event.tag, mark)
        if self._expects_key():
            self.report(mark, "a mapping or list is used as a key", "a key that is text")
            raise _StopParsingError
        if len(self.frames) >= MAX_DEPTH:
            self.problems.append(
                Problem(self.file, mark.line, mark.column, "", f"nested more than {MAX_DEPTH} levels deep")
            )
            raise _StopParsingError
        node = kind(mark)
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchor(node, 0, 0, open=True)
        self.frames.append(_Frame(node, event.anchor))

    def _close(self) -> None:
        frame = self.frames.pop()
        if frame.anchor is not None and self.anchors[frame.anchor].value is frame.node:
            self.anchors[frame.anchor] = _Anchor(frame.node, frame.size, frame.height)
        self._add(frame.node, frame.node.start, frame.size, frame.height)

    def _alias(self, event: Any) -> None:
        mark = self._mark(event)
        if self._expects_key():
            self.report(mark, f"alias *{event.anchor} is used as a key", "a key written out")
            raise _StopParsingError
        anchor = self.anchors.get(event.anchor)
        if anchor is None:
            self.report(mark, f"alias *{event.anchor} has no anchor &{event.anchor} before it in this document")
            raise _StopParsingError
        if anchor.open:
            self.report(mark, f"alias *{event.anchor} contains itself")
            raise _StopParsingError
        self.aliased += anchor.size
        if self.aliased > MAX_ALIASED_NODES or len(self.frames) + anchor.height > MAX_DEPTH:
            self.report(
                mark,
                f"aliases unfold to more than {MAX_ALIASED_NODES:,} values or {MAX_DEPTH} levels",
                "values written out, or fewer aliases",
            )
            raise _StopParsingError
        self._add(anchor.value, mark, anchor.size, anchor.height)

    def _expects_key(self) -> bool:
        return bool(self.frames) and isinstance(self.frames[-1].node, Map) and self.frames[-1].key is None

    def _key(self, key: str, mark: Mark) -> None:
        frame = self.frames[-1]
        assert isinstance(frame.node, Map)
        frame.key, frame.key_mark, frame.duplicate = key, mark, key in frame.node
        if frame.duplicate:
            first = frame.node.keys_at[key]
            self.report(mark, f"key {shorten(key)!r} is given twice (first in line {first.line})")
        elif key == "<<":
            self.report(mark, "merge keys ('<<') left YAML with version 1.2", "the fields written out, or one alias")

    def _add(self, value: Any, mark: Mark, size: int, height: int) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            message = f"more than {MAX_NODES:,} values in one file"
            self.problems.append(Problem(self.file, mark.line, mark.column, "", message, "several files"))
            raise _StopParsingError
        if not self.frames:
            self.root = value
            return
        frame = self.frames[-1]
        frame.size += size
        frame.height = max(frame.height, height + 1)
        if isinstance(frame.node, Seq):
            frame.node.append(value)
            frame.node.items_at.append(mark)
            return
        assert frame.key is not None
        # Of duplicate keys the first one is kept. Duplicates and merge keys (`<<`) were reported already.
        if not frame.duplicate and frame.key != "<<":
            frame.node[frame.key] = value
            frame.node.keys_at[frame.key] = frame.key_mark
            frame.node.values_at[frame.key] = mark
        frame.key = None

    def _mark(self, event: Any) -> Mark:
        mark = event.start_mark
        return Mark(mark.line + 1, mark.column + 1, self.marked)

    def _refuse_tag(self, tag: str, mark: Mark) -> None:
        short = tag.replace("tag:yaml.org,2002:", "!!")
        self.report(mark, f"YAML tag {shorten(short)!r} is not allowed", "a plain value; quote it where text is meant")


def parse_yaml(text: str, file: str, *, overlay: bool = False) -> ParsedFile:
    """Parse all documents of `text`. Does not raise for invalid input: errors are in `problems`.

    With `overlay`, each value knows its file itself, as it is going to be merged into a document of another file.
    """
    builder = _Builder(file, marked=file if overlay else "")
    complete = True
    try:
        parser = CParser(text)
        try:
            while parser.check_event():
                builder.feed(parser.get_event())
        finally:
            parser.dispose()
    except _StopParsingError:
        complete = False
    except yaml.MarkedYAMLError as error:
        problem = _syntax_problem(error, file, text)
        if not any((item.line, item.column) == (problem.line, problem.column) for item in builder.problems):
            builder.problems.append(problem)
        complete = False
    except yaml.YAMLError as error:
        builder.problems.append(Problem(file, 0, 0, "", f"is not YAML: {shorten(str(error).splitlines()[0], 120)}"))
        complete = False
    return ParsedFile(tuple(builder.documents), tuple(builder.problems), complete)


def _syntax_problem(error: yaml.MarkedYAMLError, file: str, text: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    message = error.problem or "is not YAML"
    if error.context:
        where = f" (line {error.context_mark.line + 1})" if error.context_mark else ""
        message = f"{message}, {error.context}{where}"
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    expected = ""
    lines = text.split("\n")
    if mark and mark.line < len(lines) and lines[mark.line][mark.column :].startswith("\t"):
        message, expected = "a tab is used for indentation", "spaces"
    elif mark:
        for number, odd in find_before(lines, mark.line):
            mended = [*lines[:number], odd.mended(lines[number]), *lines[number + 1 :]]
            if _first_error(mended) > mark.line:
                return Problem(file, number + 1, odd.offset + 1, "", odd.message, odd.expected)
    return Problem(file, line, column, "", f"YAML: {message}", expected)


def _first_error(lines: list[str]) -> int:
    """The index of the first line that YAML cannot parse; the number of lines if it parses all."""
    parser = CParser("\n".join(lines))
    try:
        while parser.check_event():
            parser.get_event()
    except yaml.MarkedYAMLError as error:
        return error.problem_mark.line if error.problem_mark else 0
    finally:
        parser.dispose()
    return len(lines)
