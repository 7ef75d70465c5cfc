"""Cities that are loaded without the files that have problems."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from stacks.catalogue import load_catalogue
from wecityctl.errors import InvalidCityError
from wecityctl.spec import load_usable

COUNTY = Path(__file__).parents[2] / "examples" / "county"


@pytest.fixture
def county(tmp_path: Path) -> Path:
    return Path(shutil.copytree(COUNTY, tmp_path / "county"))


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


def apps_and_left_out(city: Path) -> tuple[set[str], list[str]]:
    loaded = load_usable(city, load_catalogue())
    return {app.tenant for app in loaded.city.apps}, [Path(name).name for name in loaded.left_out]


def test_a_city_without_problems_is_whole(county: Path) -> None:
    assert apps_and_left_out(county) == ({"library", "parks-bureau", "lantern"}, [])


@pytest.mark.parametrize("text", ["---\na: [", "---\nkind: Ap\n"])
def test_files_with_problems_and_those_that_need_them_are_left_out(county: Path, text: str) -> None:
    append(county / "library.yaml", text)
    assert apps_and_left_out(county) == ({"lantern"}, ["library.yaml", "parks-bureau.yaml"])


def test_what_everybody_depends_on_is_needed(county: Path) -> None:
    append(county / "library.yaml", "---\na: [")
    append(county / "city.yaml", "---\na: [")
    with pytest.raises(InvalidCityError) as caught:
        load_usable(county, load_catalogue())
    assert {Path(problem.file).name for problem in caught.value.problems} == {"library.yaml", "city.yaml"}


def test_a_platform_is_needed_although_its_file_is_broken(county: Path) -> None:
    append(county / "library.yaml", "---\n{'kind': 'Platform', metadata: [")
    with pytest.raises(InvalidCityError):
        load_usable(county, load_catalogue())
