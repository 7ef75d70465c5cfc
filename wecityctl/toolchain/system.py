"""What the distribution's packages provide: parts, used where they lie, and what building a part with C in it needs.

Found where they lie, installed by apt-get for root, never copied.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from wecityctl.toolchain.model import CBuild, PartState, PartStatus, SourceName, SystemPart
from wecityctl.toolchain.onpath import find
from wecityctl.toolchain.settings import Settings
from wecityctl.toolchain.sourcing import SourceFailedError

APT_SECONDS = 900
PKG_CONFIG_SECONDS = 15


def locate(part: SystemPart, binary: str, settings: Settings) -> Path | None:
    """Where `binary` lies: on PATH, or in the places packages put it; plug-ins are not looked for on PATH."""
    places = tuple(Path(directory) for directory in part.directories)
    on_path = part.directories and part.name != "cni-plugins"
    return find(binary, (*settings.search_path, *places) if on_path else places)


def missing(part: SystemPart, settings: Settings) -> tuple[str, ...]:
    """The programs of `part` that are not there."""
    return tuple(binary for binary in part.binaries if locate(part, binary, settings) is None)


def status(part: SystemPart, settings: Settings) -> PartStatus:
    """The part as it is now; its version is the distribution's business."""
    absent = missing(part, settings)
    if absent:
        return PartStatus(
            part.name, "", PartState.MISSING, None, None, part.optional, f"{', '.join(absent)}: {apt_line([part])}"
        )
    path = locate(part, part.binaries[0], settings)
    return PartStatus(part.name, "", PartState.OK, SourceName.SYSTEM, path, part.optional)


def apt_line(parts: Iterable[SystemPart]) -> str:
    """The command that installs `parts` on Debian and its relatives."""
    return _line(package for part in parts for package in part.packages)


def missing_for_build(needs: CBuild, settings: Settings) -> tuple[str, ...]:
    """The programs and libraries that a build with C in it needs and that are not there."""
    programs = tuple(name for name in needs.programs if find(name, settings.search_path) is None)
    pkg_config = find("pkg-config", settings.search_path)
    if pkg_config is None:
        return (*programs, *needs.libraries)
    ask = [str(pkg_config), "--exists", "--print-errors"]
    problems = {name: _run([*ask, name], dict(settings.environment), PKG_CONFIG_SECONDS) for name in needs.libraries}
    return (*programs, *(name for name, problem in problems.items() if problem))


def install(packages: Iterable[str], settings: Settings) -> None:
    """Install Debian packages; raises `SourceFailedError` with the line to run where this may not or cannot.

    apt-get allows one at a time, so callers do not call this side by side.
    """
    names = tuple(packages)
    line = _line(names)
    apt = shutil.which("apt-get")
    if apt is None:
        raise SourceFailedError(f"{', '.join(names)}: install it with your system's package manager")
    if settings.offline:
        raise SourceFailedError(f"offline; run: {line}")
    if os.geteuid() != 0:
        raise SourceFailedError(f"needs root; run: sudo {line}")
    environment = {**settings.environment, "DEBIAN_FRONTEND": "noninteractive"}
    command = [apt, "install", "-y", "--no-install-recommends", *names]
    if _run(command, environment):
        # A machine that never updated its package lists knows no packages at all.
        _run([apt, "update"], environment)
        problem = _run(command, environment)
        if problem:
            raise SourceFailedError(f"{line}: {problem}")


def _line(packages: Iterable[str]) -> str:
    return "apt-get install -y " + " ".join(packages)


def _run(command: list[str], environment: dict[str, str], seconds: float = APT_SECONDS) -> str:
    """Run a command; the last lines it said when it failed, empty when it did not."""
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    return " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:]) or f"exit code {done.returncode}"
