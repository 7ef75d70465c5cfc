"""What is in the images that are built here, from the locks beside the recipes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from wecityctl import oci
from wecityctl.errors import ConfigurationError
from wecityctl.inventory.contents import Contents, required_modules
from wecityctl.oci.apt import Apt
from wecityctl.oci.image_names import Catalogue
from wecityctl.operations.inventory import bills_of_materials
from wecityctl.toolchain.settings import MODULES


@pytest.fixture(scope="module")
def contents() -> Contents:
    return Contents(Catalogue(oci.catalogue()), MODULES)


def test_every_image_with_a_lock_or_a_module_has_packages(contents: Contents) -> None:
    empty = {name for name in contents.names if not contents.packages(name, "amd64")}
    # A program of our own with nothing but the standard library.
    assert empty == {"pause"}


def test_packages_of_bases_are_in_an_image_with_the_name_of_the_base(contents: Contents) -> None:
    found = {item.name: item for item in contents.packages("postgresql", "amd64")}
    assert found["libc6"].image == "debian"
    assert found["postgresql-15"].image == "postgresql"


def test_debian_packages_are_known_to_advisories_by_their_source(contents: Contents) -> None:
    found = {item.name: item for item in contents.packages("object-storage", "amd64")}
    assert (found["libgnutls30"].source, found["libgnutls30"].ecosystem) == ("gnutls28", "Debian:12")
    assert found["libc6"].source == "glibc"
    assert found["libcurl4"].source_version == found["curl"].version


def test_go_programs_have_the_modules_that_they_require(contents: Contents) -> None:
    found = {item.name: item for item in contents.packages("object-storage", "amd64")}
    assert found["github.com/versity/versitygw"].version == "v1.8.0"
    assert found["github.com/versity/versitygw"].purl == "pkg:golang/github.com/versity/versitygw@v1.8.0"
    assert "github.com/coredns/coredns" in {item.name for item in contents.packages("coredns", "amd64")}


def test_requirements_of_a_module() -> None:
    text = "module x\n\ngo 1.26\nrequire example.org/a v1.0.0\nrequire (\n\texample.org/b v2.0.0 // indirect\n)\n"
    assert list(required_modules(text)) == [("example.org/a", "v1.0.0"), ("example.org/b", "v2.0.0")]


@pytest.mark.parametrize(
    ("stanza", "expected"),
    [("", ""), ("Source: glibc\n", "glibc"), ("Source: gnutls28 (3.7.9-2)\n", "gnutls28=3.7.9-2")],
)
def test_a_package_list_says_the_source(
    stanza: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"Package: p\nVersion: 1\nArchitecture: amd64\n{stanza}SHA256: {'0' * 64}\nSize: 1\n"
    program = tmp_path / "apt-cache"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    apt = Apt(tmp_path / "apt", "amd64", {"PATH": f"{tmp_path}:/usr/bin:/bin"})
    ((_, found),) = apt._records(["p=1"], "bookworm").items()  # the only way in that needs no package lists
    assert found.source == expected


def test_bills_of_materials_are_valid_and_the_same_each_time(contents: Contents) -> None:
    bills = bills_of_materials((), "amd64")
    assert set(bills) == contents.names
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    for name, text in bills.items():
        assert validator.validate_str(text) is None, name
        document = json.loads(text)
        assert len(document.get("components", [])) == len(contents.packages(name, "amd64")), name
    assert bills_of_materials(("postgresql",), "amd64")["postgresql"] == bills["postgresql"]


def test_an_unknown_image_is_told_with_its_neighbour() -> None:
    with pytest.raises(ConfigurationError, match="no image called 'postgres'") as told:
        bills_of_materials(("postgres",), "amd64")
    assert "postgresql" in told.value.resolution
