"""Loads a city in stages: files, YAML documents, schemas, checks, model. Collects the problems of all stages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from wecityctl.errors import InvalidCityError, Problem
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import City
from wecityctl.spec import convert
from wecityctl.spec.checks import check_references, run_checks
from wecityctl.spec.files import SourceFile, find_files, printable, read_text
from wecityctl.spec.loaded import LoadedCity, Positions
from wecityctl.spec.nodes import Document
from wecityctl.spec.parsed_city import ParsedCity, Part, Sourced
from wecityctl.spec.renames import kept_names, with_kept_names
from wecityctl.spec.salvage import Salvaged, salvage, without_made_up
from wecityctl.spec.schema import KINDS, DocumentSchema, documents
from wecityctl.spec.schema.documents import OF_TENANTS
from wecityctl.spec.translate import read_schema
from wecityctl.spec.yamltree import parse_yaml

Kind = TypeVar("Kind", bound=DocumentSchema)

# Limits memory use for a broken file of 5 MB; nobody reads more.
MAX_PROBLEMS = 1000
# Documents with invalid values that are salvaged; beyond this number the references in them are not checked.
MAX_SALVAGED = 200


@dataclass(frozen=True, slots=True)
class _Read:
    files: tuple[SourceFile, ...]
    documents: tuple[Document, ...]
    problems: tuple[Problem, ...]
    complete: bool


def load_city(path: Path, catalogue: Catalogue, changed: Mapping[Path, str] | None = None) -> LoadedCity:
    """Load and validate the city at `path`, a file or a directory. Raises `InvalidCityError` with all problems.

    `changed` has the texts that files are to get, and those of files to be added: the city is loaded as it will be.
    """
    read = _read(path, changed or {})
    parsed_city, shapes, salvaged, problems = _shape(read, catalogue)
    whole = _whole(parsed_city, shapes, salvaged, complete=read.complete)
    problems += run_checks(parsed_city)
    problems += without_made_up(check_references(whole), salvaged)
    problems = [*read.problems, *problems]
    kinds = {document.kind for document in read.documents}
    if read.complete and kinds and "City" not in kinds and kinds <= set(KINDS):
        problems.append(Problem(printable(path), 0, 0, "", "there is no City", "a document with kind: City"))
    if parsed_city.unread and not problems:
        # A document is never rejected without a problem. This guards against losing a part silently if it ever happens.
        problems.append(
            Problem(printable(path), 0, 0, "", f"a document could not be read ({', '.join(parsed_city.unread)})")
        )
    if problems:
        raise InvalidCityError(_in_order(problems, read.files), read.files[0].root if read.files else None)
    return LoadedCity(_assemble(parsed_city, shapes), _positions(parsed_city), _counts(parsed_city), read.files)


def _read(path: Path, changed: Mapping[Path, str]) -> _Read:
    files, problems = find_files(path)
    there = {file.path for file in files}
    files += tuple(SourceFile(added, printable(added)) for added in changed if added not in there)
    found: list[Document] = []
    all_problems = list(problems)
    complete = not problems
    for file in files:
        text, problem = (changed[file.path], None) if file.path in changed else read_text(file)
        if problem is not None:
            all_problems.append(problem)
            complete = False
            continue
        parsed = parse_yaml(text, file.name)
        # An empty document between two `---` is common and not an error.
        found += [document for document in parsed.documents if document.value is not None]
        all_problems += parsed.problems
        complete = complete and parsed.complete and not parsed.problems
        if len(all_problems) > MAX_PROBLEMS:
            complete = False
            break
    if complete and files and not found:
        names = ", ".join(file.name for file in files[:3])
        all_problems.append(Problem(names, 0, 0, "", "is empty", "documents, one of them with kind: City"))
    return _Read(files, tuple(found), tuple(all_problems), complete)


def _shape(
    read: _Read, catalogue: Catalogue
) -> tuple[ParsedCity, dict[int, DocumentSchema], list[Salvaged], list[Problem]]:
    """Validate every document against its schema.

    Returns the parsed city, the schemas by `id` of their document, what was salvaged of the others, and the problems.
    """
    problems: list[Problem] = []
    shapes: dict[int, DocumentSchema] = {}
    salvaged: list[Salvaged] = []
    unread = set() if read.complete else set(KINDS)
    for document in read.documents:
        shape, found = read_schema(document)
        problems += found
        if shape is not None:
            shapes[id(document)] = shape
        else:
            unread |= {document.kind} if document.kind in KINDS else set(KINDS)
            rest = salvage(document) if len(problems) <= MAX_SALVAGED else None
            salvaged += [rest] if rest is not None else []
        if len(problems) > MAX_PROBLEMS:
            unread = set(KINDS)
            break
    return _parsed_city(read.documents, shapes, catalogue, frozenset(unread)), shapes, salvaged, problems


def _whole(
    parsed_city: ParsedCity, shapes: Mapping[int, DocumentSchema], salvaged: Sequence[Salvaged], *, complete: bool
) -> ParsedCity:
    """The parsed city with the salvaged documents added.

    A kind counts as completely known unless a document of it was lost, or one's name or zones were invalid.
    """
    if not salvaged or not complete:
        return parsed_city
    rest = {id(item.document): item.shape for item in salvaged}
    lost = [item for item in parsed_city.documents if id(item) not in shapes and id(item) not in rest]
    unknown = {item.document.kind for item in salvaged if not item.names_known}
    for document in lost:
        unknown |= {document.kind} if document.kind in KINDS else set(KINDS)
    return _parsed_city(parsed_city.documents, {**shapes, **rest}, parsed_city.catalogue, frozenset(unknown))


def _parsed_city(
    read: tuple[Document, ...], shapes: Mapping[int, DocumentSchema], catalogue: Catalogue, unread: frozenset[str]
) -> ParsedCity:
    pairs = [(document, shapes[id(document)]) for document in read if id(document) in shapes]

    def parts(shape: type[Kind], convert_one: Callable[[Kind], Part]) -> tuple[Sourced[Part], ...]:
        return tuple(Sourced(convert_one(found), document) for document, found in pairs if isinstance(found, shape))

    return ParsedCity(
        catalogue=catalogue,
        cities=parts(documents.CityDocument, convert.city_of),
        clouds=tuple(
            Sourced(convert.cloud_of(found, Path(document.file).parent), document)
            for document, found in pairs
            if isinstance(found, documents.CloudDocument)
        ),
        platforms=parts(documents.PlatformDocument, lambda found: convert.platform_of(found, catalogue)),
        tenants=parts(documents.TenantDocument, convert.tenant_of),
        apps=parts(documents.AppDocument, convert.app_of),
        waivers=parts(documents.WaiverDocument, convert.waiver_of),
        lifecycles=parts(documents.LifecycleDocument, convert.lifecycle_of),
        documents=read,
        unread=unread,
    )


def _in_order(problems: Iterable[Problem], files: tuple[SourceFile, ...]) -> tuple[Problem, ...]:
    """The problems sorted by place, the first of each place and field, at most `MAX_PROBLEMS`."""
    order = {file.name: number for number, file in enumerate(files)}
    unique: dict[tuple[str, int, int, str], Problem] = {}
    for problem in problems:
        unique.setdefault((problem.file, problem.line, problem.column, problem.path or problem.message), problem)
    ranked = sorted(unique.values(), key=lambda item: (order.get(item.file, -1), item.line, item.column))
    return tuple(ranked[:MAX_PROBLEMS])


def _assemble(parsed_city: ParsedCity, shapes: Mapping[int, DocumentSchema]) -> City:
    assert parsed_city.city is not None
    shape = shapes[id(parsed_city.city.document)]
    assert isinstance(shape, documents.CityDocument)
    whole = convert.city_of(
        shape,
        clouds=tuple(part.value for part in parsed_city.clouds),
        platforms=tuple(part.value for part in parsed_city.platforms),
        tenants=tuple(part.value for part in parsed_city.tenants),
        apps=tuple(part.value for part in parsed_city.apps),
        waivers=tuple(part.value for part in parsed_city.waivers),
        lifecycles=tuple(part.value for part in parsed_city.lifecycles),
    )
    return with_kept_names(whole)


def _positions(parsed_city: ParsedCity) -> Positions:
    found = {(item.kind, _key(item)): item for item in parsed_city.documents}
    # A renamed app is found under the name that it keeps, too.
    for (tenant, name), kept in kept_names(item.value for item in parsed_city.tenants).items():
        for kind in OF_TENANTS:
            if (kind, f"{tenant}/{name}") in found:
                found.setdefault((kind, f"{tenant}/{kept}"), found[(kind, f"{tenant}/{name}")])
    return Positions(found)


def _key(document: Document) -> str:
    return f"{document.tenant}/{document.name}" if document.kind in OF_TENANTS else document.name


def _counts(parsed_city: ParsedCity) -> Mapping[str, int]:
    return {kind: sum(document.kind == kind for document in parsed_city.documents) for kind in KINDS}
