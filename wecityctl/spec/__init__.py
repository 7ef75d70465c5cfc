"""From a city's files to its model, with the place of every problem; `load_city` is the way in."""

from __future__ import annotations

from pathlib import Path

from wecityctl.model.catalogue import Catalogue
from wecityctl.spec.loaded import LoadedCity, Positions
from wecityctl.spec.nodes import SourceLocation

__all__ = ["LoadedCity", "Positions", "SourceLocation", "load_city"]


def load_city(path: Path, catalogue: Catalogue) -> LoadedCity:
    """The city at `path`, a file or a directory. Raises `InvalidCityError` with all problems.

    The loader is imported here: who has a city already, as a process that judges one, does without its shapes.
    """
    from wecityctl.spec.load import load_city as load

    return load(path, catalogue)
