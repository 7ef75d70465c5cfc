"""Loads a city in stages: files, YAML documents, schemas, checks, model. Collects the problems of all stages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from wecityctl.errors import InvalidCityError, Problem
from wecityctl.guesses import nearest
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import App, City, KubernetesManifest, Platform
from wecityctl.model.environments import chosen_environment
from wecityctl.spec import convert
from wecityctl.spec.checks import check_references, run_checks
from wecityctl.spec.checks.manifests import document_problems
from wecityctl.spec.environments import (
    MAX_PROBLEMS,
    EnvironmentRead,
    Environments,
    FilesRead,
    read_environments,
    value_at,
)
from wecityctl.spec.fields import fields_of, find_field
from wecityctl.spec.files import SourceFile, printable
from wecityctl.spec.loaded import LoadedCity, Positions
from wecityctl.spec.manifest_files import Attached, named_files, plain, separate
from wecityctl.spec.nodes import Document, Map, format_path, shorten
from wecityctl.spec.parsed_city import ParsedCity, Part, Sourced, SourcedManifest
from wecityctl.spec.renames import KeptNames, kept_names, with_kept_names
from wecityctl.spec.salvage import Salvaged, salvage, without_made_up
from wecityctl.spec.schema import KINDS, DocumentSchema, documents
from wecityctl.spec.schema.documents import OF_TENANTS
from wecityctl.spec.translate import read_schema

# Manifests by `id` of the document that names their files.
_AttachedTo = Mapping[int, tuple[Attached, ...]]
Kind = TypeVar("Kind", bound=DocumentSchema)

# Documents with invalid values that are salvaged; beyond this number the references in them are not checked.
MAX_SALVAGED = 200
# Added documents and items that are compared with the names of the base; comparing thousands would take minutes.
MAX_HINTS = 20


def load_city(
    path: Path, catalogue: Catalogue, changed: Mapping[Path, str] | None = None, *, environment: str | None = None
) -> LoadedCity:
    """Load and validate the city at `path`, a file or a directory, as it is in `environment`.

    Without one, it is the environment that the run works on, and else the city's default. `changed` has the texts that
    files are to get, and those of files to be added: the city is loaded as it will be. Raises `InvalidCityError`
    with all problems, and `ConfigurationError` for an environment that is not there.
    """
    environments = read_environments(path, changed)
    wanted = chosen_environment() if environment is None else environment
    if not environments.base.complete and wanted not in environments.names:
        # Which environment is the default is in a file that cannot be read: its problems are reported.
        wanted = None
    return load_environment(environments, environments.find(wanted), catalogue)


def load_environment(environments: Environments, name: str, catalogue: Catalogue) -> LoadedCity:
    """Load and validate one environment of a city whose files were read. Raises `InvalidCityError`."""
    found = environments.read(name)
    path, read = environments.path, found.read
    separated = separate(
        read.documents, read.files, {problem.file for problem in read.problems}, _manifests_of_others(environments)
    )
    read = replace(
        read,
        documents=separated.documents,
        problems=(*read.problems, *separated.problems),
        complete=read.complete and separated.complete,
    )
    parsed_city, shapes, salvaged, problems = _shape(read, separated.attached, catalogue, found.name)
    problems += _incomplete(found)
    whole = _whole(parsed_city, shapes, salvaged, separated.attached, complete=read.complete)
    problems += run_checks(parsed_city)
    problems += without_made_up(check_references(whole), salvaged)
    problems = [*environments.problems, *read.problems, *environments.shared(found), *problems]
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
    return LoadedCity(
        _assemble(parsed_city, shapes, found.name),
        _positions(parsed_city),
        _counts(parsed_city),
        read.files,
        found.name,
        environments.names,
    )


def _manifests_of_others(environments: Environments) -> frozenset[str]:
    """The files of manifests that documents of any environment name; others are read only if there may be some."""
    if all(document.kind in KINDS for document in environments.base.documents):
        return frozenset()
    return frozenset().union(*(named_files(environments.read(name).read.documents) for name in environments.names))


def _incomplete(found: EnvironmentRead) -> Iterator[Problem]:
    """A problem for what an environment adds that lacks fields and has nearly the name of something in the base."""
    for added in found.added[:MAX_HINTS]:
        kind = KINDS[added.document.kind]
        field = find_field(kind, added.path) if added.path else None
        shape = field.type.shape if field is not None else kind
        if shape is None or not _lacks_fields(shape, value_at(added.document, added.path)):
            continue
        if guess := nearest(added.name, added.known):
            path = format_path((*added.path, "name") if added.path else ("metadata", "name"))
            message = f"{shorten(added.name)!r} is not in the base documents: it is a new one and has to be complete"
            file, line, column = added.mark.file, added.mark.line, added.mark.column
            yield Problem(file, line, column, path, message, suggestion=guess)


def _lacks_fields(shape: type[BaseModel], value: object) -> bool:
    if not isinstance(value, Map):
        return False
    for name, field in fields_of(shape).items():
        if field.required and name not in value:
            return True
        if field.type.shape is not None and name in value:
            node = value[name]
            parts = node if field.type.container == "list" and isinstance(node, list) else [node]
            if field.type.container != "mapping" and any(_lacks_fields(field.type.shape, part) for part in parts):
                return True
    return False


def _shape(
    read: FilesRead, attached: _AttachedTo, catalogue: Catalogue, environment: str
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
    parsed_city = _parsed_city(read.documents, attached, shapes, catalogue, frozenset(unread), environment)
    return parsed_city, shapes, salvaged, problems


def _whole(
    parsed_city: ParsedCity,
    shapes: Mapping[int, DocumentSchema],
    salvaged: Sequence[Salvaged],
    attached: _AttachedTo,
    *,
    complete: bool,
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
    return _parsed_city(
        parsed_city.documents,
        attached,
        {**shapes, **rest},
        parsed_city.catalogue,
        frozenset(unknown),
        parsed_city.environment,
    )


def _parsed_city(
    read: tuple[Document, ...],
    attached: _AttachedTo,
    shapes: Mapping[int, DocumentSchema],
    catalogue: Catalogue,
    unread: frozenset[str],
    environment: str,
) -> ParsedCity:
    pairs = [(document, shapes[id(document)]) for document in read if id(document) in shapes]
    tenants = [convert.tenant_of(found) for _, found in pairs if isinstance(found, documents.TenantDocument)]
    kept = kept_names(tenants)
    apps = [
        _app(convert.app_of(found, environment), document, attached.get(id(document), ()), kept)
        for document, found in pairs
        if isinstance(found, documents.AppDocument)
    ]
    platforms = [
        _platform(convert.platform_of(found, catalogue), document, attached.get(id(document), ()))
        for document, found in pairs
        if isinstance(found, documents.PlatformDocument)
    ]

    def parts(shape: type[Kind], convert_one: Callable[[Kind], Part]) -> tuple[Sourced[Part], ...]:
        return tuple(Sourced(convert_one(found), document) for document, found in pairs if isinstance(found, shape))

    return ParsedCity(
        catalogue=catalogue,
        cities=parts(documents.CityDocument, convert.city_of),
        clouds=tuple(
            Sourced(convert.cloud_of(found, _directory(document)), document)
            for document, found in pairs
            if isinstance(found, documents.CloudDocument)
        ),
        platforms=tuple(platform for platform, _ in platforms),
        tenants=parts(documents.TenantDocument, convert.tenant_of),
        apps=tuple(app for app, _ in apps),
        waivers=parts(documents.WaiverDocument, convert.waiver_of),
        lifecycles=parts(documents.LifecycleDocument, convert.lifecycle_of),
        documents=read,
        unread=unread,
        environment=environment,
        manifests=tuple(manifest for _, manifests in (*apps, *platforms) for manifest in manifests),
    )


def _app(
    bare: App, document: Document, attached: Sequence[Attached], names: KeptNames
) -> tuple[Sourced[App], tuple[SourcedManifest, ...]]:
    """An App with the manifests that it names; those with problems are left out of the App's value."""
    # Manifests name objects in the cluster, which have the name that a renamed app keeps.
    owner = replace(bare, name=names.get((bare.tenant, bare.name), bare.name))
    app = Sourced(replace(bare, manifests=_sound(owner, attached)), document)
    return app, tuple(SourcedManifest(app, owner, item.index, item.document) for item in attached)


