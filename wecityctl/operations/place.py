"""`place`: shows which cloud is assigned to each capability and app, and why."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from wecityctl.errors import WecityError
from wecityctl.model.events import Diagnostic, Emit
from wecityctl.operations.current_placement import current_placement
from wecityctl.session import Session, open_session

if TYPE_CHECKING:
    from wecityctl.model.city import City
    from wecityctl.placement import Placement


def place(path: Path, emit: Emit, *, offline: bool = False) -> Session:
    """Return the city at `path` with an explained placement. No cloud is contacted.

    With `offline` the city is placed as a new one. If its state cannot be read, the same is done and reported. Raises
    `InvalidCityError` and `InfeasiblePlacementError`.
    """
    return open_session(path, None if offline else partial(_known, emit), explain=True)


def _known(emit: Emit, city: City) -> Placement | None:
    try:
        return current_placement(city)
    except WecityError as error:
        text = f"placed as a new city, for its state cannot be read: {error.message}"
        emit(Diagnostic("", "info", text))
        return None
