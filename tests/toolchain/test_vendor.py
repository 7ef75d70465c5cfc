"""Vendors' plug-ins: which version is wanted, where one is found, and that a bundle carries it."""

from __future__ import annotations

import dataclasses
import os
from importlib.metadata import version
from pathlib import Path

import pytest

from wecityctl.engine.workers.vendors import missing_prerequisites, sdk_version
from wecityctl.model.city import Cloud
from wecityctl.model.vendors import vendors
from wecityctl.toolchain import airgap, vendor
from wecityctl.toolchain.catalogue import VENDOR_VERSIONS, Catalogue
from wecityctl.toolchain.model import Platform
from wecityctl.toolchain.settings import Settings

PACKAGE, VERSION = "alicloud", VENDOR_VERSIONS["alicloud"].removeprefix("v")
NAME = f"pulumi-resource-{PACKAGE}"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A machine with nothing on it and no network."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Settings(
        root=tmp_path / "cache" / "wecityctl" / "parts",
        toolchain=Settings.from_environment({}).toolchain,
        offline=True,
        plugin_home=tmp_path / "home" / "plugins",
    )


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("package", vendors())
def test_the_pinned_plug_in_is_that_of_the_sdk_that_the_extra_installs(package: str) -> None:
    assert VENDOR_VERSIONS[package] == f"v{version(vendors()[package].sdk.distribution)}"
    assert sdk_version(vendors()[package]) == version(vendors()[package].sdk.distribution)
    part = Catalogue().find(f"{package}-plugin")
    (artifact,) = part.artifacts(Platform("linux", "arm64"))
    assert artifact.url.endswith(f"pulumi-resource-{package}-{VENDOR_VERSIONS[package]}-linux-arm64.tar.gz")
    assert part.name not in Catalogue().default_names(Platform("linux", "amd64"))


def test_it_is_found_in_the_users_pulumi_home_in_just_that_version(settings: Settings) -> None:
    assert vendor.find(PACKAGE, VERSION, settings) is None
    assert settings.plugin_home is not None
    program(settings.plugin_home / f"resource-{PACKAGE}-v3.99.0" / NAME)
    assert vendor.find(PACKAGE, VERSION, settings) is None
    here = program(settings.plugin_home / f"resource-{PACKAGE}-v{VERSION}" / NAME)
    assert vendor.find(PACKAGE, VERSION, settings) == here
    # Pulumi has not finished installing it.
    partial = here.parent.with_name(f"{here.parent.name}.partial")
    partial.touch()
    assert vendor.find(PACKAGE, VERSION, settings) is None
    partial.unlink()
    here.chmod(0o644)
    assert vendor.find(PACKAGE, VERSION, settings) is None


def test_what_lies_in_the_engines_own_home_is_taken_and_a_link_to_nowhere_is_not(settings: Settings) -> None:
    own = vendor.engine_place(PACKAGE, VERSION) / NAME
    own.parent.mkdir(parents=True)
    own.symlink_to("/no/such/program")
    assert vendor.find(PACKAGE, VERSION, settings) is None
    own.unlink()
    program(own)
    assert vendor.find(PACKAGE, VERSION, settings) == own


def test_a_link_to_what_is_gone_is_laid_anew_or_taken_away(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.plugin_home is not None
    for name in ("WECITYCTL_BUNDLE", "PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PULUMI_HOME", str(settings.plugin_home.parent))
    cloud = Cloud("ali", "alicloud", zones=("extranet",))
    link = vendor.engine_place(PACKAGE, VERSION) / NAME
    link.parent.mkdir(parents=True)
    link.symlink_to("/no/such/program")
    assert any(f"{NAME} {VERSION} is not on this machine" in lack.message for lack in missing_prerequisites(cloud))
    assert not link.is_symlink()
    link.symlink_to("/no/such/program")
    here = program(settings.plugin_home / f"resource-{PACKAGE}-v{VERSION}" / NAME)
    assert not any("is not on this machine" in lack.message for lack in missing_prerequisites(cloud))
    assert link.readlink() == here


def test_a_script_on_path_is_no_plug_in(settings: Settings, tmp_path: Path) -> None:
    program(tmp_path / "bin" / NAME)
    assert vendor.find(PACKAGE, VERSION, dataclasses.replace(settings, search_path=(tmp_path / "bin",))) is None


def test_a_bundle_carries_it_to_a_closed_machine(settings: Settings, tmp_path: Path) -> None:
    assert settings.plugin_home is not None
    program(settings.plugin_home / f"resource-{PACKAGE}-v{VERSION}" / NAME)
    assert airgap.write(tmp_path / "parts.tar.gz", (f"{PACKAGE}-plugin",), settings) == (f"{PACKAGE}-plugin",)
    closed = dataclasses.replace(settings, plugin_home=None, bundle=tmp_path / "parts.tar.gz")
    found = vendor.find(PACKAGE, VERSION, closed)
    assert found is not None and found.is_relative_to(closed.root) and os.access(found, os.X_OK)
    # Now it is there without the bundle, too.
    assert vendor.find(PACKAGE, VERSION, dataclasses.replace(closed, bundle=None)) == found
    assert any("parts.tar.gz" in place for place in vendor.looked_at(PACKAGE, VERSION, closed))
