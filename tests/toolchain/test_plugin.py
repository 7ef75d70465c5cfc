"""Which plug-in counts as the official one."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from tests.toolchain.helpers import put, sha256
from wecityctl.toolchain import (
    PartInstallError,
    airgap,
    find_official_kubernetes_plugin,
    obtain_official_kubernetes_plugin,
    silent,
)
from wecityctl.toolchain.catalogue import KUBERNETES_PLUGIN_VERSION
from wecityctl.toolchain.model import SourceName
from wecityctl.toolchain.plugin import ask_version
from wecityctl.toolchain.settings import Settings

NAME = "pulumi-resource-kubernetes"
# Enough of a native program for what looks at its first bytes.
PROGRAM = b"\x7fELF" + b"\0" * 60
SCRIPT = b"#!/usr/bin/env python3\n"

PROVIDER = """#!{python}
from concurrent import futures
import grpc
from pulumi.runtime.proto import plugin_pb2, provider_pb2_grpc

class Provider(provider_pb2_grpc.ResourceProviderServicer):
    def GetPluginInfo(self, request, context):
        return plugin_pb2.PluginInfo(version="v4.31.0")

server = grpc.server(futures.ThreadPoolExecutor(1))
provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(), server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
"""


def in_pulumi_home(settings: Settings, version: str, content: bytes = PROGRAM) -> Path:
    assert settings.plugin_home is not None
    return put(settings.plugin_home / f"resource-kubernetes-v{version}" / NAME, content)


def test_none_is_found_where_there_is_none(settings: Settings) -> None:
    assert find_official_kubernetes_plugin(settings) is None


def test_the_newest_accepted_one_of_the_users_pulumi_is_taken(settings: Settings) -> None:
    for version in ("4.9.0", "4.28.0", "4.30.1", "5.0.0"):
        in_pulumi_home(settings, version)
    found = find_official_kubernetes_plugin(settings)
    assert found is not None
    assert (found.version, found.source) == ("4.30.1", SourceName.PATH)


@pytest.mark.parametrize("version", ["4.27.9", "5.0.0", "3.30.2"])
def test_a_version_that_was_not_tested_is_not_taken(settings: Settings, version: str) -> None:
    in_pulumi_home(settings, version)
    assert find_official_kubernetes_plugin(settings) is None


def test_a_script_is_not_the_official_one(settings: Settings) -> None:
    in_pulumi_home(settings, "4.30.0", SCRIPT)
    directory = put(settings.root.parent / "bin" / NAME, SCRIPT).parent
    assert find_official_kubernetes_plugin(dataclasses.replace(settings, search_path=(directory,))) is None


def test_one_that_is_still_being_installed_is_not_taken(settings: Settings) -> None:
    path = in_pulumi_home(settings, "4.30.0")
    put(path.parent.with_name(f"{path.parent.name}.partial"), b"")
    assert find_official_kubernetes_plugin(settings) is None


def test_one_that_may_not_be_run_is_not_taken(settings: Settings) -> None:
    path = in_pulumi_home(settings, "4.30.0")
    path.chmod(0o644)
    assert find_official_kubernetes_plugin(settings) is None


def test_the_pulumi_home_of_the_environment_is_honoured(tmp_path: Path) -> None:
    given = Settings.from_environment({"PULUMI_HOME": str(tmp_path), "HOME": "/nonexistent"})
    assert given.plugin_home == tmp_path / "plugins"
    default = Settings.from_environment({"HOME": "/home/somebody"})
    assert default.plugin_home == Path("/home/somebody/.pulumi/plugins")


def test_where_it_cannot_be_had_the_reasons_are_given(settings: Settings) -> None:
    found, reasons = obtain_official_kubernetes_plugin(silent, settings)
    assert found is None
    assert "bundle" in reasons and "download" in reasons


def test_it_travels_in_a_bundle(settings: Settings, tmp_path: Path) -> None:
    in_pulumi_home(settings, "4.30.1")
    assert airgap.write(tmp_path / "parts.tar.gz", None, settings) == ("kubernetes-plugin",)

    closed = dataclasses.replace(settings, root=tmp_path / "closed", plugin_home=None, bundle=tmp_path / "parts.tar.gz")
    found, reasons = obtain_official_kubernetes_plugin(silent, closed)
    assert found is not None, reasons
    assert (found.version, found.source) == ("4.30.1", SourceName.CACHE)
    assert found.path == closed.root / "kubernetes-plugin" / KUBERNETES_PLUGIN_VERSION / "bin" / NAME
    assert sha256(found.path.read_bytes()) == sha256(PROGRAM)


def test_one_in_a_bundle_is_found_and_placed(settings: Settings, tmp_path: Path) -> None:
    in_pulumi_home(settings, "4.30.1")
    airgap.write(tmp_path / "bundle", None, settings)
    closed = dataclasses.replace(settings, root=tmp_path / "closed", plugin_home=None, bundle=tmp_path / "bundle")
    found = find_official_kubernetes_plugin(closed)
    assert found is not None and found.path.is_relative_to(closed.root)
    put(tmp_path / "bundle" / "manifest.json", b"{")
    assert find_official_kubernetes_plugin(closed) == found
    with pytest.raises(PartInstallError):
        find_official_kubernetes_plugin(dataclasses.replace(closed, root=tmp_path / "fresh"))


def test_a_script_in_a_bundle_is_not_the_official_one(settings: Settings, tmp_path: Path) -> None:
    path = in_pulumi_home(settings, "4.30.1")
    airgap.write(tmp_path / "bundle", None, settings)
    member = tmp_path / "bundle" / "kubernetes-plugin" / KUBERNETES_PLUGIN_VERSION / "bin" / NAME
    script = SCRIPT.ljust(len(PROGRAM), b"#")
    put(member, script)
    text = (tmp_path / "bundle" / "manifest.json").read_text()
    put(tmp_path / "bundle" / "manifest.json", text.replace(sha256(path.read_bytes()), sha256(script)).encode())
    closed = dataclasses.replace(settings, root=tmp_path / "closed", plugin_home=None, bundle=tmp_path / "bundle")
    found, _ = obtain_official_kubernetes_plugin(silent, closed)
    assert found is None


def test_a_provider_is_asked_for_its_version(tmp_path: Path) -> None:
    path = put(tmp_path / NAME, PROVIDER.format(python=sys.executable).encode())
    assert ask_version(path) == "4.31.0"


def test_a_program_that_is_no_provider_has_no_version(tmp_path: Path) -> None:
    assert ask_version(put(tmp_path / NAME, b"#!/bin/sh\necho hello\n")) == ""
    assert ask_version(put(tmp_path / "quiet", b"#!/bin/sh\nexit 1\n")) == ""
    assert ask_version(put(tmp_path / "broken", b"\x7fELF, but no more")) == ""
