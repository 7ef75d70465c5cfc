"""Reads and writes the city's directory for a new document: the city's zones, and its existing clouds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wecityctl.errors import ConfigurationError, WecityError


def zones_of(directory: Path) -> tuple[str, ...]:
    """The zones that the City in `directory` declares; none if no City can be read there."""
    for document in _documents(directory, "City"):
        zones = _part(document, "spec").get("zones")
        if isinstance(zones, list):
            return tuple(str(zone["name"]) for zone in zones if isinstance(zone, dict) and "name" in zone)
    return ()


def refuse_known_cloud(directory: Path, name: str) -> None:
    """Raise `ConfigurationError` if the city has a cloud of that name."""
    for document in _documents(directory, "Cloud"):
        if _part(document, "metadata").get("name") == name:
            raise ConfigurationError(
                f"{directory} has a cloud {name!r} already", resolution="choose another name with --name"
            )


def write_new(path: Path, text: str) -> None:
    """Write a new file; an existing file is never overwritten."""
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise ConfigurationError(
            f"{path} is there already", resolution="choose another name, or look at what it says and move it away"
        ) from error
    except OSError as error:
        raise WecityError(f"cannot write {path}: {error.strerror or error}") from error


def _documents(directory: Path, kind: str) -> Iterator[dict[str, Any]]:
    """The readable documents of a kind; `validate` reports files with errors."""
    from wecityctl.spec.files import find_files, read_text
    from wecityctl.spec.yamltree import parse_yaml

    for file in find_files(directory)[0]:
        text, problem = read_text(file)
        for document in parse_yaml(text, file.name).documents if problem is None else ():
            if document.kind == kind and isinstance(document.value, dict):
                yield document.value


def _part(document: dict[str, Any], name: str) -> dict[str, Any]:
    """A mapping in the document; empty if the value is not a mapping."""
    found = document.get(name)
    return found if isinstance(found, dict) else {}
