"""The sample app's own parts that need no driver: bindings and the page."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from wecityctl import oci


@pytest.fixture(scope="module")
def modules() -> Iterator[tuple[ModuleType, ModuleType]]:
    """The app's modules, imported from its image's files."""
    (recipe,) = (recipe for recipe in oci.catalogue() if recipe.name == "sample-app")
    place = str(recipe.directory / "rootfs/usr/lib/sample-app")
    sys.path.insert(0, place)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        from sample_app import bindings, page  # type: ignore[import-not-found]

        yield bindings, page
    finally:
        sys.dont_write_bytecode = before
        sys.path.remove(place)


def bind(root: Path, name: str, **entries: str) -> None:
    (root / name).mkdir(parents=True)
    for key, value in entries.items():
        (root / name / key).write_text(value)


def test_bindings_of_a_mounted_secret(modules: tuple[ModuleType, ModuleType], tmp_path: Path) -> None:
    """Kubernetes mounts a Secret as links into a hidden directory that changes at once."""
    bindings, _ = modules
    data = tmp_path / "db" / "..2026_01_01"
    data.mkdir(parents=True)
    (data / "type").write_text("postgresql\n")
    (data / "host").write_text("db.example")
    (tmp_path / "db" / "..data").symlink_to("..2026_01_01")
    for key in ("type", "host"):
        (tmp_path / "db" / key).symlink_to(f"..data/{key}")
    bind(tmp_path, "no-type", host="x")
    bind(tmp_path, ".hidden", type="redis")
    (found,) = bindings.read_bindings(str(tmp_path))
    assert (found.name, found.type, found.get("host")) == ("db", "postgresql", "db.example")


def test_no_bindings(modules: tuple[ModuleType, ModuleType], tmp_path: Path) -> None:
    bindings, _ = modules
    assert bindings.read_bindings("") == ()
    assert bindings.read_bindings(str(tmp_path / "nowhere")) == ()


def test_uri_says_what_entries_do_not(modules: tuple[ModuleType, ModuleType], tmp_path: Path) -> None:
    bindings, _ = modules
    bind(tmp_path, "db", type="postgresql", uri="postgresql://web:p%40ss@db.example:5433/web", host="other.example")
    (found,) = bindings.read_bindings(str(tmp_path))
    names = ("host", "port", "username", "password", "database")
    assert [found.get(name) for name in names] == ["other.example", "5433", "web", "p@ss", "web"]
    assert "p@ss" not in repr(found)
    assert found.get("prefix", "key-prefix", default="x:") == "x:"


def test_page_escapes_what_others_wrote(modules: tuple[ModuleType, ModuleType]) -> None:
    _, page = modules
    hostile = "<script>alert(1)</script>"
    state = {
        "app": hostile,
        "tenant": hostile,
        "title": hostile,
        "database": dict.fromkeys(("note", "created", "database", "role", "server"), hostile),
        "cache": {"problem": hostile},
        "person": {"user": hostile, "groups": [hostile, hostile], "subject": hostile},
    }
    text = page.render(state)
    assert "<script>" not in text
    assert text.count("&lt;script&gt;") == 3 + 1 + 5 + 1 + 4
