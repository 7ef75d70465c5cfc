"""Asks a program for its version, with a timeout."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from wecityctl.toolchain.model import Binary

VERSION = re.compile(r"(?<![\w.])v?(\d+\.\d+\.\d+)")
SECONDS = 15


class VersionUnknownError(Exception):
    """The program did not start or printed no version."""


def version_of(path: Path, binary: Binary) -> str:
    """The version that the program at `path` reports, without a leading v. Raises `VersionUnknownError`."""
    try:
        done = subprocess.run(
            [path, *binary.version_arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
            # The environment is minimal, so that the user's settings do not make the engine access the network.
            env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PULUMI_SKIP_UPDATE_CHECK": "true"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise VersionUnknownError(f"{binary.name} does not run: {error}") from error
    match = VERSION.search(done.stdout) or VERSION.search(done.stderr)
    if match is None:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise VersionUnknownError(f"{binary.name} tells no version" + (f" ({said[0][:120]})" if said else ""))
    return match.group(1)
