"""Merges an environment's documents over the base documents of a city.

Documents meet by kind, tenant and name; the City, of which there is one, by its kind. Mappings are merged by key and
lists of named things by name; every other value replaces the base's. `null` removes. Base documents are never changed:
what they and the merged document have in common is shared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from wecityctl.errors import Problem
from wecityctl.guesses import nearest
from wecityctl.spec.fields import FieldDoc, fields_of, find_field
from wecityctl.spec.nodes import Document, Map, Mark, PathItem, Seq, format_path, shorten
from wecityctl.spec.schema import KINDS
from wecityctl.spec.schema.city import Expected

Path = tuple[PathItem, ...]
Identity = tuple[str, str, str]
_NAME = "name"


@dataclass(frozen=True, slots=True)
class Added:
    """A document, or a named item at `path` of one, that the base does not have; `known` are the names that it has."""

    document: Document
    path: Path
    name: str
    known: tuple[str, ...]
    mark: Mark


@dataclass(frozen=True, slots=True)
class Overlaid:
    """The merged documents in the order of the base, added ones last; what was added; and the problems."""

    documents: tuple[Document, ...]
    added: tuple[Added, ...]
    problems: tuple[Problem, ...]


def identity_of(document: Document) -> Identity:
    """Kind, tenant and name; of the City, whose name each environment sets, the kind alone."""
    return (document.kind, "", "") if document.kind == "City" else (document.kind, document.tenant, document.name)


def overlaid(base: Sequence[Document], overlay: Sequence[Document]) -> Overlaid:
    """Merge the documents of `overlay` over those of `base`."""
    merge = _Merge()
    found: dict[Identity, int] = {}
    for index, document in enumerate(base):
        found.setdefault(identity_of(document), index)
    result: list[Document | None] = list(base)
    given: dict[Identity, Document] = {}
    for document in overlay:
        identity = identity_of(document)
        if not merge.is_complete(document, base):
            continue
        if document.kind in KINDS and given.setdefault(identity, document) is not document:
            place = given[identity].place(("kind",))
            merge.report(document, ("metadata", _NAME), f"the environment has this {document.kind} already ({place})")
            continue
        index = found.get(identity, -1) if document.kind in KINDS else -1
        if index < 0:
            result.append(merge.added_document(document, base))
        else:
            result[index] = merge.merged_document(base[index], document)
    kept = tuple(document for document in result if document is not None)
    return Overlaid(kept, tuple(merge.added), tuple(merge.problems))


@cache
def _field(kind: str, path: Path) -> FieldDoc | None:
    """The field at `path`, which has no list indices."""
    return find_field(KINDS[kind], path) if kind in KINDS else None


def is_named_list(kind: str, path: Path) -> bool:
    """Whether the field at `path` is a list of things with names of their own, such as components."""
    return _is_named_list(kind, tuple(item for item in path if isinstance(item, str)))


@cache
def _is_named_list(kind: str, path: Path) -> bool:
    found = _field(kind, path)
    shape = found.type.shape if found is not None and found.type.container == "list" else None
    # The names under `expected` are patterns, and one may be there for several kinds.
    if shape is None or shape is Expected:
        return False
    name = fields_of(shape).get(_NAME)
    return name is not None and name.required


@dataclass(slots=True)
class _Merge:
    problems: list[Problem] = field(default_factory=list)
    added: list[Added] = field(default_factory=list)
    names: dict[tuple[str, str], tuple[str, ...]] | None = None

    def _known(self, base: Sequence[Document]) -> dict[tuple[str, str], tuple[str, ...]]:
        """The names of the base's documents by kind and tenant; found once, for files with thousands of them."""
        if self.names is None:
            found: dict[tuple[str, str], list[str]] = {}
            for each in base:
                found.setdefault((each.kind, each.tenant), []).append(each.name)
            self.names = {key: tuple(names) for key, names in found.items()}
        return self.names

    def report(
        self, document: Document, path: Path, message: str, expected: str = "", suggestion: str = "", key: bool = False
    ) -> None:
        place = document.place(path, on_key=key)
        self.problems.append(
            Problem(place.file, place.line, place.column, format_path(path), message, expected, suggestion)
        )

    def is_complete(self, document: Document, base: Sequence[Document]) -> bool:
        """Whether the document says which one of the base it is about; else a problem is reported."""
        kind = KINDS.get(document.kind)
        if kind is None or document.kind == "City":
            return True
        for item in (_NAME, "tenant"):
            path = ("metadata", item)
            if (item == _NAME or _field(document.kind, path) is not None) and not _text(document, path):
                tenants = sorted({each.tenant for each in base if identity_of(each)[::2] == identity_of(document)[::2]})
                known = tenants if item == "tenant" and document.name else []
                expected = f"{item}: {known[0]}" if len(known) == 1 else f"which {document.kind} is meant"
                self.report(document, path, f"the document has no {item}", expected)
                return False
        return True

    def added_document(self, document: Document, base: Sequence[Document]) -> Document:
        if document.kind in KINDS and isinstance(document.value, Map):
            known = self._known(base).get((document.kind, document.tenant), ())
            place = document.place(("metadata", _NAME))
            mark = Mark(place.line, place.column, place.file)
            self.added.append(Added(document, (), document.name, known, mark))
        return document

    def merged_document(self, base: Document, over: Document) -> Document | None:
        """The merged document; `None` if the overlay removes it, by `spec: null`."""
        if not isinstance(base.value, Map) or not isinstance(over.value, Map):
            return over
        if "spec" in over.value and over.value["spec"] is None and over.kind != "City":
            return None
        before = len(self.added)
        document = Document(base.file, base.start, _DocumentMerge(self, over).maps(base.value, over.value, ()))
        # What was added has its path in the merged document.
        self.added[before:] = [replace(each, document=document) for each in self.added[before:]]
        return document


