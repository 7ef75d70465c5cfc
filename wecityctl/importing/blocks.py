"""Converts a block of settings between the model's and the file's spelling, and applies the user's settings to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from wecityctl.errors import ConfigurationError

Block = TypeVar("Block")


def settings_of(block: Any) -> dict[str, Any]:
    """The values of a block that differ from the defaults, in the file's spelling."""
    standard = as_written(type(block)())
    return {name: value for name, value in as_written(block).items() if value != standard[name]}


def as_written(value: Any) -> dict[str, Any]:
    """All fields of a frozen value, in the file's spelling."""
    return {_camel(item.name): _plain(getattr(value, item.name)) for item in fields(value)}


def with_given(block: Block, given: Mapping[str, str]) -> Block:
    """The block with a user's settings: `NAME=VALUE`, lists separated by commas, true and false."""
    names = {_camel(item.name): item.name for item in fields(block)}  # type: ignore[arg-type]
    changes = {}
    for name, text in given.items():
        if name not in names:
            raise ConfigurationError(f"--set {name}: there is no such setting", details=f"known: {', '.join(names)}")
        changes[names[name]] = _read(name, text, getattr(block, names[name]))
    return replace(block, **changes)  # type: ignore[type-var]


def _read(name: str, text: str, current: Any) -> Any:
    """Parse `text` as the type of the setting's current value."""
    match current:
        case bool():
            if text not in ("true", "false"):
                raise ConfigurationError(f"--set {name}={text}: expected true or false")
            return text == "true"
        case int():
            if not text.isdecimal():
                raise ConfigurationError(f"--set {name}={text}: expected a whole number")
            return int(text)
        case tuple():
            return tuple(part.strip() for part in text.split(",") if part.strip())
        case str():
            return text
        case _:
            raise ConfigurationError(f"--set {name}: is a mapping", resolution="write it into the file")


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value
