"""The property-level difference between two versions of an object's inputs. Pure; what it forces is `replacement`.

Lists whose elements have a key (a container's name, a port's number) are compared element by element only where the
keys agree, so that inserting one element is not shown as a change of all that follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from wecityctl.provider.paths import Path, covers, parse, render
from wecityctl.provider.quantities import same_amount

Change = Literal["add", "delete", "update"]
_KEYS: Final = ("name", "containerPort", "port", "mountPath", "devicePath", "ip", "key", "type", "topologyKey")


@dataclass(frozen=True, slots=True)
class Difference:
    """One changed property."""

    path: Path
    change: Change

    @property
    def text(self) -> str:
        """The path as the engine writes it."""
        return render(self.path)


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """Every changed property between two plain objects (no secrets; unknowns count as changed).

    Another spelling of the same quantity is no change.
    """
    return list(_mapping((), old, new))


def without_ignored(differences: Sequence[Difference], ignored: Sequence[str]) -> list[Difference]:
    """The differences outside the resource's `ignoreChanges` paths."""
    patterns = [parse(text) for text in ignored]
    return [d for d in differences if not any(covers(pattern, d.path) for pattern in patterns)]


def _mapping(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    for key, value in new.items():
        if key not in old:
            yield Difference((*path, key), "add")
        elif old[key] != value:
            yield from _value((*path, key), old[key], value)
    for key in old:
        if key not in new:
            yield Difference((*path, key), "delete")


def _value(path: Path, old: Any, new: Any) -> Iterator[Difference]:
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _mapping(path, old, new)
    elif isinstance(old, list) and isinstance(new, list):
        yield from _sequence(path, old, new)
    elif not same_amount(path, old, new):
        yield Difference(path, "update")


def _sequence(path: Path, old: Sequence[Any], new: Sequence[Any]) -> Iterator[Difference]:
    key = _key_of(old, new)
    for index, (before, after) in enumerate(zip(old, new, strict=False)):
        if before == after:
            continue
        if key and before.get(key) != after.get(key):
            yield Difference((*path, index), "update")
        else:
            yield from _value((*path, index), before, after)
    for index in range(len(old), len(new)):
        yield Difference((*path, index), "add")
    for index in range(len(new), len(old)):
        yield Difference((*path, index), "delete")


def _key_of(*lists: Sequence[Any]) -> str:
    elements = [element for items in lists for element in items]
    if not all(isinstance(element, dict) for element in elements):
        return ""
    return next((key for key in _KEYS if all(key in element for element in elements)), "")