@dataclass(slots=True)
class _DocumentMerge:
    """The merging of one document. Paths of problems are those of the overlay's document, which has the place."""

    merge: _Merge
    over: Document

    def maps(self, base: Map, over: Map, path: Path) -> Map:
        result = _copy(base)
        for key, value in over.items():
            here = (*path, key)
            if value is None:
                self._remove(result, base, over, key, here)
                continue
            merged = self._value(base.get(key), value, here)
            if key in base and merged is not value:
                result[key] = merged
                continue
            result[key] = merged
            result.keys_at[key], result.values_at[key] = over.keys_at[key], over.values_at[key]
        return result

    def _value(self, base: object, over: object, path: Path) -> object:
        if is_named_list(self.over.kind, path):
            items = _named(base) if base is not None else {}
            if items is not None and isinstance(over, Seq) and all(isinstance(item, Map) for item in over):
                return self._named_lists(base, self._items(over, path), over.start, path)
            if items is not None and isinstance(over, Map):
                return self._named_lists(base, self._by_name(over, path), over.start, path)
            return over
        return self.maps(base, over, path) if isinstance(base, Map) and isinstance(over, Map) else over

    def _remove(self, result: Map, base: Map, over: Map, key: str, path: Path) -> None:
        mark = over.values_at[key]
        if key not in base:
            expected = "a field of the base documents" if base else ""
            self._problem(mark, path, f"there is no {shorten(key)!r} to remove", expected, nearest(key, tuple(base)))
            return
        found = _field(self.over.kind, tuple(item for item in path if isinstance(item, str)))
        if found is not None and found.required:
            self._problem(mark, path, f"required field {key!r} cannot be removed", found.type.wanted)
            return
        del result[key], result.keys_at[key], result.values_at[key]

    def _items(self, over: Seq, path: Path) -> Iterator[tuple[str, Map | None, Mark, Path]]:
        """The items of a list by name: name, item, where it is, and its path in the overlay."""
        seen: dict[str, Mark] = {}
        for index, item in enumerate(over):
            here, mark = (*path, index), over.items_at[index]
            name = item.get(_NAME)
            if not isinstance(name, str):
                self._problem(mark, here, "the item has no name, and this list is merged by name", "name: …")
            elif name in seen:
                message = f"{shorten(name)!r} is given twice (first in line {seen[name].line})"
                self._problem(item.values_at[_NAME], (*here, _NAME), message)
            else:
                seen[name] = mark
                yield name, item, mark, here

    def _by_name(self, over: Map, path: Path) -> Iterator[tuple[str, Map | None, Mark, Path]]:
        """The same of a list that is written as a mapping of names to items; `null` removes the one of that name."""
        for index, (name, item) in enumerate(over.items()):
            here, mark = (*path, index), over.values_at[name]
            if item is None:
                yield name, None, mark, here
            elif not isinstance(item, Map):
                self._problem(mark, here, "the item is no mapping", "its fields, or null to remove it")
            elif _NAME in item:
                message = f"the key {shorten(name)!r} is the item's name already"
                self._problem(item.keys_at[_NAME], (*here, _NAME), message, "no name")
            else:
                named = Map(item.start)
                named[_NAME] = name
                named.keys_at[_NAME] = named.values_at[_NAME] = over.keys_at[name]
                _update(named, item)
                yield name, named, over.keys_at[name], here

    def _named_lists(
        self, base: object, items: Iterator[tuple[str, Map | None, Mark, Path]], start: Mark, path: Path
    ) -> Seq:
        known = _named(base) or {}
        merged = dict(known)
        added: list[tuple[str, Mark]] = []
        for name, item, mark, here in items:
            if item is None:
                if merged.pop(name, None) is None:
                    guess = nearest(name, tuple(known))
                    self._problem(mark, here, f"there is no {shorten(name)!r} to remove", "a name of the base", guess)
            elif name in known:
                merged[name] = (self.maps(known[name][0], item, here), known[name][1])
            else:
                merged[name] = (item, mark)
                added.append((name, item.values_at[_NAME]))
        result = Seq(base.start if isinstance(base, Seq) else start)
        result.extend(item for item, _ in merged.values())
        result.items_at = [mark for _, mark in merged.values()]
        order = {name: index for index, name in enumerate(merged)}
        for name, mark in added:
            self.merge.added.append(Added(self.over, (*path, order[name]), name, tuple(known), mark))
        return result

    def _problem(self, mark: Mark, path: Path, message: str, expected: str = "", suggestion: str = "") -> None:
        file = mark.file or self.over.file
        self.merge.problems.append(
            Problem(file, mark.line, mark.column, format_path(path), message, expected, suggestion)
        )


def _named(value: object) -> dict[str, tuple[Map, Mark]] | None:
    """The items of a list by their names, each with its mark; `None` if it is no list of things with unique names."""
    found: dict[str, tuple[Map, Mark]] = {}
    if not isinstance(value, Seq):
        return None
    for item, mark in zip(value, value.items_at, strict=True):
        name = item.get(_NAME) if isinstance(item, Map) else None
        if not isinstance(name, str) or name in found:
            return None
        found[name] = (item, mark)
    return found


def _copy(node: Map) -> Map:
    result = Map(node.start)
    _update(result, node)
    return result


def _update(result: Map, node: Map) -> None:
    result.update(node)
    result.keys_at.update(node.keys_at)
    result.values_at.update(node.values_at)


def _text(document: Document, path: Path) -> str:
    node: object = document.value
    for item in path:
        node = node.get(item) if isinstance(node, Mapping) else None
    return node if isinstance(node, str) else ""
