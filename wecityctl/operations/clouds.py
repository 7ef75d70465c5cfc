"""`clouds`: reads the capacity of a city's clouds and what is allocated of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from wecityctl.errors import ConfigurationError, ExitCode, WecityError

if TYPE_CHECKING:
    from wecityctl.model.capacity import CityFigures
    from wecityctl.model.city import City


@dataclass(frozen=True, slots=True)
class CloudsCapacity:
    """The figures, and the error of each cloud that could not be read: for that the figures are the files'."""

    figures: CityFigures
    errors: Mapping[str, WecityError]

    @property
    def exit_code(self) -> int:
        """Return 0 if a cloud answered, otherwise the code of the clouds' errors."""
        if self.errors and len(self.errors) == len(self.figures.clouds):
            return max(error.exit_code for error in self.errors.values())
        return ExitCode.OK


def clouds(path: Path, names: Sequence[str] = ()) -> CloudsCapacity:
    """Return the capacity of the named clouds of the city at `path`, or of all. Changes nothing.

    The city is not placed: what runs where need not be possible for the clouds to be read. Raises `InvalidCityError`,
    and `ConfigurationError` for an unknown cloud.
    """
    from stacks.catalogue import load_catalogue
    from wecityctl.capacity import read_capacity
    from wecityctl.clusters import open_clusters
    from wecityctl.spec import load_city

    catalogue = load_catalogue()
    loaded = load_city(path, catalogue)
    city = loaded.city
    chosen = _chosen(city, names)
    city = replace(city, clouds=tuple(item for item in city.clouds if item.name in chosen))
    clusters = open_clusters(city, catalogue, lambda event: None, start=False)
    return CloudsCapacity(
        *read_capacity(city, clusters.found, clusters.failed, written=_last_change(file.path for file in loaded.files))
    )


def _chosen(city: City, names: Sequence[str]) -> set[str]:
    known = [item.name for item in city.clouds]
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"the city has no cloud {name!r}", details=f"clouds: {', '.join(known)}", resolution="name one of them"
            )
    return set(names or known)


def _last_change(files: Iterable[Path]) -> float:
    """Return when the city's files were last changed, in seconds since 1970."""
    return max((file.stat().st_mtime for file in files), default=0.0)
