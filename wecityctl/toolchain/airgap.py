"""Selects the content of an air-gap bundle: installed parts, and the official Kubernetes plug-in if it is found."""

from __future__ import annotations

from pathlib import Path

from wecityctl.errors import ConfigurationError
from wecityctl.toolchain import bundle, plugin, vendor
from wecityctl.toolchain.bundle import Content
from wecityctl.toolchain.catalogue import KUBERNETES_PLUGIN, KUBERNETES_PLUGIN_BINARY, Catalogue
from wecityctl.toolchain.model import INSTALL_HINT, Part, PartMissingError, SystemPart
from wecityctl.toolchain.settings import Settings
from wecityctl.toolchain.store import Store


def write(destination: Path, names: tuple[str, ...] | None, settings: Settings) -> tuple[str, ...]:
    """Bundle the named parts, or all that are on this machine; returns the names of those written."""
    catalogue, store = Catalogue(), Store(settings.root, settings.platform)
    if names is None:
        everything = (*catalogue.parts, *catalogue.vendors)
        contents = [found for part in everything if (found := _content(part, store, settings)) is not None]
    else:
        contents = [_demanded(catalogue.find(name), store, settings) for name in dict.fromkeys(names)]
    if not contents:
        raise PartMissingError("there is nothing to bundle: no part is installed", resolution=INSTALL_HINT)
    bundle.write(destination, contents, settings.platform)
    return tuple(content.part.name for content in contents)


def _demanded(part: Part | SystemPart, store: Store, settings: Settings) -> Content:
    if isinstance(part, SystemPart):
        raise ConfigurationError(
            f"{part.name} comes from the distribution and cannot be bundled",
            resolution=f"Carry its packages over with your distribution's tools: {', '.join(part.packages)}",
        )
    return _content(part, store, settings) or Content.installed(part, store)


def _content(part: Part, store: Store, settings: Settings) -> Content | None:
    if store.receipt(part) is not None:
        return Content.installed(part, store)
    # The user's own Pulumi may have downloaded the plug-in already; include it.
    if part in Catalogue().vendors:
        program = part.binaries[0].name
        path = vendor.find(program.removeprefix("pulumi-resource-"), part.version.removeprefix("v"), settings)
        return Content(part, part.version, {program: path}) if path is not None else None
    official = plugin.find(settings) if part.name == KUBERNETES_PLUGIN else None
    if official is None:
        return None
    return Content(part, f"v{official.version}", {KUBERNETES_PLUGIN_BINARY: official.path})
