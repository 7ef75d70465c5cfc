"""Copies the images of an app from one environment of a city to another, as new texts of the files.

Nothing is written here, and only what names one content for ever is copied: an image with its digest.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wecityctl.errors import ConfigurationError
from wecityctl.guesses import nearest
from wecityctl.spec.differences import differences
from wecityctl.spec.environments import EnvironmentRead, Environments, read_environments, read_files, value_at
from wecityctl.spec.files import SourceFile, read_text
from wecityctl.spec.insertion import CannotWriteError, with_document, with_field, with_item, with_scalar
from wecityctl.spec.nodes import Document, Map, Mark, Seq, SourceLocation
from wecityctl.spec.overlay import identity_of

_DIGEST = "@sha256:"
_COMPONENTS = ("spec", "components")


@dataclass(frozen=True, slots=True)
class Change:
    """The image of one component: what it is in the one environment, and becomes in the other, with their places."""

    tenant: str
    app: str
    component: str
    old: str
    new: str
    old_place: SourceLocation
    new_place: SourceLocation

    @property
    def subject(self) -> str:
        return f"{self.tenant}/{self.app}/{self.component}"


@dataclass(frozen=True, slots=True)
class ChangedText:
    """A file with its text before and after."""

    file: SourceFile
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Promotion:
    """What is promoted, the files that change, and the other environments that have the same image by inheritance."""

    changes: tuple[Change, ...]
    files: tuple[ChangedText, ...]
    inheriting: tuple[str, ...]

    @property
    def patch(self) -> str:
        """The changes as a unified patch."""
        return "".join(line for item in self.files for line in _patch(item))


def promotion(path: Path, subject: str, source: str, target: str) -> Promotion:
    """Work out how the images of `subject`, an app or one of its components, come from `source` to `target`.

    `subject` is APP, TENANT/APP, APP/COMPONENT or TENANT/APP/COMPONENT. Raises `ConfigurationError` for an environment,
    app or component that is not there or could be several, an image without a digest, and a file whose layout a program
    cannot change; `InvalidCityError` for files that cannot be read or merged.
    """
    environments = read_environments(path)
    here, there = environments.find(source), environments.find(target)
    if here == there:
        raise ConfigurationError(f"both environments are {here!r}", resolution="name two: --from test --to production")
    origin, goal = environments.read_valid(here), environments.read_valid(there)
    app, names = _chosen(origin, subject)
    changes = tuple(_changes(app, names, origin, goal))
    texts: dict[Path, str] = {}
    for change in changes:
        texts |= _written(read_environments(path, texts), there, change)
    inheriting = _verified(environments, read_environments(path, texts), there, changes)
    files = {file.path: file for name in environments.names for file in environments.read(name).read.files}
    changed = tuple(ChangedText(files[each], _text_of(files[each], {}), text) for each, text in texts.items())
    return Promotion(changes, changed, inheriting)


def _chosen(origin: EnvironmentRead, subject: str) -> tuple[Document, tuple[str, ...]]:
    """The app that is meant and the names of its components that are."""
    words = subject.split("/")
    found: list[tuple[Document, tuple[str, ...]]] = []
    apps = [document for document in origin.read.documents if document.kind == "App"]
    for app in apps:
        names = tuple(str(item["name"]) for _, item in _components(app))
        if words in ([app.name], [app.tenant, app.name]):
            found.append((app, names))
        found += [(app, (name,)) for name in names if words in ([app.name, name], [app.tenant, app.name, name])]
    known = [f"{app.tenant}/{app.name}" for app in apps]
    if not found:
        guess = nearest(subject, known) or nearest(subject, [app.name for app in apps])
        raise ConfigurationError(
            f"environment {origin.name!r} has no app or component {subject!r}",
            details=f"apps: {', '.join(known)}",
            resolution=f"did you mean {guess!r}?" if guess else "name one of them, or one with /COMPONENT",
        )
    if len(found) > 1:
        meant = [f"{app.tenant}/{app.name}{'/' + names[0] if len(words) > 1 and names else ''}" for app, names in found]
        raise ConfigurationError(
            f"{subject!r} can be any of {len(found)}",
            details="\n".join(
                f"{name} ({app.place(('metadata',))})" for name, (app, _) in zip(meant, found, strict=True)
            ),
            resolution="write TENANT/APP/COMPONENT",
        )
    return found[0]


def _components(app: Document) -> Iterator[tuple[int, Map]]:
    """The components of an App with their indices."""
    items = value_at(app, _COMPONENTS)
    for index, item in enumerate(items if isinstance(items, Seq) else ()):
        if isinstance(item, Map) and isinstance(item.get("name"), str):
            yield index, item


def _component(app: Document, name: str) -> tuple[int, Map] | None:
    return next(((index, item) for index, item in _components(app) if item["name"] == name), None)


def _changes(app: Document, names: Sequence[str], origin: EnvironmentRead, goal: EnvironmentRead) -> Iterator[Change]:
    counterpart = goal.document("App", app.name, app.tenant)
    if counterpart is None:
        raise ConfigurationError(
            f"environment {goal.name!r} has no app {app.tenant}/{app.name}",
            details=f"in {origin.name!r} it is at {app.place(('metadata', 'name'))}",
            resolution="add its document there first",
        )
    for name in names:
        own, other = _component(app, name), _component(counterpart, name)
        assert own is not None
        place = app.place((*_COMPONENTS, own[0], "image"))
        if other is None:
            raise ConfigurationError(
                f"component {name!r} of {app.tenant}/{app.name} is not in environment {goal.name!r}",
                details=f"in {origin.name!r} it is at {place}",
                resolution="add it there first, or name another component",
            )
        image, old = own[1].get("image"), other[1].get("image")
        if image == old:
            continue
        if not isinstance(image, str) or _DIGEST not in image:
            raise ConfigurationError(
                f"the image of {app.tenant}/{app.name}/{name} in {origin.name!r} has no digest: {image}",
                details=f"at {place}; a tag may name another content by now, and the files do not say which one ran",
                resolution=f"write it as NAME{_DIGEST}… there, bring it up, and promote that",
            )
        goal_place = counterpart.place((*_COMPONENTS, other[0], "image"))
        yield Change(app.tenant, app.name, name, str(old or ""), image, goal_place, place)


def _written(environments: Environments, target: str, change: Change) -> dict[Path, str]:
    """The new text of the file that the change belongs into, by its name."""
    goal = environments.read_valid(target)
    app = goal.document("App", change.app, change.tenant)
    found = _component(app, change.component) if app is not None else None
    assert app is not None and found is not None
    place = app.place((*_COMPONENTS, found[0], "image"))
    own = goal.overlay or environments.base.files
    try:
        for file in own:
            if file.name == place.file and "image" in found[1]:
                text = _text_of(file, environments.texts)
                mark = Mark(place.line, place.column)
                return {file.path: with_scalar(text, mark, change.old, change.new)}
        return _inserted(goal, change, environments.texts)
    except CannotWriteError as error:
        raise _by_hand(change, place) from error


def _inserted(goal: EnvironmentRead, change: Change, texts: Mapping[Path, str]) -> dict[Path, str]:
    """The same for a value that the environment has from the base documents."""
    if not goal.overlay:
        raise CannotWriteError
    image = json.dumps(change.new, ensure_ascii=False)
    item = f"{{name: {change.component}, image: {image}}}"
    chosen = goal.overlay[0]
    for file in goal.overlay:
        for document in read_files([file], texts=texts).documents:
            if identity_of(document) == ("App", change.tenant, change.app):
                return {file.path: _in_document(_text_of(file, texts), document, change.component, image, item)}
            if change.tenant in (document.tenant, document.name if document.kind == "Tenant" else ""):
                chosen = file
    document_text = (
        f"kind: App\nmetadata: {{name: {change.app}, tenant: {change.tenant}}}\nspec:\n  components:\n    - {item}\n"
    )
    return {chosen.path: with_document(_text_of(chosen, texts), document_text)}


def _in_document(text: str, document: Document, component: str, image: str, item: str) -> str:
    root, spec = document.value, value_at(document, ("spec",))
    components = value_at(document, _COMPONENTS)
    if not isinstance(spec, Map):
        return with_field(text, root, "spec", f"{{components: [{item}]}}")
    if isinstance(components, Seq):
        found = _component(document, component)
        return with_field(text, found[1], "image", image) if found is not None else with_item(text, components, item)
    if isinstance(components, Map):
        known = components.get(component)
        if isinstance(known, Map):
            return with_field(text, known, "image", image)
        return with_field(text, components, component, f"{{image: {image}}}")
    return with_field(text, spec, "components", f"[{item}]")


def _verified(before: Environments, after: Environments, target: str, changes: Sequence[Change]) -> tuple[str, ...]:
    """Compare the cities before and after, and return the other environments in which the images changed too.

    Raises `ConfigurationError` if anything else changed, such as what an alias repeats.
    """
    wanted = {(item.tenant, item.app, f"spec.components[{item.component}].image"): item for item in changes}
    inheriting: list[str] = []
    for name in before.names:
        old, new = before.read(name), after.read(name)
        changed = {
            (item.tenant, item.name, item.path): item.second.value if item.second is not None else None
            for item in differences(old, new)
        }
        known = all(key in wanted and value == wanted[key].new for key, value in changed.items())
        if not known or new.read.problems != old.read.problems or (name == target and len(changed) != len(wanted)):
            raise _by_hand(changes[0], changes[0].old_place)
        if changed and name != target:
            inheriting.append(name)
    return tuple(inheriting)


def _by_hand(change: Change, place: SourceLocation) -> ConfigurationError:
    return ConfigurationError(
        f"the image of {change.subject} is written in a way that a program cannot change without changing more",
        details=f"at {place}, perhaps with an anchor or an alias",
        resolution=f"write it by hand: image: {json.dumps(change.new, ensure_ascii=False)}",
    )


def _text_of(file: SourceFile, texts: Mapping[Path, str]) -> str:
    return texts[file.path] if file.path in texts else read_text(file)[0]


def _patch(item: ChangedText) -> Iterator[str]:
    name = item.file.name
    names = (name, name) if name.startswith("/") else (f"a/{name}", f"b/{name}")
    old, new = item.old.splitlines(keepends=True), item.new.splitlines(keepends=True)
    for line in difflib.unified_diff(old, new, *names):
        yield line if line.endswith(("\n", "\r")) else f"{line}\n\\ No newline at end of file\n"
