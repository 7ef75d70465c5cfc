"""PATH and bundles as sources, the order of sources, and what is said when none has the part."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.toolchain.helpers import PLATFORM, VERSION, Recorder, archive, catalogue, program, put, sha256, tiny
from wecityctl.errors import ConfigurationError
from wecityctl.toolchain import airgap, bundle, locate, path_source, system
from wecityctl.toolchain.bundle import Content
from wecityctl.toolchain.catalogue import Catalogue
from wecityctl.toolchain.install import Installer
from wecityctl.toolchain.model import (
    Binary,
    PartInstallError,
    PartMissingError,
    PartState,
    Phase,
    Platform,
    SourceName,
    SystemPart,
)
from wecityctl.toolchain.settings import Settings
from wecityctl.toolchain.source_protocol import SourceFailedError

MEMBER = f"tiny/v{VERSION}/bin/tiny"


def ensure(settings: Settings, report: Recorder | None = None) -> Installer:
    installer = Installer(settings, catalogue())
    installer.ensure(["tiny"], report or Recorder())
    return installer


def refused(settings: Settings) -> str:
    with pytest.raises(PartInstallError) as caught:
        ensure(settings)
    assert list(settings.root.glob("tiny/*")) == []
    return caught.value.details


def on_path(settings: Settings, content: bytes, name: str = "tiny") -> Settings:
    directory = settings.root.parent / "usr" / "bin"
    put(directory / name, content)
    return dataclasses.replace(settings, search_path=(directory,))


def manifest(files: dict[str, bytes], *, platform: str = str(PLATFORM), schema: int = 1) -> bytes:
    records = {name: {"sha256": sha256(data), "size": len(data)} for name, data in files.items()}
    return json.dumps(
        {"schema": schema, "platform": platform, "versions": {"tiny": f"v{VERSION}"}, "files": records}
    ).encode()


# PATH


def test_a_program_on_path_in_the_tested_range_is_linked_not_copied(settings: Settings) -> None:
    settings = on_path(settings, program("1.2.9"))
    installer = ensure(settings)
    [status] = installer.status()[:1]
    assert (status.state, status.source, status.version) == (PartState.OK, SourceName.PATH, "v1.2.9")
    assert installer.store.binary(tiny(), "tiny").resolve() == settings.search_path[0] / "tiny"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (program("1.3.0"), "is 1.3.0; tested are >=1.2.0,<1.3"),
        (program("1.1.9"), "is 1.1.9"),
        (b"#!/bin/sh\necho no idea >&2\n", "tells no version (no idea)"),
        (b"not a program\x00", "does not run"),
    ],
)
def test_a_program_on_path_that_was_not_tested_is_left_alone(settings: Settings, content: bytes, reason: str) -> None:
    assert reason in refused(on_path(settings, content))


def test_programs_of_one_part_must_be_of_one_version(settings: Settings) -> None:
    settings = on_path(on_path(settings, program("1.2.3")), program("1.2.4"), "tinier")
    part = tiny(binaries=(Binary("tiny"), Binary("tinier")))
    with pytest.raises(PartInstallError) as caught:
        Installer(settings, catalogue(part)).ensure(["tiny"], Recorder())
    assert "differ in version: 1.2.3, 1.2.4" in caught.value.details


def test_a_linked_program_that_goes_away_is_looked_for_again(settings: Settings) -> None:
    settings = on_path(settings, program())
    installer = ensure(settings)
    (settings.search_path[0] / "tiny").unlink()
    assert installer.status()[0].state is PartState.CORRUPT
    with pytest.raises(PartInstallError):
        ensure(settings)


def test_relative_entries_of_path_do_not_count() -> None:
    assert Settings.from_environment({"PATH": "bin:.:/usr/bin::"}).search_path == (Path("/usr/bin"),)


# Bundles


@pytest.mark.parametrize("name", ["bundle", "bundle.tar.gz"])
def test_what_is_bundled_installs_from_the_bundle(settings: Settings, tmp_path: Path, name: str) -> None:
    first = ensure(on_path(settings, program("1.2.7")))
    bundle.write(tmp_path / name, [Content.installed(tiny(), first.store)], PLATFORM)

    closed = dataclasses.replace(settings, root=tmp_path / "closed", bundle=tmp_path / name)
    second = ensure(closed)
    [status] = second.status()
    assert (status.state, status.source, status.version) == (PartState.OK, SourceName.BUNDLE, "v1.2.7")
    assert not second.store.binary(tiny(), "tiny").is_symlink()
    assert [each.name for each in tmp_path.glob(".bundle*")] == []


def test_a_bundle_is_not_written_over_something(settings: Settings, tmp_path: Path) -> None:
    first = ensure(on_path(settings, program()))
    put(tmp_path / "there" / "file", b"")
    with pytest.raises(ConfigurationError):
        bundle.write(tmp_path / "there", [Content.installed(tiny(), first.store)], PLATFORM)


def directory_bundle(tmp_path: Path, content: bytes, described: bytes | None) -> Path:
    put(tmp_path / "bundle" / MEMBER, content)
    if described is not None:
        put(tmp_path / "bundle" / "manifest.json", described)
    return tmp_path / "bundle"


@pytest.mark.parametrize(
    ("content", "described", "reason"),
    [
        (program(note="bad"), manifest({MEMBER: program()}), "is not what the manifest says"),
        (program(), manifest({}), f"does not hold {MEMBER}"),
        (program(), manifest({MEMBER: program()}, platform="linux-arm64"), "is for linux-arm64, this is linux-amd64"),
        (program(), manifest({MEMBER: program()}, schema=7), "schema is 7"),
        (program(), b"{}", "cannot be understood"),
        (program(), None, "No such file"),
        (program("9.9.9"), manifest({MEMBER: program("9.9.9")}), "says it is 9.9.9, not 1.2.3"),
    ],
)
def test_a_bundle_that_is_not_right_is_refused(
    settings: Settings, tmp_path: Path, content: bytes, described: bytes | None, reason: str
) -> None:
    place = directory_bundle(tmp_path, content, described)
    assert reason in refused(dataclasses.replace(settings, bundle=place))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (archive({"../evil": b"x", "manifest.json": manifest({})}), "would be written outside"),
        (archive({"/etc/evil": b"x"}), "would be written outside"),
        (archive({"readme": b"x"}), "holds no manifest.json"),
        (b"this is no archive", "cannot be unpacked"),
        (archive({"manifest.json": manifest({MEMBER: program()}), MEMBER: program()})[:-40], "cannot be unpacked"),
    ],
    # An archive has its time in it, and every worker of a test run must call its tests the same.
    ids=["above", "absolute", "without-manifest", "no-archive", "cut-off"],
)
def test_an_archive_that_is_not_right_is_refused(settings: Settings, tmp_path: Path, data: bytes, reason: str) -> None:
    put(tmp_path / "bundle.tar.gz", data)
    assert reason in refused(dataclasses.replace(settings, bundle=tmp_path / "bundle.tar.gz"))
    assert not (tmp_path / "evil").exists()


def test_a_bundle_that_does_not_exist_is_said(settings: Settings, tmp_path: Path) -> None:
    assert "does not exist" in refused(dataclasses.replace(settings, bundle=tmp_path / "nowhere"))


def test_the_bundle_comes_before_path_and_nothing_takes_the_place_of_a_bad_one(
    settings: Settings, tmp_path: Path
) -> None:
    settings = on_path(settings, program("1.2.9"))
    place = directory_bundle(tmp_path, program(), manifest({MEMBER: program()}))
    good = ensure(dataclasses.replace(settings, bundle=place, root=tmp_path / "good"))
    assert good.status()[0].source is SourceName.BUNDLE

    put(place / MEMBER, program(note="spoilt"))
    details = refused(dataclasses.replace(settings, bundle=place))
    assert "is not what the manifest says" in details
    assert "path:" not in details


def test_what_the_bundle_does_not_hold_is_taken_from_elsewhere(settings: Settings, tmp_path: Path) -> None:
    settings = on_path(settings, program("1.2.9"))
    place = directory_bundle(tmp_path, program(), manifest({}))
    assert ensure(dataclasses.replace(settings, bundle=place)).status()[0].source is SourceName.PATH


def test_a_bundle_of_nothing_or_of_system_packages_is_refused(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(PartMissingError):
        airgap.write(tmp_path / "bundle", None, settings)
    with pytest.raises(ConfigurationError):
        airgap.write(tmp_path / "bundle", ("nft",), settings)
    with pytest.raises(PartMissingError):
        airgap.write(tmp_path / "bundle", ("etcd",), settings)
    assert not (tmp_path / "bundle").exists()


# The installer


def test_when_no_source_has_it_every_source_says_why(settings: Settings) -> None:
    details = refused(settings)
    for reason in ("bundle: no bundle is given", "path: tiny is not on PATH", "download: offline", "build: "):
        assert reason in details


def test_what_was_spoilt_is_installed_again(settings: Settings) -> None:
    settings = on_path(settings, program())
    installer = ensure(settings)
    (installer.store.directory(tiny()) / "receipt.json").write_text("{")
    report = Recorder()
    ensure(settings, report)
    assert report.said(Phase.FAILED, "no valid receipt")
    assert installer.status()[0].state is PartState.OK


def test_what_is_there_is_not_looked_for(settings: Settings) -> None:
    settings = on_path(settings, program())
    ensure(settings)
    report = Recorder()
    ensure(settings, report)
    assert [(each.phase, each.detail) for each in report.events] == [(Phase.READY, "cache: v1.2.3 (path)")]


def test_one_part_that_cannot_be_had_stops_no_other(settings: Settings) -> None:
    settings = on_path(settings, program())
    installer = Installer(settings, catalogue(tiny(), tiny("other", accepts=None)))
    with pytest.raises(PartInstallError) as caught:
        installer.ensure(["other", "tiny"], Recorder())
    assert "1 of 2" in caught.value.message and "other" in caught.value.details
    assert {each.part: each.state for each in installer.status()} == {
        "tiny": PartState.OK,
        "other": PartState.MISSING,
    }


def test_a_part_for_linux_is_not_looked_for_elsewhere(settings: Settings) -> None:
    installer = Installer(
        dataclasses.replace(settings, platform=Platform("darwin", "arm64")), catalogue(tiny(linux_only=True))
    )
    with pytest.raises(PartInstallError) as caught:
        installer.ensure(["tiny"], Recorder())
    assert "Linux only" in caught.value.details
    assert installer.status() == []


def test_a_cache_that_cannot_be_written_is_an_error_of_ours(settings: Settings) -> None:
    put(settings.root, b"a file where the cache should be")
    with pytest.raises(PartInstallError) as caught:
        ensure(settings)
    assert "parts" in caught.value.details


# Finding programs


def test_a_missing_program_says_how_to_get_it(settings: Settings) -> None:
    with pytest.raises(PartMissingError) as caught:
        locate("etcd", settings)
    assert "wecityctl engine install" in caught.value.resolution
    with pytest.raises(ConfigurationError):
        locate("no-such-program", settings)


def test_a_system_part_that_is_missing_gives_the_apt_line(settings: Settings, tmp_path: Path) -> None:
    absent = SystemPart("absent", ("absent-package",), ("absent",), (str(tmp_path),))
    assert system.status(absent, settings).state is PartState.MISSING
    with pytest.raises(SourceFailedError) as caught:
        system.install(absent.packages, settings)
    assert "apt-get install -y absent-package" in str(caught.value)
    with pytest.raises(PartInstallError) as failed:
        Installer(settings, Catalogue((), (absent,))).ensure(["absent"], Recorder())
    assert "apt-get install -y absent-package" in failed.value.details

    put(tmp_path / "absent", program())
    Installer(settings, Catalogue((), (absent,))).ensure(["absent"], Recorder())
    assert system.status(absent, settings).path == tmp_path / "absent"


def test_a_directory_of_path_that_may_not_be_entered_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, open_ = tmp_path / "closed", tmp_path / "open"
    for place in (closed, open_):
        place.mkdir()
        (place / "tiny").write_text("#!/bin/sh\n")
        (place / "tiny").chmod(0o755)
    stat = os.stat

    def denied(path: object, *arguments: Any, **more: Any) -> os.stat_result:
        # As the kernel answers others than root.
        if str(path).startswith(f"{closed}/"):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *arguments, **more)  # type: ignore[arg-type]

    access = os.access
    monkeypatch.setattr(os, "stat", denied)
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).startswith(f"{closed}/") and access(path, mode))
    assert path_source.find("tiny", (closed, open_)) == open_ / "tiny"
