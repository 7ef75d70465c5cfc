"""Loads a city's YAML files into the model and reports every problem with its file, line and column.

The entry point is `load_city`. The parsing and validation modules are imported only when it is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wecityctl.model.catalogue import Catalogue
from wecityctl.spec.loaded import LoadedCity, Positions
from wecityctl.spec.nodes import SourceLocation

__all__ = ["LoadedCity", "Positions", "SourceLocation", "load_city", "load_usable"]


def load_city(
    path: Path, catalogue: Catalogue, changed: Mapping[Path, str] | None = None, *, environment: str | None = None
) -> LoadedCity:
    """Load and validate the city at `path`, a file or a directory, as it is in `environment`.

    Without one, it is the environment that the run works on. `changed` has the texts that files are to get, and
    those of files to be added: the city is loaded as it will be. Raises `InvalidCityError` with all problems, and
    `ConfigurationError` for an environment that is not there.

    The loader is imported inside the function: a process that already has a `City`, such as one that only evaluates
    policies, does not pay for importing the pydantic schemas.
    """
    from wecityctl.spec.load import load_city as load

    return load(path, catalogue, changed, environment=environment)


def load_usable(path: Path, catalogue: Catalogue) -> LoadedCity:
    """Load the city without the files that have problems, for commands that only look at an app."""
    from wecityctl.spec.usable import load_usable as load

    return load(path, catalogue)
