"""Checks this machine: collects findings from every part of the program, each with a remedy."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wecityctl import paths
from wecityctl.errors import WecityError
from wecityctl.model.city import City, Cloud
from wecityctl.model.offers import Comparison

Level = Literal["ok", "warning", "error"]
_ROOM = 5 * 1024**3
# Of a part that a city with a vendor's landing zone or a user's wish may need.
_UNNEEDED = "not needed, because the built-in provider does its work; it is used where it is installed"
_MEMORY_KIB = 4 * 1024**2
# How many of a vendor's values are listed if a value in the files is not among them.
_MOST_KNOWN = 12


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. A `warning` says what works less well; an `error` says what does not work at all."""

    name: str
    level: Level
    detail: str
    remedy: str = ""


def doctor(city: City | None = None) -> tuple[Finding, ...]:
    """Return the findings on this machine and, with `city`, on the prerequisites of its landing zones.

    Values in the files are compared with what the vendors offer, where the vendors can be queried.
    """
    if city is None:
        return check_machine()
    from wecityctl.importing.reading import compare_offers

    clouds = check_clouds(city, compare_offers)
    return (*check_machine(), *clouds)


def check_machine() -> tuple[Finding, ...]:
    """Return the findings on directories, disk and memory, engine parts, provider, partners' packages, other users,
    real nodes and embedded clouds.
    """
    found = (*_directories(), *_room(), *_parts(), _provider(), *_packages())
    return (*found, _other_users(), *_node(), *_clouds())


def check_clouds(city: City, ask: Callable[[Cloud], Comparison]) -> tuple[Finding, ...]:
    """Return the findings on the landing zones of the city's clouds: prerequisites on this machine, and values in the
    files.

    `ask` compares the values with the vendor's offers. A missing prerequisite is a warning, because it stops only one
    cloud.
    """
    return tuple(finding for cloud in city.clouds if cloud.has_landing_zone for finding in _landing_zone(cloud, ask))


def _landing_zone(cloud: Cloud, ask: Callable[[Cloud], Comparison]) -> Iterator[Finding]:
    from wecityctl.engine.workers.vendors import missing_prerequisites

    name = f"landing zone {cloud.name}"
    lacking = missing_prerequisites(cloud)
    for each in lacking:
        yield Finding(name, "warning", each.message, each.resolution)
    if lacking:
        detail = f"{cloud.provider} was not asked for its availability zones, machine types and versions"
        yield Finding(name, "warning", detail, "mend what is missing, and ask again")
        return
    yield Finding(name, "ok", f"SDK, plug-in and credentials of {cloud.provider}")
    try:
        found = ask(cloud)
    except WecityError as error:
        yield Finding(
            name,
            "warning",
            ": ".join(filter(None, (error.message, error.details))),
            "see what the vendor says of the account",
        )
        return
    for item in found.missing:
        detail = f"{item.what} {item.word}: {cloud.provider} has none in {cloud.region}"
        remedy = f"one of {', '.join(item.known[:_MOST_KNOWN])}" if item.known else "ask the vendor for its name"
        yield Finding(name, "warning", f"{detail} ({item.said})" if item.said else detail, remedy)
    compared = f"compared with {cloud.region} of {cloud.provider}: {', '.join(found.asked)}"
    yield Finding(name, "ok", "; not asked: ".join((compared, *found.not_asked)))


def _directories() -> Iterator[Finding]:
    for name, path in (("cache", paths.cache_dir()), ("state", paths.state_dir())):
        existing = next(parent for parent in (path, *path.parents) if parent.exists())
        if not os.access(existing, os.W_OK):
            variable = f"XDG_{name.upper()}_HOME"
            yield Finding(
                f"{name} directory", "error", f"{path} cannot be written", f"mend {existing}, or set {variable}"
            )
        elif name == "state" and path.exists() and path.stat().st_mode & 0o077:
            yield Finding("state directory", "warning", f"{path} can be read by others", f"chmod 700 {path}")
        else:
            yield Finding(f"{name} directory", "ok", str(path))


def _room() -> Iterator[Finding]:
    cache = next(parent for parent in (paths.cache_dir(), *paths.cache_dir().parents) if parent.exists())
    free = shutil.disk_usage(cache).free
    detail = f"{free / 1024**3:.0f} GiB free at {cache}"
    yield Finding("disk", "ok" if free > _ROOM else "warning", detail, "the engine's parts and images need 5 GiB")
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        words = next(line for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable")).split()
        level: Level = "ok" if int(words[1]) > _MEMORY_KIB else "warning"
        detail = f"{int(words[1]) / 1024**2:.1f} GiB available"
        yield Finding("memory", level, detail, "an embedded cloud with a real node wants 4 GiB")


def _parts() -> Iterator[Finding]:
    from wecityctl import toolchain

    for item in toolchain.status(hashed=False):
        if item.state is toolchain.PartState.OK:
            source = f" ({item.source.value})" if item.source and item.version else ""
            yield Finding(f"part {item.part}", "ok", f"{item.version_text}{source}: {item.path}")
        elif item.is_unneeded:
            yield Finding(f"part {item.part}", "ok", _UNNEEDED)
        else:
            level: Level = "warning" if item.optional or item.part != "pulumi" else "error"
            detail = f"{item.version or 'it'} is {item.state.value}" + (f": {item.detail}" if item.detail else "")
            advice = f"wecityctl engine install --part {item.part}" if toolchain.is_obtainable(item.part) else ""
            yield Finding(f"part {item.part}", level, detail, advice)


def _provider() -> Finding:
    from wecityctl import toolchain

    official = toolchain.find_official_kubernetes_plugin()
    if official is not None:
        return Finding("kubernetes provider", "ok", f"official {official.version}: {official.path}")
    return Finding("kubernetes provider", "ok", "built-in; the official plug-in is not on this machine")


def _packages() -> Iterator[Finding]:
    from stacks.catalogue import loadable

    found, broken = loadable()
    for error in broken:
        yield Finding("capability types", "error", error.message, error.resolution)
    if not broken:
        yield Finding("capability types", "ok", f"{len(found)}, built in and from partners' packages")


def _other_users() -> Finding:
    from wecityctl.listeners.guard import lacking
    from wecityctl.listeners.users import other_users

    reason, others = lacking(), other_users()
    if not reason:
        return Finding("other users", "ok", "connections to what a run listens on are checked: only this user's pass")
    if not others:
        return Finding("other users", "ok", f"no other user can log in; their connections could not be told: {reason}")
    return Finding(
        "other users",
        "warning",
        f"while a run lasts they can connect to the engine ({', '.join(others)}), because {reason}",
        "run where nobody else can log in, or on Linux 5.9 or newer without a filter of its own around the container",
    )


def _node() -> Iterator[Finding]:
    from wecityctl.local.node.capabilities import probe

    for item in probe():
        level: Level = "ok" if item.ok else "warning"
        detail = item.detail if item.ok or not item.required else f"{item.detail} (nodes will be simulated)"
        yield Finding(f"real node: {item.name}", level, detail, item.remedy)


def _clouds() -> Iterator[Finding]:
    from wecityctl.local import cloud

    try:
        names = cloud.names()
    except WecityError as error:
        yield Finding("embedded clouds", "warning", error.message, error.resolution)
        return
    for name in names:
        status = cloud.status(name)
        level: Level = "ok" if status.health in ("healthy", "stopped", "starting") else "warning"
        detail = ": ".join(filter(None, (status.health, status.message)))
        yield Finding(f"embedded cloud {name}", level, detail, "wecityctl local status says more")
