"""A city's environments: its base documents, and what the files below `environments` merge over them.

The default environment is the base itself, with the overlay of that name if there is one. Every other environment must
have a name, a domain, a state and clusters of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from wecityctl.errors import ConfigurationError, InvalidCityError, Problem
from wecityctl.guesses import nearest
from wecityctl.model.environments import PRODUCTION, is_environment_name
from wecityctl.model.naming import embedded_cloud
from wecityctl.spec.files import SourceFile, find_environments, find_files, printable, read_text
from wecityctl.spec.nodes import Document, Map, PathItem, SourceLocation, format_path
from wecityctl.spec.overlay import Added, overlaid
from wecityctl.spec.yamltree import parse_yaml

# Limits memory use for a broken file of 5 MB; nobody reads more.
MAX_PROBLEMS = 1000
_RECORDS = "Lifecycle"
_CITY_NAME, _EMBEDDED = "city name", "embedded cloud"


@dataclass(frozen=True, slots=True)
class FilesRead:
    """Files, the documents in them, and the problems. `complete` is false if something could not be read."""

    files: tuple[SourceFile, ...]
    documents: tuple[Document, ...]
    problems: tuple[Problem, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class EnvironmentRead:
    """The merged documents of one environment, with the files they come from.

    `overlay` are the files that are this environment's alone; `added` is what the base does not have.
    """

    name: str
    is_default: bool
    read: FilesRead
    overlay: tuple[SourceFile, ...] = ()
    added: tuple[Added, ...] = ()

    def document(self, kind: str, name: str = "", tenant: str = "") -> Document | None:
        """The document of that identity; the City needs no name."""
        for each in self.read.documents:
            if each.kind == kind and (kind == "City" or (each.name, each.tenant) == (name, tenant)):
                return each
        return None


@dataclass(frozen=True, slots=True)
class Environments:
    """The base documents of a city and the files of its environments."""

    path: Path
    base: FilesRead
    overlays: Mapping[str, tuple[SourceFile, ...]]
    problems: tuple[Problem, ...]
    default: str
    texts: Mapping[Path, str] = field(default_factory=dict)
    _known: dict[str, EnvironmentRead] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The environments, the default first."""
        return (self.default, *(name for name in self.overlays if name != self.default))

    def find(self, name: str | None) -> str:
        """Return `name`, or the default for `None`. Raises `ConfigurationError` for one that is not there."""
        chosen = self.default if name is None else name
        if chosen not in self.names:
            guess = nearest(chosen, self.names)
            raise ConfigurationError(
                f"{printable(self.path)} has no environment {chosen!r}",
                details=f"environments: {', '.join(self.names)}",
                resolution=f"did you mean {guess!r}?" if guess else f"write its files to environments/{chosen}.yaml",
            )
        return chosen

    def read(self, name: str) -> EnvironmentRead:
        """Return the environment: the base with its overlay merged over it, if it has one. Each is read once."""
        if name not in self._known:
            self._known[name] = self._read(name)
        return self._known[name]

    def _read(self, name: str) -> EnvironmentRead:
        files = self.overlays.get(name, ())
        is_default = name == self.default
        if not files:
            return EnvironmentRead(name, is_default, self.base)
        over = read_files(files, overlay=True, texts=self.texts)
        # What was recorded of an app is about the default environment, where it looks otherwise.
        base = [item for item in self.base.documents if is_default or item.kind != _RECORDS]
        merged = overlaid(base, over.documents)
        problems = [*self.base.problems, *over.problems, *merged.problems, *_renamed(over.documents)]
        read = FilesRead(
            (*self.base.files, *files), merged.documents, tuple(problems), self.base.complete and over.complete
        )
        return EnvironmentRead(name, is_default, read, files, merged.added)

    def read_valid(self, name: str) -> EnvironmentRead:
        """Read the environment. Raises `InvalidCityError` for files that cannot be read or merged."""
        found = self.read(name)
        if problems := (*self.problems, *found.read.problems):
            raise InvalidCityError(
                tuple(dict.fromkeys(problems)), found.read.files[0].root if found.read.files else None
            )
        return found

    def shared(self, found: EnvironmentRead) -> Iterator[Problem]:
        """Yield what the environment shares with another one and must have for itself.

        The default is not compared: what another one shares with it is a mistake of that one's files. Overlays of
        others that cannot be read are left out here; they have problems of their own.
        """
        if found.is_default:
            return
        own = list(_own_values(found))
        named = next((key for key, _, what, _ in own if what == _CITY_NAME), ())
        reported: set[tuple[tuple[PathItem, ...], SourceLocation]] = set()
        for name in self.names:
            other = {} if name == found.name else {key: place for key, _, _, place in _own_values(self.read(name))}
            for key, path, what, place in own:
                if what == _EMBEDDED and named in other:
                    # Both cities have one name: this is the mistake, and all their embedded clouds are the same.
                    continue
                if key in other and (path, place) not in reported:
                    reported.add((path, place))
                    where = self._place(found, place)
                    yield Problem(
                        where.file,
                        where.line,
                        where.column,
                        format_path(path),
                        f"the {what} is that of environment {name!r} too ({other[key]})",
                        "one of its own",
                    )

    def _place(self, found: EnvironmentRead, place: SourceLocation) -> SourceLocation:
        """Where the environment would have to say otherwise: in its own files."""
        if place.file in {file.name for file in found.overlay}:
            return place
        return SourceLocation(found.overlay[0].name)


