"""The catalogue and the toolchain's go.mod files say the same."""

from __future__ import annotations

import re

import pytest

from wecityctl.errors import ConfigurationError
from wecityctl.toolchain import lockfile
from wecityctl.toolchain.catalogue import PARTS, Catalogue
from wecityctl.toolchain.model import Part, Platform, VersionRange, version_key
from wecityctl.toolchain.settings import Settings

BUILT = [part for part in PARTS if part.buildable]
PLATFORMS = [Platform(system, arch) for system in ("linux", "darwin") for arch in ("amd64", "arm64")]


def tools(text: str) -> set[str]:
    block = re.search(r"^tool \(\n(.*?)^\)", text, re.MULTILINE | re.DOTALL)
    if block:
        return {line.strip() for line in block.group(1).splitlines()}
    return {match.strip() for match in re.findall(r"^tool (\S+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("part", BUILT, ids=lambda part: part.name)
def test_the_pins_agree_with_the_go_modules(part: Part) -> None:
    module = Settings.from_environment({}).toolchain / part.name
    text = (module / "go.mod").read_text()
    assert tools(text) == {binary.package for binary in part.binaries}
    required = dict(re.findall(r"^\s+(\S+) (v\S+) // indirect$", text, re.MULTILINE))
    for binary in part.binaries:
        owner = max((path for path in required if f"{binary.package}/".startswith(f"{path}/")), key=len)
        assert required[owner] == part.version
    assert (module / "go.sum").stat().st_size > 0


@pytest.mark.parametrize("part", [part for part in BUILT if len(part.binaries) > 1], ids=lambda part: part.name)
def test_programs_built_together_are_named_by_their_packages(part: Part) -> None:
    assert [binary.package.rsplit("/", 1)[-1] for binary in part.binaries] == [each.name for each in part.binaries]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_a_published_file_set_holds_every_program(part: Part) -> None:
    for target in PLATFORMS:
        artifacts = part.artifacts(target)
        assert all(each.url.startswith("https://") for each in artifacts)
        if artifacts:
            held = {name for each in artifacts for name in each.members}
            assert held == {binary.name for binary in part.binaries_for(target)}


@pytest.mark.parametrize("part", [part for part in BUILT if part.accepts], ids=lambda part: part.name)
def test_the_pinned_version_is_among_the_accepted(part: Part) -> None:
    assert part.accepts is not None and part.version in part.accepts


def test_the_lock_file_can_be_read() -> None:
    toolchain = Settings.from_environment({}).toolchain
    for part in PARTS:
        for target in PLATFORMS:
            recorded = lockfile.digests(toolchain, part, target)
            assert set(recorded) <= {each.name for each in part.artifacts(target)}


def test_names_and_programs_are_unique() -> None:
    catalogue = Catalogue()
    assert len(set(catalogue.names())) == len(catalogue.names())
    programs = [binary.name for part in catalogue.parts for binary in part.binaries]
    programs += [name for part in catalogue.system for name in part.binaries]
    assert len(set(programs)) == len(programs)
    for name in programs:
        assert name in str(catalogue.owner(name))


def test_an_unknown_part_is_a_configuration_error_that_names_the_known() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Catalogue().find("etdc")
    assert "etcd" in caught.value.resolution


def test_off_linux_the_node_is_left_out() -> None:
    names = Catalogue().default_names(Platform("darwin", "arm64"))
    assert "pulumi" in names and "containerd" not in names and "runc" not in names
    kubernetes = Catalogue().find("kubernetes")
    assert isinstance(kubernetes, Part)
    assert "kubelet" not in {binary.name for binary in kubernetes.binaries_for(Platform("darwin", "arm64"))}


@pytest.mark.parametrize(
    ("version", "inside"),
    [("1.36.3", True), ("1.36.0", True), ("1.37.0", False), ("1.35.9", False), ("1.4.0", False), ("1.36.10", True)],
)
def test_ranges_compare_numbers_not_text(version: str, inside: bool) -> None:
    assert (version in VersionRange("1.36.0", "1.37")) is inside


def test_a_suffix_does_not_count() -> None:
    assert version_key("v1.2.3-rc.1+build") == (1, 2, 3)
