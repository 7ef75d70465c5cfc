"""Finds the vendors' provider plug-ins on this machine, in exactly the version that the SDK needs.

Nothing is downloaded here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from wecityctl import paths
from wecityctl.toolchain import bundle, path_source
from wecityctl.toolchain.catalogue import Catalogue, vendor_part_name
from wecityctl.toolchain.install import Installer
from wecityctl.toolchain.model import silent
from wecityctl.toolchain.plugin import ask_version, is_program
from wecityctl.toolchain.settings import Settings


def program_name(package: str) -> str:
    """The file name of the plug-in of a Pulumi package."""
    return f"pulumi-resource-{package}"


def engine_place(package: str, version: str) -> Path:
    """The directory in which wecityctl's engine looks for the plug-in."""
    return paths.cache_dir() / "pulumi" / "plugins" / f"resource-{package}-v{version}"


def find(package: str, version: str, settings: Settings) -> Path | None:
    """The plug-in's program in exactly this version (without a leading v); one in a bundle is installed first."""
    return next(_candidates(package, version, settings), None)


def looked_at(package: str, version: str, settings: Settings) -> tuple[str, ...]:
    """The places that `find` searches, for messages."""
    home = settings.plugin_home
    return (
        str(engine_place(package, version)),
        str(settings.root / vendor_part_name(package)),
        f"the bundle {settings.bundle}" if settings.bundle is not None else "no bundle (WECITYCTL_BUNDLE)",
        *((str(home / f"resource-{package}-v{version}"),) if home is not None else ()),
        "PATH",
    )


def _candidates(package: str, version: str, settings: Settings) -> Iterator[Path]:
    program = program_name(package)
    own = engine_place(package, version) / program
    # Symbolic links, which may be dangling or lead to the cache, are ignored, and the plug-in is searched again.
    if own.is_file() and not own.is_symlink():
        yield own
    yield from _in_cache(package, version, settings)
    directory = settings.plugin_home / f"resource-{package}-v{version}" if settings.plugin_home is not None else None
    # Pulumi marks an incompletely installed plug-in with a `.partial` file beside it.
    if directory is not None and not directory.with_name(f"{directory.name}.partial").exists():
        found = path_source.find(program, (directory,))
        if found is not None:
            yield found
    on_path = path_source.find(program, settings.search_path)
    if on_path is not None and is_program(on_path) and ask_version(on_path) == version:
        yield on_path


def _in_cache(package: str, version: str, settings: Settings) -> Iterator[Path]:
    part = next((item for item in Catalogue().vendors if item.name == vendor_part_name(package)), None)
    if part is None or part.version.removeprefix("v") != version:
        return
    store = Installer(settings).store
    if store.receipt(part) is None and bundle.holds(part, settings):
        Installer(dataclasses.replace(settings, offline=True)).ensure([part.name], silent)
    if store.receipt(part) is not None:
        yield store.binary(part, program_name(package))
