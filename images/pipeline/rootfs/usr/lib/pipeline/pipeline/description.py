"""Reads the description of a pipeline: which fields its records have, what is computed of them, and who may read it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError

PATH = "/etc/pipeline/description.json"
# Columns of the table of records beside those of its fields.
OWN_COLUMNS = ("source", "received", "late", "computed")
TABLES = ("records", "hourly", "forecast")
CLASSES = ("open", "internal", "personal")
# Names need no quotes in SQL but for words that it reserves, so that all are quoted nevertheless.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
_DEFAULTS = {"late": 3600, "refused": 20, "keep": 400}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a record. `least` and `most` bound a number; `pattern` is of a whole text."""

    name: str
    type: str
    data_class: str
    optional: bool = False
    least: float | None = None
    most: float | None = None
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class Description:
    """What a pipeline does.

    A record is told apart by `group` and `time`. `late` is the age in seconds from which a record counts as late,
    `refused` the percentage of a day's records of which at most may be refused, `keep` how many days records are kept.
    `grants` has the grants of each table, as data services take them.
    """

    title: str
    fields: dict[str, Field]
    time: str
    group: str
    measure: str
    late: int
    refused: int
    keep: int
    grants: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def load(path: str) -> Description:
    """The description in a file. Raises `PipelineError` with the field that is wrong."""
    try:
        raw = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise PipelineError(f"{path}: cannot be read: {error.strerror}; name it in the component's `files`") from error
    except ValueError as error:
        raise PipelineError(f"{path}: is no JSON: {error}") from error
    try:
        return parse(raw)
    except PipelineError as error:
        raise PipelineError(f"{path}: {error}") from None


def parse(raw: Any) -> Description:
    """The description that `raw` is. Raises `PipelineError`."""
    known = {"title", "fields", "time", "group", "measure", "grants", *_DEFAULTS}
    _check_keys("the description", raw, known, {"title", "fields", "time", "group", "measure"})
    if not isinstance(raw["title"], str) or not raw["title"]:
        raise PipelineError("title: is a text")
    if not isinstance(raw["fields"], dict):
        raise PipelineError("fields: maps names of fields to what they are")
    fields = {name: _field(name, value) for name, value in raw["fields"].items()}
    for role, wanted in (("time", "time"), ("group", "text"), ("measure", "number")):
        found = fields.get(raw[role]) if isinstance(raw[role], str) else None
        if found is None or found.type != wanted:
            raise PipelineError(f"{role}: names a field of the type {wanted}, and {raw[role]!r} is none")
        if role != "measure" and found.optional:
            raise PipelineError(f"{role}: {raw[role]!r} tells records apart, so it cannot be optional")
    numbers = {name: raw.get(name, default) for name, default in _DEFAULTS.items()}
    for name, value in numbers.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise PipelineError(f"{name}: is a whole number from 1 on")
    grants = raw.get("grants", {})
    _check_keys("grants", grants, set(TABLES), set())
    if not all(isinstance(each, dict) for items in grants.values() for each in _list("grants", items)):
        raise PipelineError("grants: each has tenant, app and columns")
    roles = {name: raw[name] for name in ("title", "time", "group", "measure")}
    return Description(fields=fields, grants=grants, **roles, **numbers)


def _field(name: str, raw: Any) -> Field:
    where = f"fields.{name}"
    if not _NAME.fullmatch(name) or name in OWN_COLUMNS:
        raise PipelineError(f"{where}: a name is of a-z, 0-9 and _, begins with a letter, and is none of {OWN_COLUMNS}")
    _check_keys(where, raw, {"type", "class", "optional", "least", "most", "pattern"}, {"type", "class"})
    if raw["type"] not in ("text", "number", "time"):
        raise PipelineError(f"{where}.type: is one of text, number, time")
    if raw["class"] not in CLASSES:
        raise PipelineError(f"{where}.class: is one of {', '.join(CLASSES)}")
    for bound in ("least", "most"):
        if bound in raw and (raw["type"] != "number" or not isinstance(raw[bound], (int, float))):
            raise PipelineError(f"{where}.{bound}: is a number, and bounds one")
    pattern = raw.get("pattern", "")
    try:
        re.compile(pattern)
    except (re.error, TypeError) as error:
        raise PipelineError(f"{where}.pattern: is no regular expression: {error}") from error
    optional = raw.get("optional", False)
    if not isinstance(optional, bool):
        raise PipelineError(f"{where}.optional: is true or false")
    return Field(name, raw["type"], raw["class"], optional, raw.get("least"), raw.get("most"), pattern)


def _check_keys(where: str, raw: Any, known: set[str], needed: set[str]) -> None:
    if not isinstance(raw, dict):
        raise PipelineError(f"{where}: is an object")
    if unknown := sorted(raw.keys() - known):
        raise PipelineError(f"{where}: has no {unknown[0]!r}; it has {', '.join(sorted(known))}")
    if missing := sorted(needed - raw.keys()):
        raise PipelineError(f"{where}: {missing[0]!r} is missing")


def _list(where: str, raw: Any) -> list[Any]:
    if not isinstance(raw, list):
        raise PipelineError(f"{where}: is a list for each table")
    return raw
