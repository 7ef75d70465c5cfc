"""What loading a city gives: its model and the places of its parts.

Apart from the loader, whose shapes take a third of a second to import.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wecityctl.model.city import City
from wecityctl.spec.nodes import Document, PathItem, SourceLocation

if TYPE_CHECKING:
    from wecityctl.spec.files import SourceFile


@dataclass(frozen=True, slots=True)
class Positions:
    """Where things are declared. Apps are named `<tenant>/<app>`, everything else by its name."""

    documents: Mapping[tuple[str, str], Document]

    def place(self, kind: str, name: str, *path: PathItem) -> SourceLocation | None:
        """The place of a field, such as `place("App", "health/code", "spec", "uses", 0)`; the nearest enclosing one
        if the field is not written; `None` if there is no such document."""
        document = self.documents.get((kind, name))
        return document.place(path) if document is not None else None


@dataclass(frozen=True, slots=True)
class LoadedCity:
    """A city that passed every check. `counts` has the number of documents by kind, `files` the files read."""

    city: City
    positions: Positions
    counts: Mapping[str, int]
    files: tuple[SourceFile, ...]
