"""The cases that are files: each city under `invalid/` has the problems it must give in `<name>.expected`.

Of `environment-…`, what is looked at is the environment `test`.
"""

from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

from tests.spec.catalogue import CATALOGUE
from wecityctl.errors import InvalidCityError
from wecityctl.spec import load_city

HERE = Path(__file__).parent
INVALID = HERE / "invalid"
VALID = HERE / "valid"


def invalid_cases() -> list[str]:
    return sorted(path.name for path in INVALID.iterdir() if path.suffix == ".yaml" or path.is_dir())


def valid_cases() -> list[str]:
    return sorted(path.name for path in VALID.iterdir())


def expected_file(name: str) -> Path:
    return INVALID / f"{name.removesuffix('.yaml')}.expected"


def problems_of(name: str) -> str:
    """The problems of an invalid case, one a line, as users see them."""
    with chdir(INVALID):
        try:
            load_city(Path(name), CATALOGUE, environment="test" if name.startswith("environment-") else None)
        except InvalidCityError as error:
            return "".join(f"{problem}\n" for problem in error.problems)
    return ""


def write_expected() -> Iterator[Path]:
    """Write what the cases give now. For `python -m tests.generate --cases`; read the difference before keeping it."""
    for name in invalid_cases():
        path = expected_file(name)
        path.write_text(problems_of(name), encoding="utf-8")
        yield path
