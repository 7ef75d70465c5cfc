"""References: pure, the same for the same inputs, another for any other input."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from wecityctl import oci
from wecityctl.errors import ConfigurationError
from wecityctl.oci.image_names import Catalogue, rehost
from wecityctl.oci.recipe import load_catalogue, load_recipe, with_bases


@pytest.mark.parametrize(
    ("registry", "expected"),
    [
        ("", "docker.io/library/postgres:15"),
        ("harbor.city.example", "harbor.city.example/library/postgres:15"),
        ("harbor.city.example:5000/mirror/", "harbor.city.example:5000/mirror/library/postgres:15"),
        ("https://harbor.city.example", "harbor.city.example/library/postgres:15"),
    ],
)
def test_rehost(registry: str, expected: str) -> None:
    assert rehost("docker.io/library/postgres:15", registry) == expected


def test_upstream_references_are_pinned() -> None:
    for recipe in oci.catalogue():
        reference = oci.reference(recipe.name, source="upstream")
        tag = reference.rpartition(":")[2]
        assert any(character.isdigit() for character in tag), reference
        assert tag != "latest"


def test_majors_match_upstream() -> None:
    """What is built and what is pulled in its place speak the same protocol and read the same files."""
    majors = {
        name: oci.reference(name, source="upstream").rpartition(":")[2].split(".")[0]
        for name in ("postgresql", "cache", "gateway", "coredns")
    }
    versions = {recipe.name: recipe.version.split(".")[0] for recipe in oci.catalogue()}
    assert majors == {name: versions[name] for name in majors}


def test_our_own_image_has_one_reference_only() -> None:
    built = oci.reference("sample-app", source="built")
    assert oci.reference("sample-app", source="upstream") == built
    assert built.startswith("built.wecity.invalid/sample-app:1-")
    assert oci.reference("sample-app", source="built", registry="harbor.city.example/wecity").startswith(
        "harbor.city.example/wecity/sample-app:1-"
    )


def test_unknown_image_and_source() -> None:
    with pytest.raises(ConfigurationError, match="no image called 'postgres'"):
        oci.reference("postgres", source="built")
    with pytest.raises(ConfigurationError, match="not from 'elsewhere'"):
        oci.reference("pause", source="elsewhere")  # type: ignore[arg-type]


def test_reference_loads_neither_pulumi_nor_the_builders() -> None:
    program = (
        "import sys; from wecityctl import oci; oci.reference('postgresql', source='built');"
        "sys.exit(bool({'pulumi', 'grpc'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


def _touch_rootfs(image: Path) -> None:
    (image / "rootfs" / "etc" / "passwd").write_text("root:x:0:0::/:\n")


def _add_file(image: Path) -> None:
    (image / "rootfs" / "new").write_text("")


def _recipe(image: Path) -> None:
    text = (image / "image.yaml").read_text()
    (image / "image.yaml").write_text(text.replace("LANG: C.UTF-8", "LANG: C"))


def copy_recipes(directory: Path) -> None:
    """All recipes in one directory, those of capabilities among them."""
    for recipe in oci.catalogue():
        shutil.copytree(recipe.directory, directory / recipe.name)


def _lock(image: Path) -> None:
    text = (image / "lock.json").read_text()
    (image / "lock.json").write_text(text.replace('"size": ', '"size": 1'))


@pytest.mark.parametrize("change", [_touch_rootfs, _add_file, _recipe, _lock])
def test_every_input_changes_the_image_and_those_on_top(tmp_path: Path, change: Callable[[Path], None]) -> None:
    copy_recipes(tmp_path / "images")
    before = Catalogue(load_catalogue(tmp_path / "images"))
    references = {recipe.name: before.reference(recipe.name, "built") for recipe in before.recipes}
    change(tmp_path / "images" / "debian")
    after = Catalogue(tuple(load_recipe(recipe.directory / "image.yaml") for recipe in before.recipes))
    changed = {
        recipe.name for recipe in after.recipes if after.reference(recipe.name, "built") != references[recipe.name]
    }
    bases = {recipe.name: with_bases(before.recipes, (recipe.name,)) for recipe in before.recipes}
    assert changed == {name for name, found in bases.items() if "debian" in {recipe.name for recipe in found}}
    assert changed >= {"debian", "postgresql", "cache", "gateway", "sample-app", "identity", "object-storage"}


def test_comments_and_the_upstream_counterpart_change_nothing(tmp_path: Path) -> None:
    copy_recipes(tmp_path / "images")
    recipe = tmp_path / "images" / "gateway" / "image.yaml"
    recipe.write_text(recipe.read_text().replace("library/nginx:1.", "library/nginx:1.9") + "# a comment\n")
    catalogue = Catalogue(load_catalogue(tmp_path / "images"))
    assert catalogue.reference("gateway", "built") == oci.reference("gateway", source="built")
    assert catalogue.reference("gateway", "upstream") != oci.reference("gateway", source="upstream")


def test_what_python_leaves_behind_changes_nothing(tmp_path: Path) -> None:
    copy_recipes(tmp_path / "images")
    catalogue = Catalogue(load_catalogue(tmp_path / "images"))
    before = catalogue.reference("sample-app", "built")
    leftover = next((tmp_path / "images").rglob("sample_app")) / "__pycache__"
    leftover.mkdir(exist_ok=True)
    (leftover / "page.cpython-311.pyc").write_bytes(b"x")
    assert catalogue.reference("sample-app", "built") == before
    assert before == oci.reference("sample-app", source="built")
