"""Provides programs that go into images as single files: built from Go sources, or parts of the toolchain."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from wecityctl import cancellation, toolchain
from wecityctl.oci.recipe import GO_SOURCES, Go, Part
from wecityctl.oci.tree import ImageBuildError
from wecityctl.toolchain.gobuild import GO_PLACES
from wecityctl.toolchain.path_source import find

GO_SECONDS = 1800


def build(go: Go, directory: Path, architecture: str, scratch: Path, environment: Mapping[str, str]) -> Path:
    """Build the static Go program in `directory`/go; returns its path in `scratch`."""
    search = tuple(Path(entry) for entry in environment.get("PATH", "").split(os.pathsep) if entry.startswith("/"))
    program = find("go", (*search, *GO_PLACES))
    if program is None:
        raise ImageBuildError("Go is not installed", resolution="install Go, or put it on PATH")
    target = scratch / Path(go.output).name
    done = cancellation.run(
        [
            str(program),
            "build",
            "-trimpath",
            "-buildvcs=false",
            "-mod=readonly",
            "-ldflags=-s -w -buildid=",
            "-o",
            target,
            go.package,
        ],
        cwd=directory / GO_SOURCES,
        env={
            **environment,
            "CGO_ENABLED": "0",
            "GOOS": "linux",
            "GOARCH": architecture,
            "GOWORK": "off",
            "GOFLAGS": "",
        },
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=GO_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        raise ImageBuildError("go build failed", details="\n".join(done.stderr.strip().splitlines()[-12:]))
    return target


def part(wanted: Part, architecture: str) -> Path:
    """Install a part of the toolchain and return its program. Only for the architecture of this machine."""
    settings = toolchain.Settings.from_environment()
    if settings.platform.arch != architecture:
        raise ImageBuildError(
            f"{wanted.binary} is here for {settings.platform.arch} alone",
            resolution=f"build the image on a machine of {architecture}",
        )
    toolchain.ensure([wanted.name], settings=settings)
    return toolchain.locate(wanted.binary, settings)
