"""`validate`: checks a city's files. Contacts no cloud, reads no state, and loads no SDK."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wecityctl.errors import InvalidCityError, Problem

if TYPE_CHECKING:
    from wecityctl.model.catalogue import Catalogue
    from wecityctl.spec.environments import Environments
    from wecityctl.spec.loaded import LoadedCity


def validate(path: Path) -> LoadedCity:
    """Return the city at `path`, in the chosen environment. Raises `InvalidCityError` with all problems of its files.

    Files that are well in themselves may ask for what no placement can give: raises `InfeasiblePlacementError` with the
    constraints that conflict and their positions.
    """
    from stacks.catalogue import load_catalogue
    from wecityctl.spec import load_city

    catalogue = load_catalogue()
    return _placed(load_city(path, catalogue), catalogue)


def validate_all(path: Path) -> tuple[LoadedCity, ...]:
    """Return the city in each of its environments, the default first; in the chosen one alone if there is one.

    Raises what `validate` raises. What is wrong in another environment than the default one says in which, unless it is
    wrong in the default one too.
    """
    from stacks.catalogue import load_catalogue
    from wecityctl.model.environments import chosen_environment
    from wecityctl.spec.environments import read_environments

    if chosen_environment() is not None:
        return (validate(path),)
    catalogue = load_catalogue()
    found, problems, root = _load_all(read_environments(path), catalogue)
    if problems:
        raise InvalidCityError(tuple(problems), root)
    return tuple(_placed(loaded, catalogue) for loaded in found)


def _load_all(environments: Environments, catalogue: Catalogue) -> tuple[list[LoadedCity], list[Problem], Path | None]:
    """The environments that are valid, the problems of the others, and the city's directory if one has problems."""
    from wecityctl.spec.load import load_environment

    found: list[LoadedCity] = []
    problems: dict[Problem, Problem] = {}
    root: Path | None = None
    for name in environments.names:
        try:
            found.append(load_environment(environments, name, catalogue))
        except InvalidCityError as error:
            root = root or error.root
            for problem in error.problems:
                told = problem if name == environments.default else _within(problem, name)
                problems.setdefault(problem, told)
    return found, list(problems.values()), root


def _within(problem: Problem, environment: str) -> Problem:
    return replace(problem, message=f"in environment {environment!r}: {problem.message}")


def _placed(loaded: LoadedCity, catalogue: Catalogue) -> LoadedCity:
    """The city, if there is a placement for it."""
    from wecityctl.placement import InfeasiblePlacementError
    from wecityctl.plan import make_plan
    from wecityctl.session import located

    try:
        make_plan(loaded.city, catalogue)
    except InfeasiblePlacementError as error:
        found = located(error, loaded.positions)
        if not loaded.is_default:
            found.message = f"in environment {loaded.environment!r}: {found.message}"
        raise found from None
    return loaded