def read_environments(path: Path, texts: Mapping[Path, str] | None = None) -> Environments:
    """Read the base documents of the city at `path`, and find its environments. Problems are returned, not raised.

    `texts` has the texts that files are to get, and those of base files to be added.
    """
    files, problems = find_files(path)
    there = {file.path for file in files}
    overlays, found = find_environments(path)
    there |= {file.path for overlay in overlays.values() for file in overlay}
    files += tuple(SourceFile(added, printable(added)) for added in texts or {} if added not in there)
    read = read_files(files, texts=texts)
    base = FilesRead(files, read.documents, (*problems, *read.problems), read.complete and not problems)
    if base.complete and files and not base.documents:
        names = ", ".join(file.name for file in files[:3])
        empty = Problem(names, 0, 0, "", "is empty", "documents, one of them with kind: City")
        base = FilesRead(files, (), (*base.problems, empty), True)
    return Environments(path, base, overlays, found, _default(base.documents), texts or {})


def read_files(
    files: Sequence[SourceFile], *, overlay: bool = False, texts: Mapping[Path, str] | None = None
) -> FilesRead:
    """Read and parse the files; `texts` has the texts of those that are not read."""
    found: list[Document] = []
    problems: list[Problem] = []
    complete = True
    for file in files:
        text, problem = (texts[file.path], None) if texts and file.path in texts else read_text(file)
        if problem is not None:
            problems.append(problem)
            complete = False
            continue
        parsed = parse_yaml(text, file.name, overlay=overlay)
        # An empty document between two `---` is common and not an error.
        found += [document for document in parsed.documents if document.value is not None]
        problems += parsed.problems
        complete = complete and parsed.complete and not parsed.problems
        if len(problems) > MAX_PROBLEMS:
            complete = False
            break
    return FilesRead(tuple(files), tuple(found), tuple(problems), complete)


def _default(documents: Sequence[Document]) -> str:
    city = next((document for document in documents if document.kind == "City"), None)
    found = value_at(city, ("spec", "environment")) if city is not None else None
    return found if isinstance(found, str) and is_environment_name(found) else PRODUCTION


def _renamed(documents: Sequence[Document]) -> Iterator[Problem]:
    """A file of an environment cannot say what the default one is called."""
    path = ("spec", "environment")
    for document in documents:
        if document.kind == "City" and document.has(path):
            place = document.place(path, on_key=True)
            message = "the name of its file is the environment's name"
            yield Problem(place.file, place.line, place.column, format_path(path), message, "no such field here")


def value_at(document: Document, path: Sequence[PathItem]) -> object:
    """The value at `path` as the files have it; `None` if there is none."""
    node: object = document.value
    for item in path:
        if isinstance(node, Map) and isinstance(item, str):
            node = node.get(item)
        elif isinstance(node, list) and isinstance(item, int) and item < len(node):
            node = node[item]
        else:
            return None
    return node


_Own = tuple[tuple[str, ...], tuple[PathItem, ...], str, SourceLocation]


def _own_values(found: EnvironmentRead) -> Iterator[_Own]:
    """What belongs to one environment only: a key to compare, its path, what it is, and where it is written."""
    city = found.document("City")
    for document in found.read.documents:
        if document.kind == "City":
            yield from _own_of_city(document)
        elif document.kind == "Cloud":
            yield from _own_of_cloud(document, city.name if city is not None else "")


def _own_of_city(city: Document) -> Iterator[_Own]:
    for path, what in (
        (("metadata", "name"), _CITY_NAME),
        (("spec", "domain"), "domain"),
        # Without one, the states are kept by the city's name.
        (("spec", "state", "backend"), "state back end"),
    ):
        value = value_at(city, path)
        if isinstance(value, str) and value:
            same = _same_place(value) if path[-1] == "backend" else value.rstrip(".").lower()
            yield (what, same), path, what, city.place(path)


def _same_place(backend: str) -> str:
    """The URL of a back end, in one spelling."""
    scheme, separator, rest = backend.partition("://")
    if scheme.lower() == "file" and separator:
        return f"file://{_same_path(_from_home(rest))}"
    return backend.rstrip("/.").lower()


def _same_file(path: str) -> tuple[str, ...]:
    """What identifies a file, however it is spelt or linked."""
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return (_same_path(path),)
    return str(found.st_dev), str(found.st_ino)


def _from_home(path: str) -> str:
    with suppress(RuntimeError):
        return str(Path(path).expanduser())
    return path


def _same_path(path: str) -> str:
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        # No path at all: the schema says so.
        return path


def _own_of_cloud(cloud: Document, city: str) -> Iterator[_Own]:
    provider = value_at(cloud, ("spec", "provider"))
    if provider == "local":
        name: tuple[PathItem, ...] = ("metadata", "name")
        yield (_EMBEDDED, embedded_cloud(city, cloud.name)), name, _EMBEDDED, cloud.place(name)
    if provider == "kubernetes":
        path = ("spec", "kubernetes", "kubeconfig")
        kubeconfig, context = value_at(cloud, path), value_at(cloud, ("spec", "kubernetes", "context"))
        file = cloud.place(path).file
        key = _same_file(str(Path(file).parent / _from_home(str(kubeconfig or ""))))
        yield ("cluster", *key, str(context or "")), ("spec", "kubernetes"), "cluster", cloud.place(path)
    cluster = ("spec", "existing", "cluster")
    if value := value_at(cloud, cluster):
        yield ("cluster", str(provider), str(value)), cluster, "cluster", cloud.place(cluster)
