"""The values that the YAML reader produces: plain Python values with the source locations of keys and values.

`Map` and `Seq` are subclasses of dict and list, so pydantic accepts them. Lines and columns count from 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

PathItem: TypeAlias = str | int


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """A location in a file. Line 0 stands for the whole file."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


class Mark(NamedTuple):
    """Where a key or value begins. `file` is set in an environment's overlay only: a merged document has two files."""

    line: int
    column: int
    file: str = ""


class Map(dict[str, Any]):
    """A mapping. `keys_at` and `values_at` hold the marks by key; `start` is the mark of the mapping."""

    __slots__ = ("keys_at", "start", "values_at")

    def __init__(self, start: Mark) -> None:
        super().__init__()
        self.start = start
        self.keys_at: dict[str, Mark] = {}
        self.values_at: dict[str, Mark] = {}


class Seq(list[Any]):
    """A sequence. `items_at` holds the marks by index; `start` is the mark of the sequence."""

    __slots__ = ("items_at", "start")

    def __init__(self, start: Mark) -> None:
        super().__init__()
        self.start = start
        self.items_at: list[Mark] = []


@dataclass(frozen=True, slots=True)
class Unquoted:
    """A plain scalar that is not text, whole number or boolean, or whose meaning depends on the YAML version.

    `kind` names how YAML would read it; `text` is what the user wrote, so that nothing is lost (`1.10`).
    """

    kind: str
    text: str


class SignedInt(int):
    """A whole number written as `+1` or `-0`: a number where one is expected, and otherwise the text as written."""

    text: str

    @classmethod
    def read(cls, text: str) -> SignedInt:
        """Parse `text` and keep it."""
        number = cls(text)
        number.text = text
        return number


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: its file, where it starts, and its value (a `Map` if it is valid)."""

    file: str
    start: Mark
    value: Any

    def place(self, path: Sequence[PathItem] = (), *, on_key: bool = False) -> SourceLocation:
        """The location of the value at `path`, or of its key if `on_key`; else of the nearest enclosing key."""
        mark, node = self.start, self.value
        for position, item in enumerate(path):
            last = position == len(path) - 1
            if isinstance(node, Map) and item in node.keys_at:
                key = str(item)
                mark = node.keys_at[key] if last and on_key else node.values_at[key]
                node = node[key]
            elif isinstance(node, Seq) and isinstance(item, int) and item < len(node):
                mark, node = node.items_at[item], node[item]
            else:
                mark = _enclosing_key(self, path[:position]) or mark
                break
        return SourceLocation(mark.file or self.file, mark.line, mark.column)

    def has(self, path: Sequence[PathItem]) -> bool:
        """Whether the file itself has a value at `path`, so that it is no default."""
        node = self.value
        for item in path:
            if isinstance(node, Map) and item in node.keys_at:
                node = node[str(item)]
            elif isinstance(node, Seq) and isinstance(item, int) and item < len(node):
                node = node[item]
            else:
                return False
        return True

    @property
    def kind(self) -> str:
        return self._text("kind")

    @property
    def name(self) -> str:
        return self._text("metadata", "name")

    @property
    def tenant(self) -> str:
        return self._text("metadata", "tenant")

    def _text(self, *path: str) -> str:
        node = self.value
        for item in path:
            node = node.get(item) if isinstance(node, Map) else None
        return node if isinstance(node, str) else ""


def _enclosing_key(document: Document, path: Sequence[PathItem]) -> Mark | None:
    """The mark of the nearest key that encloses `path`, which is clearer than the first line of its value."""
    mark, node = None, document.value
    for item in path:
        if isinstance(node, Map) and item in node.keys_at:
            mark, node = node.keys_at[str(item)], node[str(item)]
        elif isinstance(node, Seq) and isinstance(item, int) and item < len(node):
            mark, node = node.items_at[item], node[item]
        else:
            break
    return mark


def format_path(path: Sequence[PathItem]) -> str:
    """`('spec', 'zones', 1, 'kind')` as `spec.zones[1].kind`; keys with special characters in brackets."""
    text = ""
    for item in path:
        if isinstance(item, int):
            text += f"[{item}]"
        elif item.replace("-", "").replace("_", "").isalnum():
            text += f".{item}" if text else item
        else:
            text += f"[{shorten(item)!r}]"
    return text


def shorten(text: str, limit: int = 60) -> str:
    """`text`, cut to `limit` characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
