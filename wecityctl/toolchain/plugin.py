"""Finds and installs Pulumi's official Kubernetes plug-in.

It is never built from source. The script of wecityctl's built-in provider, which has the same name, is never used as
it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import selectors
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wecityctl.listeners import guarded
from wecityctl.toolchain import bundle, path_source
from wecityctl.toolchain.catalogue import (
    KUBERNETES_PLUGIN,
    KUBERNETES_PLUGIN_BINARY,
    KUBERNETES_PLUGIN_RANGE,
    Catalogue,
)
from wecityctl.toolchain.install import Installer
from wecityctl.toolchain.model import Part, PartInstallError, Report, SourceName, silent, version_key
from wecityctl.toolchain.settings import Settings

HOME_DIRECTORY = re.compile(r"resource-kubernetes-v(\d+\.\d+\.\d+)")
# ELF, and Mach-O in its single-architecture and universal forms.
PROGRAM_MAGICS = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
START_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class OfficialPlugin:
    """The plug-in's program, and its version without a leading v."""

    path: Path
    version: str
    source: SourceName


def find(settings: Settings) -> OfficialPlugin | None:
    """Find the official plug-in in an accepted version: in the cache, a bundle, the user's Pulumi home, or PATH.

    A plug-in in a bundle is first verified and installed into the cache. Uses no network.
    """
    for candidate in _candidates(settings):
        if candidate.version in KUBERNETES_PLUGIN_RANGE and is_program(candidate.path):
            return candidate
    return None


def obtain(report: Report, settings: Settings) -> tuple[OfficialPlugin | None, str]:
    """Find the plug-in, or install it from a bundle or a download. Returns the plug-in, or `None` and the reasons."""
    found = find(settings)
    if found is not None:
        return found, ""
    try:
        Installer(settings).ensure([KUBERNETES_PLUGIN], report)
    except PartInstallError as error:
        return None, error.details
    return find(settings), ""


def is_program(path: Path) -> bool:
    """Whether `path` is a native program, as the official plug-in is; a script is not."""
    try:
        with path.open("rb") as stream:
            return stream.read(4) in PROGRAM_MAGICS and os.access(path, os.X_OK)
    except OSError:
        return False


def _candidates(settings: Settings) -> Iterator[OfficialPlugin]:
    yield from _in_cache(settings)
    yield from _in_bundle(settings)
    yield from _in_pulumi_home(settings)
    path = path_source.find(KUBERNETES_PLUGIN_BINARY, settings.search_path)
    if path is not None and is_program(path):
        version = ask_version(path)
        if version:
            yield OfficialPlugin(path, version, SourceName.PATH)


def _in_cache(settings: Settings) -> Iterator[OfficialPlugin]:
    catalogue, store = Catalogue(), Installer(settings).store
    for part in catalogue.parts:
        found = store.receipt(part) if part.name == KUBERNETES_PLUGIN else None
        if found is not None:
            path = store.binary(part, KUBERNETES_PLUGIN_BINARY)
            yield OfficialPlugin(path, found.version.removeprefix("v"), SourceName.CACHE)


def _in_bundle(settings: Settings) -> Iterator[OfficialPlugin]:
    part = Catalogue().find(KUBERNETES_PLUGIN)
    if isinstance(part, Part) and bundle.holds(part, settings):
        Installer(dataclasses.replace(settings, offline=True)).ensure([KUBERNETES_PLUGIN], silent)
        yield from _in_cache(settings)


def _in_pulumi_home(settings: Settings) -> Iterator[OfficialPlugin]:
    if settings.plugin_home is None or not settings.plugin_home.is_dir():
        return
    found = []
    for directory in settings.plugin_home.glob("resource-kubernetes-v*"):
        match = HOME_DIRECTORY.fullmatch(directory.name)
        # Pulumi marks an incompletely installed plug-in with a `.partial` file beside it.
        if match and not directory.with_name(f"{directory.name}.partial").exists():
            found.append(OfficialPlugin(directory / KUBERNETES_PLUGIN_BINARY, match.group(1), SourceName.PATH))
    yield from sorted(found, key=lambda each: version_key(each.version), reverse=True)


def ask_version(path: Path) -> str:
    """Start a provider plug-in and query its version over the provider protocol; empty if it does not answer."""
    import grpc  # slow to import, and only needed for a plug-in on PATH
    from google.protobuf import empty_pb2
    from pulumi.runtime.proto import provider_pb2_grpc

    # The plug-in expects the address of an engine, which a provider uses for logging only.
    try:
        process = subprocess.Popen(
            guarded([str(path), "127.0.0.1:9"]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        # Broken, or for another platform.
        return ""
    try:
        port = first_line(process, START_SECONDS)
        if not port.isdigit():
            return ""
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = provider_pb2_grpc.ResourceProviderStub(channel)
            answer = stub.GetPluginInfo(empty_pb2.Empty(), timeout=START_SECONDS)
        return str(answer.version).removeprefix("v")
    except grpc.RpcError:
        return ""
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def first_line(process: subprocess.Popen[bytes], seconds: float) -> str:
    """The first line that a plug-in prints, which is its port; empty if it prints nothing within `seconds`."""
    assert process.stdout is not None
    deadline, data = time.monotonic() + seconds, b""
    with selectors.DefaultSelector() as selector, contextlib.suppress(OSError):
        selector.register(process.stdout, selectors.EVENT_READ)
        while b"\n" not in data and selector.select(max(0.0, deadline - time.monotonic())):
            chunk = os.read(process.stdout.fileno(), 256)
            if not chunk:
                break
            data += chunk
    return data.split(b"\n")[0].decode(errors="replace").strip()
