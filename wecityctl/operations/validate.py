"""`validate`: checks a city's files. Contacts no cloud, reads no state, and loads no SDK."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wecityctl.spec.loaded import LoadedCity


def validate(path: Path) -> LoadedCity:
    """Return the city at `path`. Raises `InvalidCityError` with all problems of its files.

    Files that are well in themselves may ask for what no placement can give: raises `InfeasiblePlacementError` with the
    constraints that conflict and their positions.
    """
    from stacks.catalogue import load_catalogue
    from wecityctl.placement import InfeasiblePlacementError
    from wecityctl.plan import make_plan
    from wecityctl.session import located
    from wecityctl.spec import load_city

    catalogue = load_catalogue()
    loaded = load_city(path, catalogue)
    try:
        make_plan(loaded.city, catalogue)
    except InfeasiblePlacementError as error:
        raise located(error, loaded.positions) from None
    return loaded
