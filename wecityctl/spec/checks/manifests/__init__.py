"""Checks the Kubernetes manifests of apps and platforms: kinds, fields, labels, references and names.

What passes, an API server takes. `shapes` has the fields of each kind and `fields` their types.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wecityctl.errors import Problem
from wecityctl.guesses import nearest
from wecityctl.model import naming
from wecityctl.model.city import App, Platform
from wecityctl.model.entries import ENTRY_SERVICE
from wecityctl.model.manifests import KINDS, default_namespace
from wecityctl.spec.checks.check import Check
from wecityctl.spec.checks.manifests.fields import Checker, Path, Step, Table
from wecityctl.spec.checks.manifests.reasons import REFUSED_KINDS
from wecityctl.spec.checks.manifests.shapes import OWN_FIELDS, metadata
from wecityctl.spec.fields import one_of
from wecityctl.spec.manifest_files import is_number
from wecityctl.spec.nodes import Document, Map, Seq, Unquoted, shorten
from wecityctl.spec.parsed_city import ParsedCity, SourcedManifest
from wecityctl.spec.renames import parsed_with_kept_names
from wecityctl.spec.translate import describe, problem_at

# What names of Jobs and Services begin with that the city itself has in the namespaces of platforms.
_OWN_JOBS = (ENTRY_SERVICE, "provision", "manifests")


def _known(checker: Checker, path: Path, value: Any) -> None:
    """A field that is looked at before the others."""


def _table(kind: str) -> Table:
    known: dict[str, Step] = {"apiVersion": _known, "kind": _known, "metadata": metadata(kind)}
    needs = ("metadata", *(("spec",) if "spec" in OWN_FIELDS[kind] else ()))
    return Table({**known, **OWN_FIELDS[kind]}, needs, {"status": "the cluster writes it"})


_TABLES = {kind: _table(kind) for kind in KINDS}


def document_problems(owner: App | Platform, document: Document) -> list[Problem]:
    """The problems of one manifest of `owner`, without those of its name among others."""
    checker = Checker(owner, document)
    value = document.value
    if not isinstance(value, Map):
        checker.refuse((), f"the manifest is {describe(value)}", "a mapping that begins apiVersion: …")
        return checker.problems
    kind, version = value.get("kind"), value.get("apiVersion")
    if str(version).startswith("wecity"):
        checker.refuse((), "a document of the city is no manifest", "the document in a file that no `manifests` names")
    elif not isinstance(kind, str) or kind not in KINDS:
        shown = repr(shorten(kind)) if isinstance(kind, str) else describe(kind)
        why = REFUSED_KINDS.get(str(kind), "")
        if why:
            checker.refuse(("kind",), f"{checker.a_word} has no {kind} of its own: {why}")
        else:
            message = f"{shown} is not a kind of manifest that {checker.a_word} has"
            checker.refuse(("kind",), message, one_of(tuple(KINDS)), nearest(str(kind), tuple(KINDS)))
    elif version != KINDS[kind]:
        checker.refuse(("apiVersion",), f"{describe(version)} is not the version of a {kind}", KINDS[kind])
    else:
        _TABLES[kind](checker, (), value)
        # The first problem of a place is the one that is told.
        _scalars(checker, (), value)
    return checker.problems


def _scalars(checker: Checker, path: Path, value: Any) -> None:
    """Values that YAML readers disagree about are refused anywhere."""
    if isinstance(value, Map):
        for key, item in value.items():
            _scalars(checker, (*path, key), item)
    elif isinstance(value, Seq):
        for index, item in enumerate(value):
            _scalars(checker, (*path, index), item)
    elif isinstance(value, Unquoted) and not is_number(value):
        checker.refuse(path, f"{describe(value)} is given", f'"{shorten(value.text)}" in quotes')


def contents(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Each manifest is of a kind that its owner may have, and says nothing that is not the owner's to say."""
    for item in parsed_city.manifests:
        yield from document_problems(item.owner, item.document)


