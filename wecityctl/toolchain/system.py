"""Locates and installs packages of the distribution: system parts, and what builds with cgo need.

Programs are used in place and never copied. Installation uses apt-get and needs root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from wecityctl.toolchain.model import CBuild, PartState, PartStatus, SourceName, SystemPart
from wecityctl.toolchain.path_source import find
from wecityctl.toolchain.settings import Settings
from wecityctl.toolchain.source_protocol import SourceFailedError

APT_SECONDS = 900
PKG_CONFIG_SECONDS = 15


def locate(part: SystemPart, binary: str, settings: Settings) -> Path | None:
    """The path of `binary` on PATH or in the directories that packages use. CNI plug-ins are not searched on PATH."""
    places = tuple(Path(directory) for directory in part.directories)
    on_path = part.directories and part.name != "cni-plugins"
    return find(binary, (*settings.search_path, *places) if on_path else places)


def missing(part: SystemPart, settings: Settings) -> tuple[str, ...]:
    """The programs of `part` that are not installed."""
    return tuple(binary for binary in part.binaries if locate(part, binary, settings) is None)


def status(part: SystemPart, settings: Settings) -> PartStatus:
    """The state of the part. Its version is up to the distribution."""
    absent = missing(part, settings)
    if absent:
        return PartStatus(
            part.name, "", PartState.MISSING, None, None, part.optional, f"{', '.join(absent)}: {apt_line([part])}"
        )
    path = locate(part, part.binaries[0], settings)
    return PartStatus(part.name, "", PartState.OK, SourceName.SYSTEM, path, part.optional)


def apt_line(parts: Iterable[SystemPart]) -> str:
    """The command that installs `parts` on Debian and its derivatives."""
    return _line(package for part in parts for package in part.packages)


def missing_for_build(needs: CBuild, settings: Settings) -> tuple[str, ...]:
    """The missing programs and libraries that a build with cgo needs."""
    programs = tuple(name for name in needs.programs if find(name, settings.search_path) is None)
    pkg_config = find("pkg-config", settings.search_path)
    if pkg_config is None:
        return (*programs, *needs.libraries)
    ask = [str(pkg_config), "--exists", "--print-errors"]
    problems = {name: _run([*ask, name], dict(settings.environment), PKG_CONFIG_SECONDS) for name in needs.libraries}
    return (*programs, *(name for name, problem in problems.items() if problem))


def install(packages: Iterable[str], settings: Settings) -> None:
    """Install Debian packages. Raises `SourceFailedError` with the command to run if that is impossible here.

    Must not be called concurrently, because apt-get holds a lock.
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
        # Without package lists, which a new machine does not have, apt-get finds no package.
        _run([apt, "update"], environment)
        problem = _run(command, environment)
        if problem:
            raise SourceFailedError(f"{line}: {problem}")


def _line(packages: Iterable[str]) -> str:
    return "apt-get install -y " + " ".join(packages)


def _run(command: list[str], environment: dict[str, str], seconds: float = APT_SECONDS) -> str:
    """Run a command; returns the last lines of its output if it failed, otherwise an empty string."""
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