def _platform(
    bare: Platform, document: Document, attached: Sequence[Attached]
) -> tuple[Sourced[Platform], tuple[SourcedManifest, ...]]:
    """A Platform with the manifests that it names; those with problems are left out of the Platform's value."""
    platform = Sourced(replace(bare, manifests=_sound(bare, attached)), document)
    return platform, tuple(SourcedManifest(platform, bare, item.index, item.document) for item in attached)


def _sound(owner: App | Platform, attached: Sequence[Attached]) -> tuple[KubernetesManifest, ...]:
    sound = (item for item in attached if not document_problems(owner, item.document))
    return tuple(KubernetesManifest(item.file, plain(item.document.value)) for item in sound)


def _directory(cloud: Document) -> Path:
    """The directory of the file that names the cloud's kubeconfig."""
    return Path(cloud.place(("spec", "kubernetes", "kubeconfig")).file).parent


def _in_order(problems: Iterable[Problem], files: tuple[SourceFile, ...]) -> tuple[Problem, ...]:
    """The problems sorted by place, the first of each place and field, at most `MAX_PROBLEMS`."""
    order = {file.name: number for number, file in enumerate(files)}
    unique: dict[tuple[str, int, int, str], Problem] = {}
    for problem in problems:
        unique.setdefault((problem.file, problem.line, problem.column, problem.path or problem.message), problem)
    ranked = sorted(unique.values(), key=lambda item: (order.get(item.file, -1), item.line, item.column))
    return tuple(ranked[:MAX_PROBLEMS])


def _assemble(parsed_city: ParsedCity, shapes: Mapping[int, DocumentSchema], environment: str) -> City:
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
        environment=environment,
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
    manifests = {
        (item.source.document.kind, _owner_name(item.owner), item.document.kind, item.document.name): item.document
        for item in parsed_city.manifests
    }
    return Positions(found, manifests)


def _owner_name(owner: App | Platform) -> str:
    return f"{owner.tenant}/{owner.name}" if isinstance(owner, App) else owner.name


def _key(document: Document) -> str:
    return f"{document.tenant}/{document.name}" if document.kind in OF_TENANTS else document.name


def _counts(parsed_city: ParsedCity) -> Mapping[str, int]:
    return {kind: sum(document.kind == kind for document in parsed_city.documents) for kind in KINDS}
