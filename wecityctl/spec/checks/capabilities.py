"""Capabilities against the catalogue: known types on their own platform, what they require, and the gateway."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from wecityctl.errors import Problem
from wecityctl.spec.draft import Draft
from wecityctl.spec.fields import nearest, one_of
from wecityctl.spec.nodes import PathItem


def types(draft: Draft) -> Iterator[Problem]:
    """The type is in the catalogue and belongs to this platform."""
    for platform, path, item in draft.capabilities():
        where = _type_path(platform.document.value, path)
        kind = draft.catalogue.get(item.type)
        if kind is None:
            names = tuple(sorted(draft.catalogue))
            expected = one_of(names)
            yield platform.problem(
                where, f"no catalogue knows capability type {item.type!r}", expected, nearest(item.type, names)
            )
        elif kind.platform != item.platform:
            message = f"capability type {item.type!r} does not belong to the {item.platform} platform"
            yield platform.problem(where, message, f"it under Platform {kind.platform!r}")


def image_digests(draft: Draft) -> Iterator[Problem]:
    """Digests are given for images of the catalogue, and where a registry has them."""
    if draft.city is None:
        return
    images = draft.city.value.images
    known = tuple(
        sorted({image for kind in draft.catalogue.values() for image in kind.images} | _catalogue_images(draft))
    )
    for name in images.digests:
        path = ("spec", "images", "digests", name)
        if images.source == "built" and not images.registry:
            yield draft.city.problem(path, "images that are built here carry no registry's digest", "images.registry")
        elif name not in known and draft.knows_all("App"):
            yield draft.city.problem(
                path, f"there is no image {name!r}", one_of(known), nearest(name, known), on_key=True
            )


def _catalogue_images(draft: Draft) -> set[str]:
    parts = (part.image for app in draft.apps for part in app.value.components)
    return {image.removeprefix("catalogue:") for image in parts if image.startswith("catalogue:")}


def engines_and_replicas(draft: Draft) -> Iterator[Problem]:
    """Engine and replicas are what the type offers."""
    for platform, path, item in draft.capabilities():
        kind = draft.catalogue.get(item.type)
        if kind is None:
            continue
        if item.engine and item.engine not in kind.engines:
            expected = one_of(kind.engines)
            message = f"capability type {item.type!r} has no engine {item.engine!r}"
            yield platform.problem((*path, "engine"), message, expected, nearest(item.engine, kind.engines))
        if item.replicas is not None and item.replicas > kind.max_replicas:
            message = f"capability type {item.type!r} does not run {item.replicas} replicas"
            yield platform.problem((*path, "replicas"), message, f"at most {kind.max_replicas}")


def tls(draft: Draft) -> Iterator[Problem]:
    """TLS is turned on or off for capabilities whose type has it."""
    for platform, path, item in draft.capabilities():
        kind = draft.catalogue.get(item.type)
        if kind is not None and not kind.tls and item.tls is not None:
            message = f"capability type {item.type!r} takes no certificate, so TLS is not to be turned on or off there"
            yield platform.problem((*path, "tls"), message, on_key=True)


def requirements(draft: Draft) -> Iterator[Problem]:
    """What a type requires is provided by some capability of the city."""
    if not draft.knows_all("Platform"):
        return
    offered: set[str] = set()
    for _, _, item in draft.capabilities():
        kind = draft.catalogue.get(item.type)
        offered |= {item.type, *(kind.provides if kind is not None else ())}
    for platform, path, item in draft.capabilities():
        kind = draft.catalogue.get(item.type)
        for required in kind.requires if kind is not None else ():
            if required not in offered:
                message = f"capability {item.name!r} requires a capability of type {required!r}, which is not there"
                yield platform.problem((*path, "name"), message, f"a capability of type {required} on a platform")


def circles(draft: Draft) -> Iterator[Problem]:
    """Neither capability types nor platforms require each other in a circle: one must come up first."""
    used = {
        item.type: draft.catalogue[item.type] for _, _, item in draft.capabilities() if item.type in draft.catalogue
    }
    types_graph = {name: set(kind.requires) & set(used) for name, kind in used.items()}
    platforms: dict[str, set[str]] = {kind.platform: set() for kind in used.values()}
    for name, requires in types_graph.items():
        platforms[used[name].platform] |= {used[other].platform for other in requires} - {used[name].platform}
    circle = _circle(types_graph)
    if circle:
        for platform, path, item in draft.capabilities():
            if item.type == circle[0]:
                message = "capability types require each other in a circle: " + " → ".join((*circle, circle[0]))
                yield platform.problem((*path, "name"), message)
                return
    circle = _circle(platforms)
    for platform in draft.platforms:
        if circle and platform.value.name == circle[0]:
            message = "platforms require each other in a circle: " + " → ".join((*circle, circle[0]))
            yield platform.problem(("metadata", "name"), message, "the capability on the platform that needs it")
            return


def one_gateway(draft: Draft) -> Iterator[Problem]:
    """There is one entry point, hence at most one gateway."""
    gateways = [found for found in draft.capabilities() if found[2].type == "gateway"]
    for platform, path, _ in gateways[1:]:
        message = f"a second gateway (the first is {gateways[0][2].name!r}): a city has one entry point"
        yield platform.problem(_type_path(platform.document.value, path), message)


def _type_path(document: Mapping[str, object], path: tuple[PathItem, ...]) -> tuple[PathItem, ...]:
    """The field that gives the type: `type`, or the name when there is none."""
    node: object = document
    for item in path:
        node = node[item]  # type: ignore[index]
    return (*path, "type") if isinstance(node, dict) and "type" in node else (*path, "name")


def _circle(graph: Mapping[str, set[str]]) -> tuple[str, ...]:
    """A circle in `graph`, beginning with its first name in order; empty when there is none."""
    pending = {name: set(targets) & set(graph) for name, targets in graph.items()}
    while True:
        free = [name for name, targets in pending.items() if not targets & set(pending)]
        if not free:
            break
        for name in free:
            del pending[name]
    if not pending:
        return ()
    trail: list[str] = []
    name = min(pending)
    while name not in trail:
        trail.append(name)
        name = min(pending[name] & set(pending))
    circle = trail[trail.index(name) :]
    first = circle.index(min(circle))
    return tuple(circle[first:] + circle[:first])
