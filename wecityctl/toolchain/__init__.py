"""Installs and locates the programs that wecityctl runs: the Pulumi engine and the parts of the embedded cloud.

Other packages use `locate` to find a program and `ensure` to install parts. How parts are obtained is internal.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from wecityctl.toolchain import system
from wecityctl.toolchain.catalogue import Catalogue
from wecityctl.toolchain.model import (
    INSTALL_HINT,
    PartEvent,
    PartInstallError,
    PartMissingError,
    PartState,
    PartStatus,
    Phase,
    Report,
    SourceName,
    SystemPart,
    silent,
)
from wecityctl.toolchain.settings import Settings
from wecityctl.toolchain.store import Store

if TYPE_CHECKING:
    from wecityctl.toolchain.plugin import OfficialPlugin

__all__ = [
    "PartEvent",
    "PartInstallError",
    "PartMissingError",
    "PartState",
    "PartStatus",
    "Phase",
    "Report",
    "Settings",
    "SourceName",
    "check_bundle",
    "default_parts",
    "ensure",
    "find_official_kubernetes_plugin",
    "find_vendor_plugin",
    "is_obtainable",
    "locate",
    "obtain_official_kubernetes_plugin",
    "silent",
    "status",
    "write_bundle",
]

# Imported late: the installer needs HTTP, archives and thread pools, which callers of `locate` do not.


def locate(binary: str, settings: Settings | None = None) -> Path:
    """The absolute path of an installed program. Raises `PartMissingError`. Fast, because nothing is hashed."""
    chosen = settings or Settings.from_environment()
    part = Catalogue().owner(binary)
    if isinstance(part, SystemPart):
        found = system.locate(part, binary, chosen)
        if found is None:
            raise PartMissingError(
                f"{binary} is not installed",
                details=f"Debian packages: {', '.join(part.packages)}",
                resolution=f"{INSTALL_HINT}, or as root: {system.apt_line([part])}",
            )
        return found
    store = Store(chosen.root, chosen.platform)
    state, _, problem = store.inspect(part)
    if state is not PartState.OK:
        raise PartMissingError(
            f"{binary} ({part.name} {part.version}) is not installed", details=problem, resolution=INSTALL_HINT
        )
    return store.binary(part, binary)


def ensure(
    parts: Iterable[str], report: Report = silent, settings: Settings | None = None, *, hashed: bool = False
) -> None:
    """Install the named parts if needed. Raises `PartInstallError` with the reasons for each part and source.

    Installed parts are checked by file size, and with `hashed` by digest.
    """
    from wecityctl.toolchain.install import Installer

    Installer(settings or Settings.from_environment()).ensure(parts, report, hashed=hashed)


def check_bundle(settings: Settings) -> None:
    """Raise `PartInstallError` if the settings name a bundle that cannot be used."""
    from wecityctl.toolchain import bundle

    bundle.check(settings)


def status(settings: Settings | None = None, *, hashed: bool = True) -> list[PartStatus]:
    """The state of every part on this machine. `hashed` compares digests, which takes about a second."""
    from wecityctl.toolchain.install import Installer

    return Installer(settings or Settings.from_environment()).status(hashed=hashed)


def is_obtainable(part: str, settings: Settings | None = None) -> bool:
    """Whether `engine install --part` can succeed on this machine, judged by what is recorded about the part.

    A part that is not built here is downloaded only with a recorded checksum, unless it comes from a bundle.
    """
    from wecityctl.toolchain import lockfile

    chosen = settings or Settings.from_environment()
    found = Catalogue().find(part)
    if isinstance(found, SystemPart) or found.buildable or chosen.bundle is not None:
        return True
    recorded = lockfile.digests(chosen.toolchain, found, chosen.platform)
    artifacts = found.artifacts(chosen.platform)
    return bool(artifacts) and all(artifact.name in recorded for artifact in artifacts)


def default_parts(settings: Settings | None = None) -> tuple[str, ...]:
    """The names of the parts that an installation on this machine needs."""
    chosen = settings or Settings.from_environment()
    return Catalogue().default_names(chosen.platform)


def write_bundle(destination: Path, names: tuple[str, ...] | None, settings: Settings | None = None) -> tuple[str, ...]:
    """Write the named parts, or all installed ones, to an air-gap bundle; returns the names of those written."""
    from wecityctl.toolchain import airgap

    return airgap.write(destination, names, settings or Settings.from_environment())


def find_official_kubernetes_plugin(settings: Settings | None = None) -> OfficialPlugin | None:
    """The official Kubernetes plug-in if it is on this machine in an accepted version; otherwise `None`."""
    from wecityctl.toolchain import plugin

    return plugin.find(settings or Settings.from_environment())


def find_vendor_plugin(
    package: str, version: str, settings: Settings | None = None
) -> tuple[Path | None, tuple[str, ...]]:
    """The path of a vendor's plug-in in exactly this version, or `None`, and the places that were searched."""
    from wecityctl.toolchain import vendor

    chosen = settings or Settings.from_environment()
    return vendor.find(package, version, chosen), vendor.looked_at(package, version, chosen)


def obtain_official_kubernetes_plugin(
    report: Report = silent, settings: Settings | None = None
) -> tuple[OfficialPlugin | None, str]:
    """Find the official Kubernetes plug-in, or install it from a bundle or a download.

    Returns the plug-in, or `None` and the reasons.
    """
    from wecityctl.toolchain import plugin

    return plugin.obtain(report, settings or Settings.from_environment())
