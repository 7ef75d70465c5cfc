"""The programs that wecityctl runs – the engine and the embedded cloud's – and where they come from.

Others ask here where a program is (`locate`) and have parts made available (`ensure`); how is this package's business.
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
    "locate",
    "obtain_official_kubernetes_plugin",
    "silent",
    "status",
    "write_bundle",
]

# The installer brings in HTTP, archives and thread pools, which a caller that only locates programs never needs.


def locate(binary: str, settings: Settings | None = None) -> Path:
    """The absolute path of an installed program; raises `PartMissingError`. Nothing is hashed, so it is quick."""
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
    """Make the named parts available; raises `PartInstallError` with every part's and every source's reasons.

    What is installed already is looked at by size, and by digest where `hashed`.
    """
    from wecityctl.toolchain.install import Installer

    Installer(settings or Settings.from_environment()).ensure(parts, report, hashed=hashed)


def check_bundle(settings: Settings) -> None:
    """Raise `PartInstallError` where the settings name a bundle that cannot be used."""
    from wecityctl.toolchain import bundle

    bundle.check(settings)


def status(settings: Settings | None = None, *, hashed: bool = True) -> list[PartStatus]:
    """Every part as it is on this machine; `hashed` compares digests, which takes about a second."""
    from wecityctl.toolchain.install import Installer

    return Installer(settings or Settings.from_environment()).status(hashed=hashed)


def default_parts(settings: Settings | None = None) -> tuple[str, ...]:
    """The parts that an installation on this machine needs."""
    chosen = settings or Settings.from_environment()
    return Catalogue().default_names(chosen.platform)


def write_bundle(destination: Path, names: tuple[str, ...] | None, settings: Settings | None = None) -> tuple[str, ...]:
    """Write the named parts – or else all that are installed – to an air-gap bundle; the names it holds."""
    from wecityctl.toolchain import airgap

    return airgap.write(destination, names, settings or Settings.from_environment())


def find_official_kubernetes_plugin(settings: Settings | None = None) -> OfficialPlugin | None:
    """The official Kubernetes plug-in that is on this machine already, in an accepted version; else None."""
    from wecityctl.toolchain import plugin

    return plugin.find(settings or Settings.from_environment())


def find_vendor_plugin(
    package: str, version: str, settings: Settings | None = None
) -> tuple[Path | None, tuple[str, ...]]:
    """A vendor's plug-in in exactly that version, where it is on this machine already, and the places looked at."""
    from wecityctl.toolchain import vendor

    chosen = settings or Settings.from_environment()
    return vendor.find(package, version, chosen), vendor.looked_at(package, version, chosen)


def obtain_official_kubernetes_plugin(
    report: Report = silent, settings: Settings | None = None
) -> tuple[OfficialPlugin | None, str]:
    """Find that plug-in, or else install it from a bundle or download; None comes with the reasons why not."""
    from wecityctl.toolchain import plugin

    return plugin.obtain(report, settings or Settings.from_environment())
