"""What is remembered of policy reports: a pass is good only while nothing that it follows from differs."""

from __future__ import annotations

import stat
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from wecityctl.model.city import City
from wecityctl.operations.policy_evaluation import cache
from wecityctl.placement import Placement
from wecityctl.policy.check import Evidence, PolicyReport, Violation, WaiverNote
from wecityctl.policy.model import Finding
from wecityctl.session import Session, open_session

EXAMPLE = Path(__file__).parents[2] / "examples" / "xingcheng"
DAY = date(2026, 11, 21)
POLICY_REPORT = PolicyReport(
    "xingcheng",
    DAY.isoformat(),
    ("tidy",),
    7,
    (
        Violation(
            "tidy", "整洁", "mandatory", True, Finding("a/b", "m", "r", "s", ("App", "a/b"), ("spec", "uses", 0))
        ),
        Violation("tidy", "整洁", "advisory", False, Finding("city", "m", "r"), "leave"),
    ),
    (WaiverNote("leave", "soon", "holds until tomorrow"),),
    (Evidence("tidy", "all is well"),),
    ("xingcheng.landing.ali",),
)


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return open_session(EXAMPLE)


def test_what_was_noted_comes_back_whole_to_its_owner_alone(session: Session, tmp_path: Path) -> None:
    cache.note(session, "key", POLICY_REPORT)
    assert cache.recall(session, "key") == POLICY_REPORT
    [file] = (tmp_path / "cache" / "wecityctl" / "verdicts").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_another_key_finds_nothing(session: Session) -> None:
    cache.note(session, "key", POLICY_REPORT)
    assert cache.recall(session, "another") is None


@pytest.mark.parametrize(
    "damage", [b"", b"{}", b"[]", b"null", b'{"key": "key"}', b'{"key": "key", "verdict": {}}', b"\xff"]
)
def test_a_damaged_file_is_none(session: Session, tmp_path: Path, damage: bytes) -> None:
    cache.note(session, "key", POLICY_REPORT)
    [file] = (tmp_path / "cache" / "wecityctl" / "verdicts").iterdir()
    file.write_bytes(damage)
    assert cache.recall(session, "key") is None


def test_where_nothing_can_be_noted_nothing_breaks(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    cache.note(session, "key", POLICY_REPORT)
    assert cache.recall(session, "key") is None


def test_the_same_files_have_the_same_key(session: Session) -> None:
    assert cache.key_of(session, DAY) == cache.key_of(open_session(EXAMPLE), DAY)


@pytest.mark.parametrize(
    "changes",
    [
        {"city": {"labels": {"province": "hubei"}}},
        {"city": {"compliance": {"log_retention_days": 181}}},
        {"images": {"postgresql": "elsewhere"}},
        {"plan": {"placement": "another"}},
        {"catalogue": {"cache": {"health": "another"}}},
    ],
    ids=["label", "compliance", "image", "placement", "catalogue"],
)
def test_whatever_differs_makes_another_key(session: Session, changes: Mapping[str, Any]) -> None:
    assert cache.key_of(changed(session, changes), DAY) != cache.key_of(session, DAY)


def test_the_next_day_has_another_key(session: Session) -> None:
    assert cache.key_of(session, date(2026, 11, 22)) != cache.key_of(session, DAY)


def test_the_secrets_that_a_component_names_are_part_of_the_key(session: Session) -> None:
    first = session.city.apps[0]
    apps = (replace(first, components=(replace(first.components[0], secrets=("sms-key",)),)), *session.city.apps[1:])
    assert cache.key_of(replace(session, city=replace(session.city, apps=apps)), DAY) != cache.key_of(session, DAY)


def test_a_partners_program_that_changes_makes_another_key(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "partner_search"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    program = package / "deep" / "program.py"
    program.write_text("one = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    kind = replace(session.catalogue["cache"], name="search", program="partner_search.deep.program:Search")
    session = replace(session, catalogue={**session.catalogue, "search": kind})
    before = cache.key_of(session, DAY)
    assert cache.key_of(session, DAY) == before
    program.write_text("one = 2\n")
    assert cache.key_of(session, DAY) != before
    assert "partner_search.deep.program" not in sys.modules, "the key is made without running a partner's code"


def test_every_field_of_the_model_is_printed() -> None:
    """The key is made of what values print; a field that hides would be left out of it."""
    seen: set[type] = set()

    def walk(kind: Any) -> None:
        if isinstance(kind, type) and is_dataclass(kind) and kind not in seen:
            seen.add(kind)
            hints = get_type_hints(kind)
            for item in fields(kind):
                assert item.repr, f"{kind.__name__}.{item.name}"
                walk(hints[item.name])
        for part in get_args(kind):
            walk(part)

    walk(City)
    walk(Placement)
    assert len(seen) > 25


def changed(session: Session, changes: Mapping[str, Any]) -> Session:
    if "plan" in changes:
        placement = replace(session.plan.placement, entry="another")
        return replace(session, plan=replace(session.plan, placement=placement))
    if "images" in changes:
        return replace(session, images={**session.images, **changes["images"]})
    if "catalogue" in changes:
        return replace(
            session, catalogue={**session.catalogue, "cache": replace(session.catalogue["cache"], health="another")}
        )
    wanted = dict(changes["city"])
    if "compliance" in wanted:
        wanted["compliance"] = replace(session.city.compliance, **wanted["compliance"])
    return replace(session, city=replace(session.city, **wanted))
