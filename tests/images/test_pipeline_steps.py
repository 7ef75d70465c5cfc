"""The pipeline's own parts that need no driver: its description, which records it takes, and its forecast."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from wecityctl import oci

NOW = datetime(2026, 11, 28, 8, 30, tzinfo=UTC)
HOUR = NOW.replace(minute=0)
DESCRIPTION: dict[str, Any] = {
    "title": "water",
    "fields": {
        "well": {"type": "text", "class": "open", "pattern": "w[0-9]"},
        "at": {"type": "time", "class": "open"},
        "level": {"type": "number", "class": "internal", "least": 0, "most": 9.5},
        "note": {"type": "text", "class": "personal", "optional": True},
    },
    "group": "well",
    "time": "at",
    "measure": "level",
}
GOOD = {"well": "w1", "at": "2026-11-28T16:20:00+08:00", "level": 3}


@pytest.fixture(scope="module")
def pipeline() -> Iterator[SimpleNamespace]:
    """The modules, imported from the image's files."""
    (recipe,) = (recipe for recipe in oci.catalogue() if recipe.name == "pipeline")
    place = str(recipe.directory / "rootfs/usr/lib/pipeline")
    sys.path.insert(0, place)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        from pipeline import description, errors, filtering, model  # type: ignore[import-not-found]

        parts: dict[str, ModuleType] = {"description": description, "errors": errors, "filtering": filtering}
        yield SimpleNamespace(**parts, model=model)
    finally:
        sys.dont_write_bytecode = before
        sys.path.remove(place)


def changed(path: str, value: Any) -> Any:
    """The description with another value at a path, or without it where the value is `...`."""
    whole = json.loads(json.dumps(DESCRIPTION))
    *above, last = path.split(".")
    part = whole
    for name in above:
        part = part[name]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    return whole


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("title", ..., "the description: 'title' is missing"),
        ("late", 0, "late: is a whole number from 1 on"),
        ("late", True, "late: is a whole number from 1 on"),
        ("speed", 1, "the description: has no 'speed'"),
        ("measure", "well", "measure: names a field of the type number, and 'well' is none"),
        ("group", ["well"], "group: names a field of the type text"),
        ("fields.well.optional", True, "group: 'well' tells records apart, so it cannot be optional"),
        ("fields.level.least", "0", "fields.level.least: is a number"),
        ("fields.note.least", 0, "fields.note.least: is a number, and bounds one"),
        ("fields.level.class", "secret", "fields.level.class: is one of open, internal, personal"),
        ("fields.level.type", "money", "fields.level.type: is one of text, number, time"),
        ("fields.well.pattern", "(", "fields.well.pattern: is no regular expression"),
        ("fields.received", {"type": "text", "class": "open"}, "fields.received: a name is of"),
        ('fields.x"; DROP', {"type": "text", "class": "open"}, "a name is of a-z, 0-9 and _"),
        ("fields", [], "fields: maps names"),
        ("grants", {"daily": []}, "grants: has no 'daily'"),
        ("grants", {"hourly": {}}, "grants: is a list for each table"),
    ],
)
def test_a_wrong_description_says_which_field(pipeline: SimpleNamespace, path: str, value: Any, said: str) -> None:
    with pytest.raises(pipeline.errors.PipelineError) as error:
        pipeline.description.parse(changed(path, value))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("record", "field", "reason"),
    [
        ("w1", "", "is no object"),
        (GOOD | {"colour": 1}, "colour", "is no field of the description"),
        ({"well": "w1"}, "at", "is missing"),
        (GOOD | {"level": None}, "level", "is missing"),
        (GOOD | {"level": "3"}, "level", "is no number"),
        (GOOD | {"level": True}, "level", "is no number"),
        (GOOD | {"level": math.nan}, "level", "is no finite number"),
        (GOOD | {"level": 10**400}, "level", "is no finite number"),
        (GOOD | {"level": -0.1}, "level", "is less than 0"),
        (GOOD | {"level": 9.6}, "level", "is more than 9.5"),
        (GOOD | {"well": "w12"}, "well", "does not match w[0-9]"),
        (GOOD | {"note": "a\0b"}, "note", "is no text of at most 1000 characters"),
        (GOOD | {"note": "\ud800"}, "note", "is no valid Unicode"),
        (GOOD | {"at": "2026-11-28 16:20"}, "at", "has no time zone"),
        (GOOD | {"at": "yesterday"}, "at", "is no time such as 2026-11-28T08:00:00+08:00"),
        (GOOD | {"at": "0001-01-01T00:00:00+00:00"}, "at", "is no time after 1970"),
        (GOOD | {"at": "2026-11-28T08:35:01Z"}, "at", "is in the future"),
        (GOOD | {"at": "2025-10-24T08:29:59Z"}, "at", "is longer ago than the 400 days that are kept"),
        (GOOD | {"\ud800": 1}, "?", "is no field of the description"),
    ],
)
def test_a_bad_record_is_refused_with_its_field(
    pipeline: SimpleNamespace, record: Any, field: str, reason: str
) -> None:
    about = pipeline.description.parse(DESCRIPTION)
    found = pipeline.filtering.decide(about, record, NOW)
    assert (found.field, found.reason) == (field, reason)
    # What is kept of it can be stored.
    assert "\0" not in found.record.encode().decode()


