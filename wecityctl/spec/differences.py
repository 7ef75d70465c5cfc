"""Compares two environments of a city, field by field, as the files have them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wecityctl.spec.environments import EnvironmentRead
from wecityctl.spec.nodes import Document, Map, PathItem, Seq, SignedInt, SourceLocation, Unquoted
from wecityctl.spec.overlay import Identity, identity_of, is_named_list

# The password in a URL, which must not appear on a screen or in a CI log.
_PASSWORD = re.compile(r"(?<=://)([^\s/:@]*:)[^\s/@]+(?=@)")


@dataclass(frozen=True, slots=True)
class Side:
    """The value of one environment, as plain data, and where it is written."""

    value: Any
    place: SourceLocation


@dataclass(frozen=True, slots=True)
class Difference:
    """A field, or a whole document with an empty `path`, that is not the same in two environments.

    `path` has the names of items in square brackets: `spec.components[web].image`. `None`: that environment has none.
    """

    kind: str
    tenant: str
    name: str
    path: str
    first: Side | None
    second: Side | None

    @property
    def document(self) -> str:
        """What the document is called in messages; of the City, whose name differs, the kind."""
        if self.kind == "City":
            return self.kind
        return f"{self.kind} {self.tenant}/{self.name}" if self.tenant else f"{self.kind} {self.name}"


def differences(first: EnvironmentRead, second: EnvironmentRead) -> Iterator[Difference]:
    """Yield what differs, in the order of the documents of `first`; those that it does not have come last."""
    others = {identity_of(document): document for document in reversed(second.read.documents)}
    seen: set[Identity] = set()
    for document in first.read.documents:
        identity = identity_of(document)
        if identity in seen:
            continue
        seen.add(identity)
        other = others.get(identity)
        # Documents that no overlay touches are the same object.
        if other is None:
            yield _whole(document, first=True)
        elif other is not document:
            yield from _compare(_Node(document, document.value), _Node(other, other.value), "")
    for document in second.read.documents:
        if identity_of(document) not in seen:
            seen.add(identity_of(document))
            yield _whole(document, first=False)


def _whole(document: Document, *, first: bool) -> Difference:
    side = Side(as_data(document.value), document.place(("kind",)))
    kind, tenant, name = document.kind, document.tenant, document.name
    return Difference(kind, tenant, name, "", side if first else None, None if first else side)


@dataclass(frozen=True, slots=True)
class _Node:
    """A value and its path in its document; `None` as value: the document has none there."""

    document: Document
    value: Any
    path: tuple[PathItem, ...] = ()

    def side(self) -> Side | None:
        return Side(as_data(self.value), self.document.place(self.path)) if self.value is not None else None

    def fields(self) -> dict[str, _Node] | None:
        """What is below by key; `None` if the value is no mapping."""
        if not isinstance(self.value, Map):
            return None
        return {key: _Node(self.document, value, (*self.path, key)) for key, value in self.value.items()}

    def items(self) -> dict[str, _Node] | None:
        """The items by name; `None` if the value is no list of things with names."""
        if not isinstance(self.value, Seq) or not is_named_list(self.document.kind, self.path):
            return None
        found = {
            item["name"]: _Node(self.document, item, (*self.path, index))
            for index, item in enumerate(self.value)
            if isinstance(item, Map) and isinstance(item.get("name"), str)
        }
        return found if len(found) == len(self.value) else None


def _compare(first: _Node, second: _Node, text: str) -> Iterator[Difference]:
    if first.value is second.value:
        return
    for form, parts, others in (
        (f"{text}.{{}}" if text else "{}", first.fields(), second.fields()),
        (f"{text}[{{}}]", first.items(), second.items()),
    ):
        if parts is not None and others is not None:
            for key in dict.fromkeys((*parts, *others)):
                absent = _Node(first.document, None), _Node(second.document, None)
                yield from _compare(parts.get(key, absent[0]), others.get(key, absent[1]), form.format(key))
            return
    if as_data(first.value) != as_data(second.value):
        document = first.document
        yield Difference(document.kind, document.tenant, document.name, text, first.side(), second.side())


def as_data(value: Any) -> Any:
    """The value as plain data for JSON; scalars that YAML readers disagree about stay as they are written."""
    match value:
        case dict():
            return {key: as_data(item) for key, item in value.items()}
        case list():
            return [as_data(item) for item in value]
        case Unquoted() | SignedInt():
            return value.text
        case str():
            return _PASSWORD.sub(r"\1***", value)
        case _:
            return value
