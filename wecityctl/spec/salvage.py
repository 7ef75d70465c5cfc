"""Repairs documents that do not match their schema, so that their references can still be checked.

One run then reports the problems of every stage: a misspelt field does not hide that the tenant does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from wecityctl.errors import Problem
from wecityctl.spec.fields import FieldDoc, find_field
from wecityctl.spec.nodes import Document, PathItem, format_path
from wecityctl.spec.schema import KINDS, DocumentSchema

# Removing or replacing an invalid value may cause a new error, such as a missing field, which takes another round.
_ROUNDS = 3
_MAX_ERRORS = 20
# Fields that others refer to. With a stand-in in one of them, references would be found, or missed, by mistake.
_DECLARING = frozenset({"name", "zones"})


@dataclass(frozen=True, slots=True)
class Salvaged:
    """A validated schema with stand-ins for the invalid values, which were at the paths `touched` of the document."""

    shape: DocumentSchema
    document: Document
    touched: tuple[tuple[PathItem, ...], ...]

    @property
    def names_known(self) -> bool:
        """Whether the names that the document declares are those in the file."""
        return all(_DECLARING.isdisjoint(path) for path in self.touched)


def salvage(document: Document) -> Salvaged | None:
    """Validate `document` after removing each invalid value, or replacing it by an example if it is required.

    List indices do not change, so the locations of valid values stay right. `None` if there are too many errors.
    """
    kind = KINDS.get(document.kind)
    if kind is None or not isinstance(document.value, dict):
        return None
    value = _plain(document.value)
    touched: list[tuple[PathItem, ...]] = []
    for _ in range(_ROUNDS):
        try:
            return Salvaged(kind.model_validate(value), document, tuple(touched))
        except ValidationError as error:
            details = error.errors(include_url=False, include_context=False)
        if len(details) > _MAX_ERRORS:
            return None
        for detail in details:
            loc = tuple(item for item in detail["loc"] if item != "[key]")
            touched += [loc] if detail["type"] != "extra_forbidden" else []
            if not loc or not _mend(value, loc, _stand_in(kind, loc, detail)):
                return None
    return None


def without_made_up(problems: Iterable[Problem], salvaged: Iterable[Salvaged]) -> Iterator[Problem]:
    """Yield the problems that are not about a stand-in."""
    stand_ins: dict[tuple[str, int], list[str]] = {}
    for item in salvaged:
        for path in item.touched:
            place = item.document.place(path)
            stand_ins.setdefault((place.file, place.line), []).append(format_path(path))
    for problem in problems:
        if not problem.path.startswith(tuple(stand_ins.get((problem.file, problem.line), ()))):
            yield problem


_NOTHING: Any = object()


def _stand_in(kind: type[DocumentSchema], loc: Sequence[PathItem], detail: Any) -> Any:
    """The replacement for the value at `loc`: `_NOTHING`, or a valid example if a value is required."""
    field = None if detail["type"] == "extra_forbidden" or "[key]" in detail["loc"] else find_field(kind, loc)
    if field is None or (not field.required and not isinstance(loc[-1], int)):
        return _NOTHING
    return _example(field, item=isinstance(loc[-1], int))


def _example(field: FieldDoc, *, item: bool) -> Any:
    if field.type.choices and (item or not field.type.container):
        return field.type.choices[0]
    example = field.examples[0] if field.examples else _NOTHING
    return example[0] if item and isinstance(example, list) and example else example


def _mend(root: Any, loc: Sequence[PathItem], stand_in: Any) -> bool:
    """Put the stand-in at `loc`. Returns false if that is impossible."""
    node = root
    for item in loc[:-1]:
        if isinstance(node, dict):
            node = node.get(item)
        else:
            node = node[item] if isinstance(node, list) and isinstance(item, int) and item < len(node) else None
    last = loc[-1] if loc else None
    if isinstance(node, list) and isinstance(last, int) and last < len(node) and stand_in is not _NOTHING:
        node[last] = stand_in
        return True
    if isinstance(node, dict) and isinstance(last, str):
        node.pop(last, None)
        if stand_in is not _NOTHING:
            node[last] = stand_in
        return True
    return False


def _plain(value: Any) -> Any:
    """A mutable deep copy made of plain dicts and lists."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