def test_a_good_record_is_taken_and_an_old_one_is_late(pipeline: SimpleNamespace) -> None:
    about, decide = pipeline.description.parse(DESCRIPTION), pipeline.filtering.decide
    found = decide(about, GOOD, NOW)
    assert (found.values["level"], found.values["note"], found.late) == (3.0, None, False)
    assert found.values["at"] == datetime(2026, 11, 28, 8, 20, tzinfo=UTC)
    assert not decide(about, GOOD | {"at": "2026-11-28T07:30:00Z"}, NOW).late
    assert decide(about, GOOD | {"at": "2026-11-28T07:29:59Z"}, NOW).late
    assert not hasattr(decide(about, GOOD, NOW, group="w1"), "reason")
    assert decide(about, GOOD, NOW, group="w2").reason == "is not w2, which sent it"


def test_rows_of_a_file(pipeline: SimpleNamespace) -> None:
    about, rows = pipeline.description.parse(DESCRIPTION), pipeline.filtering.rows_of_csv
    found = list(rows(about, 'well,at,level,note\r\nw1,now,3,\r\nw2,now,high,"a, b"\r\nw3\r\nw4,now,1,x,more\r\n'))
    assert found[:2] == [
        {"well": "w1", "at": "now", "level": 3.0, "note": None},
        {"well": "w2", "at": "now", "level": "high", "note": "a, b"},
    ]
    # One that is too short misses fields, and one that is too long has what no field is.
    assert found[2]["level"] is None and found[3][""] == ["more"]
    with pytest.raises(ValueError, match="the file is empty"):
        list(rows(about, ""))
    with pytest.raises(ValueError, match="line 1: unexpected end of data"):
        list(rows(about, 'well\n"open'))


def test_the_forecast_is_the_mean_of_the_same_hour(pipeline: SimpleNamespace) -> None:
    next_hour = HOUR + timedelta(hours=1)
    means = {next_hour - timedelta(days=day): 10.0 * day for day in (1, 2, 3, 9)}
    (found,) = pipeline.model.forecast(means, NOW)
    # Nine days are too long ago; a day before, 20 and 30 had given 25 for the 10 that came.
    assert (found.hour, found.expected, found.lowest, found.highest, found.days) == (next_hour, 20, 10, 30, 3)
    assert found.error == 15
    # The hour that goes on is not over, and is no value for the same hour tomorrow.
    assert pipeline.model.forecast({HOUR: 5.0}, NOW) == []
    (only,) = pipeline.model.forecast({HOUR - timedelta(hours=1): 5.0}, NOW)
    assert (only.hour, only.days, only.error) == (HOUR + timedelta(hours=23), 1, None)
