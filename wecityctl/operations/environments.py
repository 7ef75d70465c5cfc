"""`env list`, `env diff` and `promote`: the environments of a city, what differs, and images that move on."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wecityctl.operations.city_files import turn_to_edit, write_together

if TYPE_CHECKING:
    from wecityctl.spec.differences import Difference
    from wecityctl.spec.promotion import Promotion


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment as its files describe it; `city` and `domain` are empty where the files say none."""

    name: str
    is_default: bool
    city: str
    domain: str
    files: tuple[str, ...]


def list_environments(path: Path) -> tuple[Environment, ...]:
    """Return the environments of the city at `path`, the default first. Raises `InvalidCityError`."""
    from wecityctl.spec.environments import read_environments, value_at

    environments = read_environments(path)
    found = []
    for name in environments.names:
        environment = environments.read_valid(name)
        city = environment.document("City")
        domain = value_at(city, ("spec", "domain")) if city is not None else None
        files = tuple(file.name for file in environment.overlay or environment.read.files)
        city_name = city.name if city is not None else ""
        found.append(Environment(name, environment.is_default, city_name, str(domain or ""), files))
    return tuple(found)


def diff(path: Path, first: str, second: str) -> tuple[Difference, ...]:
    """Return what differs between two environments of the city at `path`.

    Raises `InvalidCityError` for files that cannot be read or merged, and `ConfigurationError` for an environment that
    is not there.
    """
    from wecityctl.spec.differences import differences
    from wecityctl.spec.environments import read_environments

    environments = read_environments(path)
    names = environments.find(first), environments.find(second)
    left, right = (environments.read_valid(name) for name in names)
    return tuple(differences(left, right))


def promote(path: Path, subject: str, source: str, target: str, *, write: bool = False) -> Promotion:
    """Work out how the images of an app come from one environment to another, and with `write` change the files.

    Each file is replaced in one step and keeps its permissions, or none is changed. Raises what `promotion` raises, and
    `ConfigurationError` if a file cannot be written.
    """
    from wecityctl.spec.promotion import promotion

    with turn_to_edit(path) if write else nullcontext():
        found = promotion(path, subject, source, target)
        if write:
            write_together({changed.file.path: changed.new for changed in found.files})
    return found
