"""Checks capabilities against the catalogue: their types, options and dependencies, and that there is one gateway."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from wecityctl.errors import Problem
from wecityctl.guesses import nearest
from wecityctl.model.city import Platform
from wecityctl.model.requirements import candidates, find_cycle, is_ambiguous
from wecityctl.model.requirements import requirements as graph_of
from wecityctl.spec.checks.check import Check
from wecityctl.spec.fields import one_of
from wecityctl.spec.nodes import PathItem
from wecityctl.spec.parsed_city import ParsedCity, Sourced


def types(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A capability's type is in the catalogue and belongs to the platform that declares it."""
    for platform, path, item in parsed_city.capabilities():
        where = _type_path(platform.document.value, path)
        kind = parsed_city.catalogue.get(item.type)
        if kind is None:
            names = tuple(sorted(parsed_city.catalogue))
            expected = one_of(names)
            yield platform.problem(
                where, f"no catalogue knows capability type {item.type!r}", expected, nearest(item.type, names)
            )
        elif kind.platform != item.platform:
            message = f"capability type {item.type!r} does not belong to the {item.platform} platform"
            yield platform.problem(where, message, f"it under Platform {kind.platform!r}")


def image_digests(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Image digests are given only for images of the catalogue, and only if the city uses a registry."""
    if parsed_city.city is None:
        return
    images = parsed_city.city.value.images
    known = tuple(
        sorted(
            {image for kind in parsed_city.catalogue.values() for image in kind.images} | _catalogue_images(parsed_city)
        )
    )
    for name in images.digests:
        path = ("spec", "images", "digests", name)
        if images.source == "built" and not images.registry:
            yield parsed_city.city.problem(
                path, "images that are built here carry no registry's digest", "images.registry"
            )
        elif name not in known and parsed_city.knows_all("App"):
            yield parsed_city.city.problem(
                path, f"there is no image {name!r}", one_of(known), nearest(name, known), on_key=True
            )


def _catalogue_images(parsed_city: ParsedCity) -> set[str]:
    parts = (part.image for app in parsed_city.apps for part in app.value.components)
    return {image.removeprefix("catalogue:") for image in parts if image.startswith("catalogue:")}


def engines_and_replicas(parsed_city: ParsedCity) -> Iterator[Problem]:
    """The engine and the number of replicas are among those that the type supports."""
    for platform, path, item in parsed_city.capabilities():
        kind = parsed_city.catalogue.get(item.type)
        if kind is None:
            continue
        if item.engine and item.engine not in kind.engines:
            expected = one_of(kind.engines)
            message = f"capability type {item.type!r} has no engine {item.engine!r}"
            yield platform.problem((*path, "engine"), message, expected, nearest(item.engine, kind.engines))
        if item.replicas is not None and item.replicas > kind.max_replicas:
            message = f"capability type {item.type!r} does not run {item.replicas} replicas"
            yield platform.problem((*path, "replicas"), message, f"at most {kind.max_replicas}")


def tls(parsed_city: ParsedCity) -> Iterator[Problem]:
    """`tls` is set only for capabilities whose type supports TLS."""
    for platform, path, item in parsed_city.capabilities():
        kind = parsed_city.catalogue.get(item.type)
        if kind is not None and not kind.tls and item.tls is not None:
            message = f"capability type {item.type!r} takes no certificate, so TLS is not to be turned on or off there"
            yield platform.problem((*path, "tls"), message, on_key=True)


def requirements(parsed_city: ParsedCity) -> Iterator[Problem]:
    """The city has every capability that a type depends on. If several are equally near, `uses` names one."""
    if not parsed_city.knows_all("Platform"):
        return
    everything = tuple(parsed_city.capability_by_name.values())
    for platform, path, item in parsed_city.capabilities():
        kind = parsed_city.catalogue.get(item.type)
        named = {use.alias for use in item.uses}
        for wanted in kind.uses if kind is not None else ():
            if wanted.alias in named:
                continue
            found = candidates(item, wanted.type, everything, parsed_city.catalogue)
            if not found:
                message = f"capability {item.name!r} requires a capability of type {wanted.type!r}, which is not there"
                yield platform.problem((*path, "name"), message, f"a capability of type {wanted.type} on a platform")
            elif is_ambiguous(item, wanted.type, everything, parsed_city.catalogue):
                message = f"capability {item.name!r} could use any of {', '.join(found)} as {wanted.alias!r}"
                expected = f"uses: [{{capability: {found[0]}, as: {wanted.alias}}}], or another of them"
                yield platform.problem((*path, "name"), message, expected)


def named_uses(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Each entry of a capability's `uses` is a dependency of its type, and names a capability that can satisfy it."""
    everything = tuple(parsed_city.capability_by_name.values())
    for platform, path, item in parsed_city.capabilities():
        kind = parsed_city.catalogue.get(item.type)
        wanted = {use.alias: use.type for use in kind.uses} if kind is not None else {}
        seen: set[str] = set()
        for index, use in enumerate(item.uses if kind is not None else ()):
            place = (*path, "uses", index)
            if use.alias in seen:
                yield platform.problem(place, f"binding {use.alias!r} is given twice")
            elif use.alias not in wanted:
                message = f"capability type {item.type!r} uses nothing as {use.alias!r}"
                expected = f"as: {one_of(tuple(wanted))}" if wanted else "no uses"
                yield platform.problem(place, message, expected, nearest(use.alias, tuple(wanted)))
            elif parsed_city.knows_all("Platform"):
                found = candidates(item, wanted[use.alias], everything, parsed_city.catalogue)
                if use.capability not in found:
                    message = f"capability {use.capability!r} cannot serve {item.name!r} as {wanted[use.alias]}"
                    expected = one_of(tuple(found)) if found else f"a capability of type {wanted[use.alias]}"
                    yield platform.problem((*place, "capability"), message, expected, nearest(use.capability, found))
            seen.add(use.alias)


def cycles(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Dependencies between capabilities, and those between platforms, have no cycle: one has to start first."""
    everything = tuple(parsed_city.capability_by_name.values())
    graph = graph_of(everything, parsed_city.catalogue)
    cycle = find_cycle(graph)
    if cycle:
        places = {item.name: (platform, (*path, "name")) for platform, path, item in parsed_city.capabilities()}
        ways = [f"{name} ({places[name][0].place(*places[name][1])})" for name in cycle]
        platform, path = places[cycle[0]]
        yield platform.problem(path, "capabilities use each other in a cycle: " + " → ".join((*ways, cycle[0])))
        return
    owner = {item.name: item.platform for item in everything}
    platforms: dict[str, set[str]] = {name: set() for name in owner.values()}
    for name, needed in graph.items():
        # A dependency on a missing capability is reported by `named_uses`.
        platforms[owner[name]] |= {owner[other] for other in needed if other in owner} - {owner[name]}
    cycle = find_cycle(platforms)
    documents: dict[str, Sourced[Platform]] = {platform.value.name: platform for platform in parsed_city.platforms}
    if cycle:
        ways = [f"{name} ({documents[name].place('metadata', 'name')})" for name in cycle]
        message = "platforms use each other in a cycle: " + " → ".join((*ways, cycle[0]))
        expected = "the capability on the platform that uses it"
        yield documents[cycle[0]].problem(("metadata", "name"), message, expected)


def one_gateway(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A city has at most one gateway, because it has one entry point."""
    gateways = [found for found in parsed_city.capabilities() if found[2].is_entry]
    for platform, path, _ in gateways[1:]:
        message = f"a second gateway (the first is {gateways[0][2].name!r}): a city has one entry point"
        yield platform.problem(_type_path(platform.document.value, path), message)


def _type_path(document: Mapping[str, object], path: tuple[PathItem, ...]) -> tuple[PathItem, ...]:
    """The path of the field that gives the type: `type`, or `name` if there is no `type`."""
    node: object = document
    for item in path:
        node = node[item]  # type: ignore[index]
    return (*path, "type") if isinstance(node, dict) and "type" in node else (*path, "name")


CHECKS: tuple[Check, ...] = (
    types,
    image_digests,
    engines_and_replicas,
    tls,
    requirements,
    named_uses,
    cycles,
    one_gateway,
)
