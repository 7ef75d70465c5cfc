"""`wecityctl images push` of cities that have nothing to push to. Pushing is in `tests/images/test_registry.py`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.program import ROOT, wecityctl

VAULT = "    - {name: vault}\n"


@pytest.fixture
def city(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "examples" / "xingcheng-operations", tmp_path / "city"))


def with_registries(city: Path, *names: str) -> None:
    file = city / "city.yaml"
    text = file.read_text(encoding="utf-8")
    added = "".join(f"    - {{name: {name}, type: registry, storage: 1Gi}}\n" for name in names)
    file.write_text(text.replace(VAULT, VAULT + added), encoding="utf-8")


def test_a_city_without_a_registry(city: Path, tmp_path: Path) -> None:
    done = wecityctl("images", "push", city, home=tmp_path / "home")
    assert done.returncode == 2
    assert "the city has no capability of type registry" in done.stderr
    assert "wecityctl catalog show registry" in done.stderr


def test_a_registry_that_there_is_not(city: Path, tmp_path: Path) -> None:
    with_registries(city, "images", "archive")
    done = wecityctl("images", "push", city, "--to", "imags", home=tmp_path / "home")
    assert done.returncode == 2
    assert "there is no registry 'imags'" in done.stderr
    assert "there are: images, archive" in done.stderr
    assert "did you mean 'images'?" in done.stderr


def test_an_image_that_there_is_not(city: Path, tmp_path: Path) -> None:
    with_registries(city, "images")
    done = wecityctl("images", "push", city, "--image", "postgressql", home=tmp_path / "home")
    assert done.returncode == 2
    assert "there is no image called 'postgressql'" in done.stderr


def test_a_dry_run_builds_nothing(city: Path, tmp_path: Path) -> None:
    with_registries(city, "images")
    home = tmp_path / "home"
    done = wecityctl("images", "push", city, "--image", "vault", "--dry-run", home=home, XDG_CACHE_HOME=str(home / "c"))
    assert done.returncode == 2
    assert "not built yet: vault" in done.stderr
    assert "wecityctl images build vault" in done.stderr
