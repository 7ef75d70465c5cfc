"""Loads what is right of a city some of whose files are not, for commands that only look at an app."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from wecityctl.errors import InvalidCityError
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.environments import chosen_environment
from wecityctl.spec.environments import Environments, FilesRead, read_environments
from wecityctl.spec.files import read_text
from wecityctl.spec.load import load_environment
from wecityctl.spec.loaded import LoadedCity

# Documents that everybody's apps depend on. The text is searched, because a broken file has no documents.
_SHARED = re.compile(r"\bkind[\"']?\s*:\s*[\"']?(?:City|Cloud|Platform)\b")


def load_usable(path: Path, catalogue: Catalogue) -> LoadedCity:
    """Load the city at `path` without the files that have problems; they are named in `left_out`.

    Raises the `InvalidCityError` of the whole city if one of them has a document that everybody's apps depend on, is
    an environment's or cannot be read at all, and `ConfigurationError` for an environment that is not there.
    """
    environments = read_environments(path)
    name = environments.find(chosen_environment())
    left_out: set[str] = set()
    first: InvalidCityError | None = None
    while True:
        try:
            loaded = load_environment(_without(environments, left_out), name, catalogue)
        except InvalidCityError as error:
            first = first or error
            faulty = {problem.file for problem in error.problems} - left_out
            if not faulty or not all(_can_miss(environments, file) for file in faulty):
                raise first from None
            left_out |= faulty
        else:
            return replace(loaded, left_out=tuple(sorted(left_out)))


def _without(environments: Environments, names: Collection[str]) -> Environments:
    base = environments.base
    problems = tuple(item for item in base.problems if item.file not in names)
    rest = FilesRead(
        tuple(file for file in base.files if file.name not in names),
        tuple(item for item in base.documents if item.file not in names),
        problems,
        base.complete or not problems,
    )
    return replace(environments, base=rest)


def _can_miss(environments: Environments, name: str) -> bool:
    file = next((item for item in environments.base.files if item.name == name), None)
    if file is None:
        return False
    text, problem = read_text(file)
    return bool(text) and (problem is None or problem.line > 0) and not _SHARED.search(text)
