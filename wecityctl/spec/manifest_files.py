"""Reads the files with Kubernetes manifests that Apps and Platforms name.

They lie in the city's directory and are no city files.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wecityctl.errors import Problem
from wecityctl.model.naming import LABEL_PREFIX
from wecityctl.spec.files import SUFFIXES, SourceFile, read_text
from wecityctl.spec.nodes import Document, Map, PathItem, Seq, SignedInt, Unquoted
from wecityctl.spec.scalars import NUMBER
from wecityctl.spec.schema import KINDS
from wecityctl.spec.translate import problem_at
from wecityctl.spec.yamltree import parse_yaml

# The kinds of documents that name files with manifests.
OWNERS = ("App", "Platform")


@dataclass(frozen=True, slots=True)
class Attached:
    """A manifest of an App or a Platform: the index and path of its file under `manifests`, and the manifest."""

    index: int
    file: str
    document: Document


@dataclass(frozen=True, slots=True)
class Separated:
    """A city's documents without the manifests, and the manifests by `id` of the document that names their file.

    `complete` is false if a file could not be read.
    """

    documents: tuple[Document, ...]
    attached: Mapping[int, tuple[Attached, ...]]
    problems: tuple[Problem, ...]
    complete: bool


def named_files(documents: Iterable[Document]) -> frozenset[str]:
    """The names of the files that documents name under `manifests`."""
    return frozenset(_target(document, index, text) for document in documents for index, text in _named(document))


def separate(
    documents: Sequence[Document], files: Sequence[SourceFile], broken: Collection[str], others: Collection[str] = ()
) -> Separated:
    """Take the files that documents name under `manifests` out of the city's documents; read those not read yet.

    `broken` are the names of files that could not be read as a whole, `others` files that those of other environments
    name: they are no documents of this one either, unless there is one of the city among them.
    """
    by_file: dict[str, list[Document]] = {}
    for document in documents:
        by_file.setdefault(document.file, []).append(document)
    by_name = {posixpath.normpath(file.name): file for file in files}
    attached: dict[int, tuple[Attached, ...]] = {}
    problems: list[Problem] = []
    own = {document.file for document in documents if _is_of_city(document)}
    taken = {file.name for name, file in by_name.items() if name in others and file.name not in own}
    complete = True
    for document in documents:
        for index, text in _named(document):
            path: tuple[PathItem, ...] = ("spec", "manifests", index)
            name = _target(document, index, text)
            if name == posixpath.normpath(document.place(path).file):
                problems.append(problem_at(document, path, "the file names itself", "another file"))
                continue
            more: list[Problem] = []
            if name in by_name and (items := by_file.get(by_name[name].name)) and all(map(_is_of_city, items)):
                message = f"{text!r} has documents of the city itself ({items[0].kind or 'one'} at {items[0].place()})"
                problems.append(problem_at(document, path, message, "a file with manifests"))
                continue
            if name in by_name:
                found: Sequence[Document] = by_file.get(by_name[name].name, ())
                taken.add(by_name[name].name)
            else:
                found, more = _read(document, path, text, name, files)
                problems += more
                complete = complete and not more
            if not found and name not in broken and not more:
                problems.append(problem_at(document, path, f"{text!r} has no manifest in it", "a file with manifests"))
            attached[id(document)] = (
                *attached.get(id(document), ()),
                *(Attached(index, text, item) for item in found),
            )
    rest = tuple(document for document in documents if document.file not in taken)
    return Separated(rest, attached, tuple(problems), complete)


def _is_of_city(document: Document) -> bool:
    version = document.value.get("apiVersion") if isinstance(document.value, Map) else None
    return document.kind in KINDS or str(version).startswith(f"{LABEL_PREFIX}/")


def _target(document: Document, index: int, text: str) -> str:
    """The name of a file that a document names, relative to the file that says so."""
    said_in = document.place(("spec", "manifests", index)).file
    return posixpath.normpath(posixpath.join(posixpath.dirname(said_in), text))


def _named(document: Document) -> list[tuple[int, str]]:
    """The paths of a document that names manifests, with their indices; those that are no relative path are left out,
    because the schema refuses them.
    """
    spec = document.value.get("spec") if isinstance(document.value, Map) and document.kind in OWNERS else None
    listed = spec.get("manifests") if isinstance(spec, Map) else None
    items = enumerate(listed) if isinstance(listed, Seq) else ()
    return [
        (index, text)
        for index, text in items
        if isinstance(text, str) and text.endswith(SUFFIXES) and not text.startswith(("/", "~"))
    ]


def _read(
    document: Document, path: tuple[PathItem, ...], text: str, name: str, files: Sequence[SourceFile]
) -> tuple[Sequence[Document], list[Problem]]:
    """Read a file that is none of the city's: in a hidden directory, or beside a city that is one file."""
    source = next(file for file in files if file.name == document.place(path).file)
    if "\0" in text:
        return (), [problem_at(document, path, "a path cannot have a NUL character", "a path of a file")]
    target = source.path.parent / text
    root = source.home
    if not target.resolve().is_relative_to(root):
        message = f"{text!r} lies outside the city's directory"
        return (), [problem_at(document, path, message, "a file of the city itself")]
    content, problem = read_text(SourceFile(target, name, root))
    if problem is not None and not problem.line:
        return (), [problem_at(document, path, f"{text!r}: {problem.message}", problem.expected)]
    if problem is not None:
        return (), [problem]
    parsed = parse_yaml(content, name)
    return [item for item in parsed.documents if item.value is not None], list(parsed.problems)


def plain(value: Any) -> Any:
    """A YAML value as JSON has it; numbers with a fraction become floats."""
    match value:
        case Map():
            return {key: plain(item) for key, item in value.items()}
        case Seq():
            return [plain(item) for item in value]
        case SignedInt():
            return int(value)
        case Unquoted(kind, text) if kind == NUMBER:
            return float(text)
        case Unquoted(_, text):
            return text
        case _:
            return value


def is_number(value: Unquoted) -> bool:
    """Whether the value is a number that JSON can have."""
    try:
        return value.kind == NUMBER and float(value.text) == float(value.text) and abs(float(value.text)) < 1e15
    except ValueError:
        return False