def names(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A manifest has a name that no other object in its namespace has, and an autoscaler scales one of its owner's."""
    taken = _taken(parsed_with_kept_names(parsed_city))
    seen: dict[tuple[str, str, str], str] = {}
    for item in parsed_city.manifests:
        namespace = _namespace_of(item)
        kind, name = item.document.kind, item.document.name
        path = ("metadata", "name")
        whose = taken.get((namespace, name), "")
        if isinstance(item.owner, Platform):
            whose = _of_platform(item.owner, name)
        if whose:
            yield problem_at(item.document, path, f"{name!r} is the name of {whose}", "another name")
        place = str(item.document.place(path))
        first = seen.setdefault((namespace, kind, name), place)
        if name and first != place:
            yield problem_at(item.document, path, f"{kind} {name!r} is given twice (first in {first})", "another name")
        yield from _scaled(parsed_city, item)


def _namespace_of(item: SourcedManifest) -> str:
    """The namespace of a manifest; empty if none can be told, which `contents` reports."""
    owner = item.source.value
    if isinstance(owner, App):
        return naming.tenant_namespace(owner.tenant, owner.zone)
    metadata = item.document.value.get("metadata") if isinstance(item.document.value, Map) else None
    stated = metadata.get("namespace") if isinstance(metadata, Map) else None
    return str(stated) if stated else default_namespace(owner)


def _of_platform(platform: Platform, name: str) -> str:
    """Whose names begin as `name` does in the namespaces of a platform; empty if nobody's do."""
    for capability in platform.capabilities:
        if name == capability.name or name.startswith(f"{capability.name}-"):
            return f"objects of capability {capability.name!r}"
    for begins in _OWN_JOBS:
        if name == begins or name.startswith(f"{begins}-"):
            return "objects of the city's own"
    return ""


def _taken(parsed_city: ParsedCity) -> dict[tuple[str, str], str]:
    """The names of the objects of components, by namespace, each with whose it is."""
    found: dict[tuple[str, str], str] = {}
    for app, _, part in parsed_city.components():
        namespace = naming.tenant_namespace(app.value.tenant, app.value.zone)
        workload = naming.component_workload(app.value.name, part.name)
        whose = f"component {part.name!r} of app {app.value.tenant}/{app.value.name}"
        for name in (workload, f"{workload}-files", naming.fit(f"{workload}-crossing")):
            found.setdefault((namespace, name), whose)
        found.setdefault((namespace, "kube-root-ca.crt"), "the cluster's own ConfigMap")
    for app in parsed_city.apps:
        namespace = naming.tenant_namespace(app.value.tenant, app.value.zone)
        route = app.value.route
        crossing = [naming.provided_service(item.service, item.name) for item in app.value.provides if item.service]
        crossing += [naming.fit(f"{route.service}-crossing")] if route is not None and route.service else []
        for name in crossing:
            whose = f"the Service by which other clouds reach app {app.value.tenant}/{app.value.name}"
            found.setdefault((namespace, name), whose)
    return found


def _scaled(parsed_city: ParsedCity, item: SourcedManifest) -> Iterator[Problem]:
    value = item.document.value
    spec = value.get("spec") if isinstance(value, Map) and item.document.kind == "HorizontalPodAutoscaler" else None
    target = spec.get("scaleTargetRef") if isinstance(spec, Map) else None
    if not isinstance(target, Map):
        return
    of_owner = [other for other in parsed_city.manifests if other.source.document is item.source.document]
    here = [other.document for other in of_owner if _namespace_of(other) == _namespace_of(item)]
    known = {(other.kind, other.name) for other in here}
    if (target.get("kind"), target.get("name")) not in known:
        word = "app" if isinstance(item.owner, App) else "platform"
        message = f"the {word} has no manifest of {target.get('kind')} {target.get('name')!r}"
        yield problem_at(item.document, ("spec", "scaleTargetRef", "name"), message, f"one of the {word}'s manifests")


def files(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Each file is named once, by one document."""
    first: dict[str, str] = {}
    reported: set[tuple[str, int]] = set()
    for item in parsed_city.manifests:
        path: Path = ("spec", "manifests", item.index)
        place = str(item.source.place(*path))
        known = first.setdefault(item.document.file, place)
        if known != place and (place, item.index) not in reported:
            reported.add((place, item.index))
            yield item.source.problem(path, f"{item.document.file} is named already ({known})", "each file once")


CHECKS: tuple[Check, ...] = (contents, names, files)
