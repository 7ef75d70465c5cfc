"""The registry of capability types: the folders `stacks/platforms/<platform>/<capability>`, and partners' packages.

A package defines `TYPE`, a `CapabilityType`, and imports neither a program nor an SDK, so that `validate` stays fast. A
partner's package has the same structure. An entry point of the group `wecityctl.capabilities` names the package itself,
or `package:TYPE`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from stacks.references import printing_to_stderr
from wecityctl.errors import ConfigurationError
from wecityctl.model.catalogue import CapabilityType, Catalogue

ENTRY_POINT_GROUP = "wecityctl.capabilities"
RECIPE = Path("image", "image.yaml")

_PLATFORMS = Path(__file__).parent / "platforms"
_PACKAGE = f"{__package__}.platforms"


@dataclass(frozen=True, slots=True)
class Registered:
    """A capability type and its folder; the folder is `None` for an object outside any package."""

    type: CapabilityType
    folder: Path | None

    @property
    def recipe(self) -> Path | None:
        """The recipe of the type's own image; `None` if it has none."""
        return self.folder / RECIPE if self.folder is not None and (self.folder / RECIPE).is_file() else None


def load_catalogue() -> Catalogue:
    """All capability types by name. Raises `ConfigurationError` for an invalid package."""
    return {name: item.type for name, item in registered().items()}


def registered() -> dict[str, Registered]:
    """All capability types with their folders by name, built-in ones first. Raises `ConfigurationError`."""
    found, broken = loadable()
    for error in broken:
        raise error
    return found


def loadable() -> tuple[dict[str, Registered], tuple[ConfigurationError, ...]]:
    """The same without the packages that are invalid, and what is wrong with each of these."""
    found, broken = dict(_builtin()), list[ConfigurationError]()
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            item = _partner(entry)
        except ConfigurationError as error:
            broken.append(error)
            continue
        if item.type.name in found:
            programs = f"{found[item.type.name].type.program} and {item.type.program}"
            text = f"capability type {item.type.name!r} is brought twice: {programs}"
            broken.append(ConfigurationError(text, resolution="remove one of the packages"))
        else:
            found[item.type.name] = item
    return found, tuple(broken)


def image_recipes() -> tuple[tuple[str, Path], ...]:
    """The recipes in folders of capabilities, as (name, file). Such an image has the name of its type.

    Invalid packages are left out: other images can be built without them.
    """
    return tuple((name, item.recipe) for name, item in loadable()[0].items() if item.recipe is not None)


@lru_cache(maxsize=1)
def _builtin() -> tuple[tuple[str, Registered], ...]:
    return tuple((item.type.name, item) for item in _folders())


def _folders() -> Iterator[Registered]:
    for file in sorted(_PLATFORMS.glob("*/*/__init__.py")):
        folder = file.parent
        name = f"{_PACKAGE}.{folder.parent.name}.{folder.name}"
        kind = getattr(import_module(name), "TYPE", None)
        expected = (folder.parent.name, folder.name.replace("_", "-"))
        if not isinstance(kind, CapabilityType) or (kind.platform, kind.name) != expected:
            raise ConfigurationError(f"{name} defines no TYPE with platform {expected[0]!r} and name {expected[1]!r}")
        yield Registered(kind, folder)


def _partner(entry: EntryPoint) -> Registered:
    package = f"entry point {entry.name!r} of {ENTRY_POINT_GROUP}"
    if entry.dist is not None:
        package += f" in the package {entry.dist.name} {entry.dist.version}"
    try:
        with printing_to_stderr():
            loaded = entry.load()
            kind = loaded if isinstance(loaded, CapabilityType) else getattr(loaded, "TYPE", None)
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"{package} cannot be loaded: {type(error).__name__}: {error}",
            details=f"it names {entry.value}",
            resolution="mend or remove the package that brings it",
        ) from error
    if not isinstance(kind, CapabilityType):
        raise ConfigurationError(
            f"{package} is {type(loaded).__name__}, not a CapabilityType",
            resolution="mend or remove the package that brings it",
        )
    file = getattr(sys.modules.get(entry.module), "__file__", None)
    return Registered(kind, Path(file).parent if file and Path(file).name == "__init__.py" else None)
