"""The cases that are files: what is invalid gives just the expected problems, what is valid gives a city."""

from pathlib import Path

import pytest

from stacks.catalogue import load_catalogue
from tests.spec.cases import INVALID, VALID, expected_file, invalid_cases, problems_of, valid_cases
from tests.spec.catalogue import CATALOGUE
from wecityctl.spec import load_city

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("name", invalid_cases())
def test_invalid_case_gives_its_problems(name: str) -> None:
    assert problems_of(name) == expected_file(name).read_text(encoding="utf-8")


def test_every_expectation_has_its_case_and_says_something() -> None:
    expected = {path.name for path in INVALID.glob("*.expected")}
    assert expected == {expected_file(name).name for name in invalid_cases()}
    assert all(expected_file(name).stat().st_size for name in invalid_cases())


@pytest.mark.parametrize("name", valid_cases())
def test_valid_case_is_a_city(name: str) -> None:
    assert load_city(VALID / name, CATALOGUE).city.name == "testcity"


@pytest.mark.parametrize("city", sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()))
def test_examples_are_valid(city: str) -> None:
    assert load_city(EXAMPLES / city, load_catalogue()).city.apps
