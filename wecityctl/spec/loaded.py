"""The result of loading a city: the model and the source locations of its parts.

It is separate from the loader, because importing the loader's schemas takes a third of a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wecityctl.model.city import City
from wecityctl.model.environments import PRODUCTION
from wecityctl.spec.nodes import Document, PathItem, SourceLocation

if TYPE_CHECKING:
    from wecityctl.spec.files import SourceFile


@dataclass(frozen=True, slots=True)
class Positions:
    """The documents by kind and name, to find source locations. Apps and their
    lifecycles are named `<tenant>/<app>`."""

    documents: Mapping[tuple[str, str], Document]
    # Manifests of apps and platforms: by kind and name of what names their file, and by their own.
    manifests: Mapping[tuple[str, str, str, str], Document] = field(default_factory=dict)

    def manifest(self, owner_kind: str, owner: str, kind: str, name: str) -> SourceLocation | None:
        """The location of the name of a Kubernetes manifest of an app or a platform; `None` if there is none."""
        document = self.manifests.get((owner_kind, owner, kind, name))
        return document.place(("metadata", "name")) if document is not None else None

    def place(self, kind: str, name: str, *path: PathItem) -> SourceLocation | None:
        """The location of a field, such as `place("App", "health/code", "spec", "uses", 0)`.

        If the field is not in the file, the location of the nearest enclosing one; `None` if there is no such document.
        """
        document = self.documents.get((kind, name))
        return document.place(path) if document is not None else None


@dataclass(frozen=True, slots=True)
class LoadedCity:
    """A city that passed every check, in one of its environments.

    `counts` is the number of documents by kind, `files` the files that were read, `environments` the names of all, the
    default first. `left_out` are the names of files that were not read (`load_usable`).
    """

    city: City
    positions: Positions
    counts: Mapping[str, int]
    files: tuple[SourceFile, ...]
    environment: str = PRODUCTION
    environments: tuple[str, ...] = (PRODUCTION,)
    left_out: tuple[str, ...] = ()

    @property
    def is_default(self) -> bool:
        """Whether it is the environment that is meant where none is chosen."""
        return self.environment == self.environments[0]
